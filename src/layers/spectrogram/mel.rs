//! Loudness in bands as the ear hears them.

use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::runtime::threads;
use crate::shape::{Dims, Shape};
use crate::signal::{Fourier, SignalWindow};
use serde::{Deserialize, Serialize};

/// The loudness of a sound in bands that the ear takes to be of equal width, over time (Keras: `MelSpectrogram`).
///
/// Input `(batch, samples)`, or with more axes in front of the last; output `(batch, num_mel_bins, frames)` with
/// `samples / sequence_stride + 1` frames (with an odd `fft_length` `(samples - 1) / sequence_stride + 1`). Each frame is centred at a multiple of the stride, with the sound reflected at
/// its ends, so that it must have more than `fft_length / 2` samples. Its frequencies' magnitudes to the power `mag_exp`
/// are summed in triangles that are even on the mel scale (`1127 ln(1 + f / 700)`), and become decibels below `ref_power`.
///
/// Nothing is learned, and no gradient passes: it is the first layer. Where Keras cuts off what is `top_db` below the
/// loudest place of the *batch*, this layer takes the loudest of each sound, so that a prediction does not depend on its
/// neighbours.
///
/// ```
/// use cornu::{layers::MelSpectrogram, prelude::*};
/// let mut model = Sequential::new();
/// model.add(Input::new([16_000])).add(MelSpectrogram::new().num_mel_bins(80));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 80, 32)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct MelSpectrogram {
    fft_length: usize,
    sequence_stride: usize,
    sequence_length: Option<usize>,
    window: Option<SignalWindow>,
    sampling_rate: f64,
    num_mel_bins: usize,
    min_freq: f64,
    max_freq: Option<f64>,
    power_to_db: bool,
    top_db: f64,
    mag_exp: f64,
    min_power: f64,
    ref_power: f64,
}

impl Default for MelSpectrogram {
    fn default() -> Self {
        MelSpectrogram {
            fft_length: 2048,
            sequence_stride: 512,
            sequence_length: None,
            window: Some("hann".into()),
            sampling_rate: 16000.0,
            num_mel_bins: 128,
            min_freq: 20.0,
            max_freq: None,
            power_to_db: true,
            top_db: 80.0,
            mag_exp: 2.0,
            min_power: 1e-10,
            ref_power: 1.0,
        }
    }
}

/// Builder methods that set a field.
macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $field(mut self, $field: $type) -> Self {
                self.$field = $field.into();
                self
            }
        )*
    };
}

impl MelSpectrogram {
    /// With Keras' defaults, for sounds of 16 kHz.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Values that the frequencies are taken of, fastest if a power of two. Default 2048.
        fft_length: usize;
        /// Samples from one frame to the next. Default 512.
        sequence_stride: usize;
        /// Samples of a frame, at most `fft_length`; zeros fill it up on both sides. Default: `fft_length`.
        sequence_length: usize;
        /// Samples of a second. Default 16000.
        sampling_rate: f64;
        /// The number of bands. Default 128.
        num_mel_bins: usize;
        /// Where the first band begins, in hertz. Default 20.
        min_freq: f64;
        /// Where the last band ends, in hertz. Default: half the sampling rate.
        max_freq: f64;
        /// Whether loudness is in decibels. Default true.
        power_to_db: bool;
        /// The decibels between the loudest place and silence. Default 80.
        top_db: f64;
        /// The power of the magnitudes: 1 for those, 2 for their energy. Default 2.
        mag_exp: f64;
        /// What counts as silence, before decibels. Default 1e-10.
        min_power: f64;
        /// What is 0 decibels. Default 1.
        ref_power: f64;
    }

    /// How frames fade out at their ends: `"hann"` or `"hamming"`, both periodic, or a weight for each value. Default
    /// `"hann"`.
    pub fn window(mut self, window: impl Into<SignalWindow>) -> Self {
        self.window = Some(window.into());
        self
    }

    /// With frames that do not fade out.
    pub fn without_window(mut self) -> Self {
        self.window = None;
        self
    }

    fn sequence(&self) -> usize {
        self.sequence_length.unwrap_or(self.fft_length)
    }

    /// The weights of the frequencies in each band, from the first that counts on.
    fn bands(&self) -> Vec<(usize, Vec<f64>)> {
        let mel = |hertz: f64| 1127.0 * (hertz / 700.0).ln_1p();
        let bins = self.fft_length / 2 + 1;
        let top = self.max_freq.unwrap_or((self.sampling_rate / 2.0).trunc());
        let (low, high) = (mel(self.min_freq), mel(top));
        let edge = |i: usize| low + (high - low) * i as f64 / (self.num_mel_bins + 1) as f64;
        let of_bin = |k: usize| mel(self.sampling_rate / 2.0 * k as f64 / (bins - 1) as f64);
        let band = |i: usize| {
            let (left, middle, right) = (edge(i), edge(i + 1), edge(i + 2));
            // The frequency 0 is in no band.
            let weight = |k: usize| {
                let at = of_bin(k);
                ((at - left) / (middle - left)).min((right - at) / (right - middle)).max(0.0)
            };
            let weights: Vec<(usize, f64)> = (1..bins).map(|k| (k, weight(k))).filter(|(_, w)| *w > 0.0).collect();
            let first = weights.first().map_or(0, |(k, _)| *k);
            (first, weights.into_iter().map(|(_, w)| w).collect())
        };
        (0..self.num_mel_bins).map(band).collect()
    }

    fn frames(&self, samples: usize) -> Result<usize> {
        let half = self.fft_length / 2;
        ensure!(
            samples > half,
            Shape,
            "a sound of {samples} samples is too short: it must have more than fft_length / 2 = {half}"
        );
        Ok((samples + 2 * half - self.fft_length) / self.sequence_stride + 1)
    }
}

