//! The networks of `applications` against those of real Keras, with the same weights and both ways: what Keras saved
//! predicts the same here, what was saved here predicts the same there. Only where the environment variable
//! `CORNU_PYTHON` names a Python with Keras, since it takes minutes and 4 GB on the disk:
//!
//! ```sh
//! CORNU_PYTHON=~/peers/bin/python cargo test --release --features full --test keras_applications -- --nocapture
//! ```
//!
//! `benches/peers/install.sh` installs such a Python. With `CORNU_MODELS`, a folder that has `hed_bsds500.weights.h5`,
//! edge detection with these real weights is compared as well, on the photograph of the example `edges`.

#![cfg(feature = "keras")]

use cornu::applications::{MobileNetV2, ResNet50, VGG16};
use cornu::data::npy;
use cornu::prelude::*;
use ndarray::ArrayD;
use std::path::Path;
use std::process::Command;

/// What differs most: relative to the largest value, and value by value.
fn differences(ours: &ArrayD<f32>, theirs: &ArrayD<f32>) -> (f32, f32) {
    assert_eq!(ours.shape(), theirs.shape());
    // Probabilities that can be told apart: neither all equal nor one of them 1.
    assert!(theirs.iter().all(|&p| p > 0.0 && p < 0.9) && theirs.iter().any(|&p| p > 0.005), "{theirs}");
    assert!(ours.iter().all(|p| p.is_finite()));
    let pairs = || ours.iter().zip(theirs).map(|(a, b)| ((a - b).abs(), b.abs()));
    let largest = pairs().fold(0.0, |largest: f32, (_, b)| largest.max(b));
    let most = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    (most(&mut pairs().map(|(d, _)| d / largest)), most(&mut pairs().map(|(d, b)| d / b)))
}

fn python(python: &std::ffi::OsStr, arguments: &[&std::ffi::OsStr]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keras_applications.py");
    let done = Command::new(python).arg(script).args(arguments).status().unwrap();
    assert!(done.success(), "{arguments:?}");
}

type Network = fn(Option<&Path>) -> Result<Model>;

#[test]
fn networks_predict_as_in_keras_and_back() {
    let Some(keras) = std::env::var_os("CORNU_PYTHON") else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: String| folder.path().join(name);
    let hed = std::env::var_os("CORNU_MODELS").map(|models| Path::new(&models).join("hed_bsds500.weights.h5"));
    let hed = hed.filter(|_| cfg!(feature = "image"));
    #[cfg(feature = "image")]
    if hed.is_some() {
        use cornu::{applications::hed, data::image};
        let cat = image::load_img(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/cat.jpg")).unwrap();
        let x = hed::preprocess_input(&cat.insert_axis(ndarray::Axis(0))).unwrap();
        npy::write(at("hed.x.npy".to_owned()), &x.into_dyn()).unwrap();
    }
    let mut arguments = vec!["make".as_ref(), folder.path().as_os_str()];
    arguments.extend(hed.as_ref().map(|hed| hed.as_os_str()));
    python(&keras, &arguments);

    macro_rules! network {
        ($network:ident) => {
            |weights| match weights {
                Some(weights) => $network::new().weights(weights).build(),
                None => $network::new().seed(5).build(),
            }
        };
    }
    let networks: [(&str, Network); 3] =
        [("resnet50", network!(ResNet50)), ("vgg16", network!(VGG16)), ("mobilenet_v2", network!(MobileNetV2))];
    for (name, network) in networks {
        let x = npy::read(at(format!("{name}.x.npy"))).unwrap();
        let want = npy::read(at(format!("{name}.y.npy"))).unwrap();
        let file = |extension: &str| at(format!("{name}.{extension}"));
        for (what, model) in [
            ("Keras' .keras, loaded", Model::load(file("keras")).unwrap()),
            ("Keras' .weights.h5 in our network", network(Some(&file("weights.h5"))).unwrap()),
            ("Keras' older .h5 in our network", network(Some(&file("h5"))).unwrap()),
        ] {
            let (relative, single) = differences(&model.predict(&x, Predict::default()).unwrap(), &want);
            println!(
                "{:>46}  {relative:.2e} of the largest value, {single:.2e} value by value",
                format!("{name}, {what}")
            );
            assert!(relative <= 1e-4 && single <= 1e-4, "{name}");
        }
        // The other way round with other weights, so that nothing of Keras' files can be left over.
        let mut own = network(None).unwrap();
        let weights = network(Some(&file("keras"))).unwrap().get_weights();
        own.set_weights(&weights.into_iter().map(|weight| weight * 1.01).collect::<Vec<_>>()).unwrap();
        npy::write(at(format!("{name}.cornu.y.npy")), &own.predict(&x, Predict::default()).unwrap()).unwrap();
        own.save(at(format!("{name}.cornu.keras"))).unwrap();
        own.save_weights(at(format!("{name}.cornu.weights.h5"))).unwrap();
    }
    if let Some(weights) = hed {
        let (x, want) =
            (npy::read(at("hed.x.npy".to_owned())).unwrap(), npy::read(at("hed.y.npy".to_owned())).unwrap());
        let model = cornu::applications::Hed::new(x.shape()[1], x.shape()[2]).weights(weights).build().unwrap();
        let found = model.predict(&x, Predict::default()).unwrap();
        let worst = found.iter().zip(&want).fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs()));
        println!("{:>46}  largest difference {worst:.2e} of {} values from 0 to 1", "hed, real weights", found.len());
        assert!(worst <= 1e-4);
    }
    python(&keras, &["check".as_ref(), folder.path().as_os_str()]);
}
