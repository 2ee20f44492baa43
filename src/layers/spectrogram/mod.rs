//! Sounds as their frequencies over time.

mod mel;
mod stft;

pub use mel::MelSpectrogram;
pub use stft::{STFTSpectrogram, SpectrogramMode};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::layer::{Layer, LayerHandle};
    use crate::layers::Input;
    use crate::model::Sequential;
    use crate::shape::Shape;
    use crate::tensor::Tensor;
    use crate::testing::{GradientCheck, check_close};
    use crate::training::Predict;
    use serde_json::Value;

    /// Keras 3.15.1 on PyTorch.
    #[test]
    fn spectrograms_are_those_of_keras() {
        let text = include_str!("../../../tests/fixtures/spectrograms.json");
        let all: Value = serde_json::from_str(text).unwrap();
        let tensor = |value: &Value| {
            let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).unwrap();
            Tensor::new(shape, serde_json::from_value(value["values"].clone()).unwrap()).unwrap()
        };
        let cases = all["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 13);
        for case in cases {
            let (x, want) = (tensor(&case["input"]), tensor(&case["output"]));
            let layer = Box::<dyn Layer>::from_value(case["layer"].clone()).unwrap();
            let written = Value::from(layer.config().unwrap());
            for (key, value) in case["layer"]["config"].as_object().unwrap() {
                // Whole numbers may be written with a point.
                let same = written[key] == *value || written[key].as_f64() == value.as_f64() && value.is_number();
                assert!(same, "{key}: {} is not {value}", written[key]);
            }
            let mut model = Sequential::new();
            model.add(Input::new(&x.shape()[1..])).add(LayerHandle::from_parts(layer, "s".into(), true, None));
            model.build().unwrap();
            let mut y = Tensor::from(model.predict(&x.into_array(), Predict::default()).unwrap());
            if case["layer"]["config"]["mode"] == "angle" {
                // A negative real number has the angle π or -π, as rounding errors decide.
                let turn = 2.0 * std::f32::consts::PI;
                y.data_mut()
                    .iter_mut()
                    .zip(want.data())
                    .for_each(|(y, want)| *y += turn * ((want - *y) / turn).round());
            }
            check_close(&y, &want, 1e-5).unwrap_or_else(|error| panic!("{}: {error}", case["layer"]));
        }
    }

    #[test]
    fn transforms_have_gradients() {
        use SpectrogramMode::{Angle, Imag, Log, Magnitude, Psd, Real, Stft};
        let x = Tensor::new([2, 11, 2], (0..44).map(|i| ((i * 7 % 17) as f32 - 7.5) / 6.0).collect()).unwrap();
        let layer = |mode| STFTSpectrogram::new().mode(mode).frame_length(4).frame_step(3).fft_length(6);
        for mode in [Log, Magnitude, Psd, Real, Imag, Stft] {
            GradientCheck::new().layer_at(layer(mode), std::slice::from_ref(&x)).unwrap();
            let same = layer(mode).padding(crate::shape::Padding::Same).expand_dims(true).without_window();
            GradientCheck::new().layer_at(same, std::slice::from_ref(&x)).unwrap();
        }
        // Where a real frequency is negative the angle jumps; of what falls off all are positive.
        let falling = Tensor::new([1, 8, 1], [1.0, 0.6, 0.3, 0.1].repeat(2)).unwrap();
        let angle = layer(Angle).frame_step(4).fft_length(4).without_window();
        GradientCheck::new().layer_at(angle, &[falling]).unwrap();
    }

    #[test]
    fn silence_has_no_angle_and_passes_no_gradient() {
        let layer = STFTSpectrogram::new().mode(SpectrogramMode::Angle).frame_length(4);
        let mut model = Sequential::new().with_seed(1);
        model.add(Input::new([12, 1])).add(layer);
        model.compile("sgd", "mse", ()).unwrap();
        let before = model.get_weights();
        let (x, y) = (ndarray::Array3::<f32>::zeros((2, 12, 1)), ndarray::Array3::<f32>::ones((2, 5, 3)));
        model.train_on_batch(&x, &y).unwrap();
        assert_eq!(model.get_weights(), before);
    }

    #[test]
    fn loudness_does_not_depend_on_other_sounds() {
        let layer = || MelSpectrogram::new().fft_length(16).sequence_stride(8).num_mel_bins(3).top_db(10.0);
        let sound = |loud: f32| (0..40).map(move |i| ((i * 7 % 11) as f32 - 5.0) * loud);
        let predict = |x: Tensor| {
            let mut model = Sequential::new();
            model.add(Input::new([40])).add(layer());
            model.build().unwrap();
            model.predict(&x.into_array(), Predict::default()).unwrap().into_raw_vec_and_offset().0
        };
        let quiet = predict(Tensor::new([1, 40], sound(0.001).collect()).unwrap());
        let both = predict(Tensor::new([2, 40], sound(1.0).chain(sound(0.001)).collect()).unwrap());
        assert_eq!(both[quiet.len()..], quiet);
        let loudest = quiet.iter().copied().fold(f32::MIN, f32::max);
        assert!(quiet.iter().all(|y| *y >= loudest - 10.0));
    }

    #[test]
    fn mistakes_are_told() {
        for (layer, told) in [
            (STFTSpectrogram::new().frame_step(257), "frame_step is 257"),
            (STFTSpectrogram::new().fft_length(100), "fft_length is 100"),
            (STFTSpectrogram::new().window("han"), "did you mean 'hann'"),
            (STFTSpectrogram::new().frame_length(4).window(vec![1.0; 5]), "5 values for frames of 4"),
            (STFTSpectrogram::new().frame_length(1), "frame_length is 1"),
            (
                STFTSpectrogram::new().frame_length(usize::MAX),
                "frame_length is 18446744073709551615; it must be at most",
            ),
            (STFTSpectrogram::new().frame_length(1 << 62), "frame_length is 4611686018427387904; it must be at most"),
            (STFTSpectrogram::new().fft_length(1 << 25), "fft_length is 33554432; it must be at most"),
        ] {
            let error = layer.check().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        for (layer, told) in [
            (MelSpectrogram::new().window("blackman"), "'hann' or 'hamming'"),
            (MelSpectrogram::new().fft_length(1000).sequence_length(1001), "fft_length is 1000"),
            (MelSpectrogram::new().min_freq(9000.0), "they must rise"),
            (MelSpectrogram::new().num_mel_bins(0), "num_mel_bins is 0"),
            (MelSpectrogram::new().num_mel_bins((1 << 16) + 1), "num_mel_bins is 65537; it must be at most"),
            (MelSpectrogram::new().sequence_stride(0), "sequence_stride is 0"),
        ] {
            let error = layer.check().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let short = MelSpectrogram::new().output_shapes(&[Shape::batch_of([1024])]);
        assert!(short.unwrap_err().to_string().contains("more than fft_length / 2 = 1024"));
        assert!(STFTSpectrogram::new().output_shapes(&[Shape::batch_of([100, 1])]).is_err());
    }
}
