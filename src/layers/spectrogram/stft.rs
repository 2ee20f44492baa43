//! Frequencies over time, by kernels that can learn.

use super::super::spatial::DataFormat;
use crate::config::{self, Config, Shared};
use crate::error::{Result, ensure};
use crate::initializers::{Initializer, STFT, WindowScaling};
use crate::kernels::gemm::{Mat, MatMut, gemm_parallel};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, one_shape};
use crate::losses::EPSILON;
use crate::shape::{Dims, Padding, Shape, Window};
use crate::signal::SignalWindow;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What becomes of the real and the imaginary part of each frequency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpectrogramMode {
    /// The logarithm of the magnitude.
    #[default]
    Log,
    /// The root of the sum of both squares, of at least 1e-7.
    Magnitude,
    /// The sum of both squares, twice that but for the first and the last frequency.
    Psd,
    /// The real part.
    Real,
    /// The imaginary part.
    Imag,
    /// The angle of both.
    Angle,
    /// The real parts, then the imaginary parts.
    Stft,
}

/// The frequencies of sounds over time, by a short-time Fourier transform whose sines and cosines are weights and learn
/// (Keras: `STFTSpectrogram`). [`MelSpectrogram`](super::MelSpectrogram) has bands as the ear hears them, and learns nothing.
///
/// Input `(batch, samples, channels)`. Output `(batch, frames, frequencies · channels)`, those of a channel side by side, or
/// with [`expand_dims`](Self::expand_dims) `(batch, frames, frequencies, channels)`; there are `fft_length / 2 + 1`
/// frequencies, twice as many in mode [`Stft`](SpectrogramMode::Stft). Freeze the layer for the plain transform.
///
/// ```
/// use cornu::{layers::STFTSpectrogram, prelude::*};
/// let mut model = Sequential::new();
/// model.add(Input::new([1000, 1])).add(STFTSpectrogram::new().trainable(false));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 6, 129)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct STFTSpectrogram {
    mode: SpectrogramMode,
    frame_length: usize,
    frame_step: Option<usize>,
    fft_length: Option<usize>,
    window: Option<SignalWindow>,
    periodic: bool,
    scaling: Option<WindowScaling>,
    padding: Padding,
    expand_dims: bool,
    data_format: DataFormat,
    #[serde(skip)]
    real_kernel: Option<Param>,
    #[serde(skip)]
    imag_kernel: Option<Param>,
}

impl Default for STFTSpectrogram {
    fn default() -> Self {
        STFTSpectrogram {
            mode: SpectrogramMode::Log,
            frame_length: 256,
            frame_step: None,
            fft_length: None,
            window: Some("hann".into()),
            periodic: false,
            scaling: Some(WindowScaling::Density),
            padding: Padding::Valid,
            expand_dims: false,
            data_format: DataFormat::ChannelsLast,
            real_kernel: None,
            imag_kernel: None,
        }
    }
}

impl STFTSpectrogram {
    /// With Keras' defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What becomes of the two parts. Default: [`SpectrogramMode::Log`].
    pub fn mode(mut self, mode: SpectrogramMode) -> Self {
        self.mode = mode;
        self
    }

    /// Samples of a frame. Default 256.
    pub fn frame_length(mut self, frame_length: usize) -> Self {
        self.frame_length = frame_length;
        self
    }

    /// Samples from one frame to the next, at most `frame_length`. Default: half of that.
    pub fn frame_step(mut self, frame_step: usize) -> Self {
        self.frame_step = Some(frame_step);
        self
    }

    /// Twice the number of frequencies, less one; at least `frame_length`. Default: the next power of two.
    pub fn fft_length(mut self, fft_length: usize) -> Self {
        self.fft_length = Some(fft_length);
        self
    }

    /// How frames fade out at their ends, see [`SignalWindow`]. Default `"hann"`.
    pub fn window(mut self, window: impl Into<SignalWindow>) -> Self {
        self.window = Some(window.into());
        self
    }

    /// With frames that do not fade out.
    pub fn without_window(mut self) -> Self {
        self.window = None;
        self
    }

    /// Whether the window is periodic. Default false.
    pub fn periodic(mut self, periodic: bool) -> Self {
        self.periodic = periodic;
        self
    }

    /// By what of the window frequencies are divided; none: they are not. Default: [`WindowScaling::Density`].
    pub fn scaling(mut self, scaling: impl Into<Option<WindowScaling>>) -> Self {
        self.scaling = scaling.into();
        self
    }

    /// Whether frames end with the sound, or zeros are put around it. Default: [`Padding::Valid`].
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Whether channels have an axis of their own in the output. Default false.
    pub fn expand_dims(mut self, expand_dims: bool) -> Self {
        self.expand_dims = expand_dims;
        self
    }

    fn step(&self) -> usize {
        self.frame_step.unwrap_or(self.frame_length / 2)
    }

    /// The number of frequencies.
    fn bins(&self) -> usize {
        self.fft_length.unwrap_or(self.frame_length.next_power_of_two()) / 2 + 1
    }