impl Layer for MelSpectrogram {
    fn config(&self) -> Result<Config> {
        let mut all = self.clone();
        // As Keras, which writes what it takes for them.
        all.sequence_length = Some(self.sequence());
        all.max_freq = Some(self.max_freq.unwrap_or((self.sampling_rate / 2.0).trunc()));
        config::of(&all)
    }

    fn check(&self) -> Result<()> {
        for (name, n) in [
            ("fft_length", self.fft_length),
            ("sequence_stride", self.sequence_stride),
            ("sequence_length", self.sequence()),
            ("num_mel_bins", self.num_mel_bins),
        ] {
            ensure!(n > 0, Argument, "{name} is 0; it must be at least 1");
        }
        ensure!(
            (self.sequence()..=1 << 24).contains(&self.fft_length) && self.fft_length > 1,
            Argument,
            "fft_length is {}; it must be at least 2, at least sequence_length ({}) and at most 16777216",
            self.fft_length,
            self.sequence()
        );
        let bands = self.num_mel_bins;
        ensure!(bands <= 1 << 16, Argument, "num_mel_bins is {bands}; it must be at most 65536");
        if let Some(SignalWindow::Named(name)) = &self.window {
            ensure!(
                name == "hann" || name == "hamming",
                Argument,
                "window is '{name}'; by name it must be 'hann' or 'hamming', others are given as values"
            );
        }
        if let Some(window) = &self.window {
            window.values(self.sequence(), true)?;
        }
        let (low, high) = (self.min_freq, self.max_freq.unwrap_or(self.sampling_rate / 2.0));
        ensure!(
            low >= 0.0 && low < high && high.is_finite() && self.sampling_rate.is_finite(),
            Argument,
            "min_freq is {low} and max_freq {high} at a sampling_rate of {}; they must rise",
            self.sampling_rate
        );
        let positive = self.min_power > 0.0;
        ensure!(positive, Argument, "min_power is {}; it must be above 0", self.min_power);
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        ensure!(input.rank() >= 2, Shape, "expected sounds of shape (batch, samples), got {input}");
        let frames = input.last().map(|samples| self.frames(samples)).transpose()?;
        let mut dims = input.dims().to_vec();
        dims.pop();
        dims.extend([Some(self.num_mel_bins), frames]);
        Ok(vec![Shape::new(dims)])
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let (samples, frames) = (x.last(), self.frames(x.last())?);
        let mut dims = Dims::from_slice(&x.shape()[..x.rank() - 1]);
        dims.extend([self.num_mel_bins, frames]);
        let mut y = cx.scratch(dims);
        let (fourier, bands) = (Fourier::new(self.fft_length), self.bands());
        let window = match &self.window {
            Some(window) => window.values(self.sequence(), true)?,
            // Keras' backends differ where a frame is shorter than the transform; this is PyTorch's way.
            None => vec![1.0; self.sequence()],
        };
        let (half, before) = (self.fft_length / 2, (self.fft_length - self.sequence()) / 2);
        let decibels = |power: f64| 10.0 * power.max(self.min_power).log10();
        let each = self.num_mel_bins * frames;
        threads::for_each_chunk(y.data_mut(), each, |i, y| {
            let x = &x.data()[i * samples..][..samples];
            let mut frame = vec![0.0; self.fft_length];
            for t in 0..frames {
                for (j, weight) in window.iter().enumerate() {
                    // Reflected at both ends.
                    let at = (t * self.sequence_stride + before + j).abs_diff(half);
                    let at = if at < samples { at } else { 2 * (samples - 1) - at };
                    frame[before + j] = f64::from(x[at]) * weight;
                }
                let power: Vec<f64> =
                    fourier.of(&frame).iter().map(|[re, im]| re.hypot(*im).powf(self.mag_exp)).collect();
                for (band, (first, weights)) in bands.iter().enumerate() {
                    let sum: f64 = weights.iter().zip(&power[*first..]).map(|(w, power)| w * power).sum();
                    let value = if self.power_to_db { decibels(sum) - decibels(self.ref_power.abs()) } else { sum };
                    y[band * frames + t] = value as f32;
                }
            }
            if self.power_to_db {
                let lowest = y.iter().copied().fold(f32::NEG_INFINITY, f32::max) - self.top_db as f32;
                y.iter_mut().for_each(|y| *y = if *y < lowest { lowest } else { *y });
            }
        });
        Ok(y.into())
    }

    fn backward(&self, _: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Err(Error::State("no gradient passes a MelSpectrogram; it must stand in front of all layers that learn".into()))
    }
}