    fn frames(&self, samples: usize) -> Result<Window> {
        Window::new(samples, self.frame_length, self.step(), 1, self.padding)
    }

    /// All frames, a row each, of all samples and channels, and their number in each.
    fn rows(&self, x: &Tensor, cx: &mut Forward<'_>) -> Result<(Tensor, usize)> {
        let (samples, channels) = (x.shape()[1], x.last());
        let Window { out, before, .. } = self.frames(samples)?;
        let mut rows = cx.scratch([x.batch() * channels * out, self.frame_length]);
        let from = rows.data_mut().chunks_exact_mut(self.frame_length).enumerate();
        for (i, row) in from {
            let (sample, channel, t) = (i / out / channels, i / out % channels, i % out);
            let x = &x.data()[sample * samples * channels..][..samples * channels];
            for (j, value) in row.iter_mut().enumerate() {
                let at = (t * self.step() + j).checked_sub(before).filter(|at| *at < samples);
                *value = at.map_or(0.0, |at| x[at * channels + channel]);
            }
        }
        Ok((rows, out))
    }

    /// Values of each (frame, frequency) as they stand in the output, from or to rows of frequencies; `write` gets the
    /// place in the rows and that in the output.
    fn places(&self, rows: usize, frames: usize, channels: usize, width: usize, mut write: impl FnMut(usize, usize)) {
        for i in 0..rows {
            let (sample, channel, t) = (i / frames / channels, i / frames % channels, i % frames);
            let frame = (sample * frames + t) * channels * width;
            for f in 0..width {
                let at = if self.expand_dims { f * channels + channel } else { channel * width + f };
                write(i * width + f, frame + at);
            }
        }
    }
}

/// What the layer saves of each value: the two parts, as far as there are any.
fn product(rows: &Tensor, kernel: &Option<Param>, cx: &mut Forward<'_>) -> Option<Tensor> {
    let kernel = kernel.as_ref()?.value();
    let (n, length) = (rows.batch(), rows.last());
    let mut y = cx.scratch([n, kernel.last()]);
    let bins = kernel.last();
    gemm_parallel(1.0, Mat::new(rows.data(), n, length), Mat::new(kernel.data(), length, bins), 0.0, {
        MatMut::new(y.data_mut(), n, bins)
    });
    Some(y)
}

/// Twice, but for the first and the last frequency.
fn sides(f: usize, bins: usize) -> f32 {
    if f == 0 || f + 1 == bins { 1.0 } else { 2.0 }
}

impl Layer for STFTSpectrogram {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        // First of all: what follows takes as long as frames are.
        for (name, n) in [("frame_length", self.frame_length), ("fft_length", self.fft_length.unwrap_or(2))] {
            ensure!(n <= 1 << 24, Argument, "{name} is {n}; it must be at most 16777216");
        }
        ensure!(self.frame_length > 1, Argument, "frame_length is {}; it must be at least 2", self.frame_length);
        ensure!(
            (1..=self.frame_length).contains(&self.step()),
            Argument,
            "frame_step is {}; it must be from 1 to frame_length, {}",
            self.step(),
            self.frame_length
        );
        ensure!(
            self.fft_length.is_none_or(|n| n >= self.frame_length),
            Argument,
            "fft_length is {}; it must be at least frame_length, {}",
            self.fft_length.unwrap_or_default(),
            self.frame_length
        );
        ensure!(
            self.data_format == DataFormat::ChannelsLast,
            Argument,
            "data_format is 'channels_first'; sounds must have their channels last here"
        );
        ensure!(self.padding != Padding::Causal, Argument, "padding is 'causal'; it must be 'valid' or 'same'");
        self.window.as_ref().map_or(Ok(()), |window| window.values(self.frame_length, self.periodic).map(|_| ()))
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        ensure!(input.rank() == 3, Shape, "expected sounds of shape (batch, samples, channels), got {input}");
        let frames = input.get(1).map(|samples| self.frames(samples).map(|window| window.out)).transpose()?;
        let bins = self.bins() * if self.mode == SpectrogramMode::Stft { 2 } else { 1 };
        Ok(vec![Shape::new(match self.expand_dims {
            true => vec![input.get(0), frames, Some(bins), input.last()],
            false => vec![input.get(0), frames, input.last().map(|channels| channels * bins)],
        })])
    }

    fn build(&mut self, _: &[Shape], cx: &mut Build) -> Result<()> {
        let shape = [self.frame_length, 1, self.bins()];
        let mut kernel = |name: &str, imaginary: bool| {
            let initializer: Shared<dyn Initializer> =
                STFT::new(imaginary, self.window.clone(), self.scaling, self.periodic).into();
            cx.weight(name, &shape, &initializer, &None, &None)
        };
        self.real_kernel = if self.mode == SpectrogramMode::Imag { None } else { Some(kernel("real_kernel", false)?) };
        self.imag_kernel = if self.mode == SpectrogramMode::Real { None } else { Some(kernel("imag_kernel", true)?) };
        Ok(())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.real_kernel.iter().chain(&self.imag_kernel).for_each(visit);
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let (channels, bins) = (x.last(), self.bins());
        let (rows, frames) = self.rows(&x, cx)?;
        let real = product(&rows, &self.real_kernel, cx);
        let imag = product(&rows, &self.imag_kernel, cx);
        let both = self.mode == SpectrogramMode::Stft;
        let width = if both { 2 * bins } else { bins };
        let mut dims: Dims = [x.batch(), frames].into_iter().collect();
        dims.extend(if self.expand_dims { vec![width, channels] } else { vec![channels * width] });
        let mut y = cx.scratch(dims);
        let out = y.data_mut();
        let of = |part: &Option<Tensor>, at: usize| part.as_ref().map_or(0.0, |part| part.data()[at]);
        self.places(rows.batch(), frames, channels, width, |from, to| {
            let (row, f) = (from / width, from % width);
            let at = row * bins + f % bins;
            let (re, im) = (of(&real, at), of(&imag, at));
            let power = re * re + im * im;
            out[to] = match self.mode {
                SpectrogramMode::Real => re,
                SpectrogramMode::Imag => im,
                SpectrogramMode::Stft => {
                    if f < bins {
                        re
                    } else {
                        im
                    }
                }
                SpectrogramMode::Angle => im.atan2(re),
                SpectrogramMode::Psd => power * sides(f, bins),
                SpectrogramMode::Magnitude => power.max(EPSILON).sqrt(),
                SpectrogramMode::Log => power.max(EPSILON).sqrt().max(EPSILON).ln(),
            };
        });
        cx.save_shape(x.shape());
        cx.save(rows);
        [real, imag].into_iter().for_each(|part| cx.save(part.unwrap_or_default()));
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let g = gradients.one()?;
        let (imag, real, rows) = (cx.restore()?, cx.restore()?, cx.restore()?);
        let dims = cx.restore_shape()?;
        let (bins, channels, samples) = (self.bins(), dims[2], dims[1]);
        let Window { out: frames, before, .. } = self.frames(samples)?;
        let width = if self.mode == SpectrogramMode::Stft { 2 * bins } else { bins };
        let n = rows.batch();
        let (mut of_real, mut of_imag) = (cx.scratch([n, bins]), cx.scratch([n, bins]));
        let (d_real, d_imag) = (of_real.data_mut(), of_imag.data_mut());
        let (g, re, im) = (g.data(), real.data(), imag.data());
        self.places(n, frames, channels, width, |from, to| {
            let (row, f, g) = (from / width, from % width, g[to]);
            let at = row * bins + f % bins;
            let power = || re[at] * re[at] + im[at] * im[at];
            // The derivative by the sum of the squares is the same for both parts, ...
            let of_power = match self.mode {
                SpectrogramMode::Psd => g * sides(f, bins),
                SpectrogramMode::Magnitude if power() > EPSILON => g * 0.5 / power().sqrt(),
                SpectrogramMode::Log if power() > EPSILON => g * 0.5 / power(),
                _ => 0.0,
            };
            // ... and the other modes take the parts apart.
            match self.mode {
                SpectrogramMode::Real => d_real[at] = g,
                SpectrogramMode::Imag => d_imag[at] = g,
                SpectrogramMode::Stft if f < bins => d_real[at] = g,
                SpectrogramMode::Stft => d_imag[at] = g,
                // Silence has no angle, and any change gives it one.
                SpectrogramMode::Angle if power() == 0.0 => (d_real[at], d_imag[at]) = (0.0, 0.0),
                SpectrogramMode::Angle => {
                    (d_real[at], d_imag[at]) = (-g * im[at] / power(), g * re[at] / power());
                }
                _ => (d_real[at], d_imag[at]) = (2.0 * of_power * re[at], 2.0 * of_power * im[at]),
            }
        });
        let length = self.frame_length;
        let mut of_rows = cx.scratch([n, length]);
        of_rows.data_mut().fill(0.0);
        for (kernel, d) in [(&self.real_kernel, &of_real), (&self.imag_kernel, &of_imag)] {
            let Some(kernel) = kernel else { continue };
            let d = Mat::new(d.data(), n, bins);
            if let Some(gradient) = cx.gradient(kernel) {
                let to = MatMut::new(gradient, length, bins);
                gemm_parallel(1.0, Mat::new(rows.data(), n, length).t(), d, 1.0, to);
            }
            let value = kernel.value();
            let to = MatMut::new(of_rows.data_mut(), n, length);
            gemm_parallel(1.0, d, Mat::new(value.data(), length, bins).t(), 1.0, to);
        }
        let mut dx = cx.scratch(dims);
        dx.data_mut().fill(0.0);
        for (i, row) in of_rows.data().chunks_exact(length).enumerate() {
            let (sample, channel, t) = (i / frames / channels, i / frames % channels, i % frames);
            let dx = &mut dx.data_mut()[sample * samples * channels..][..samples * channels];
            for (j, g) in row.iter().enumerate() {
                if let Some(at) = (t * self.step() + j).checked_sub(before).filter(|at| *at < samples) {
                    dx[at * channels + channel] += g;
                }
            }
        }
        Ok(dx.into())
    }
}
