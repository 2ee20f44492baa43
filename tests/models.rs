//! Real weights from the web, in the networks they belong to, where the environment variable `CORNU_MODELS` names the
//! folder that has them.

#![cfg(feature = "keras")]

use cornu::applications::Hed;
use cornu::prelude::*;
use ndarray::{ArrayD, IxDyn};

#[test]
fn edge_detection_of_real_weights() {
    let Some(folder) = std::env::var_os("CORNU_MODELS").map(std::path::PathBuf::from) else { return };
    let model = Hed::new(21, 18).weights(folder.join("hed_bsds500.weights.h5")).build().unwrap();
    let image = ArrayD::from_shape_fn(IxDyn(&[1, 21, 18, 3]), |at| {
        let mean = [104.00699, 116.66877, 122.67892][at[3]];
        127.5 + 127.5 * ((at[1] * 7 + at[2] * at[2] * 3 + at[3] * 5) as f32 * 0.37).sin() - mean
    });
    let found = model.predict(&image, Predict::default()).unwrap();
    // Of Keras 3.15.1, by rows: every fourth row and fifth column.
    let want: [[f32; 4]; 6] = [
        [0.346997, 0.292148, 0.252126, 0.319519],
        [0.345550, 0.159772, 0.109291, 0.254595],
        [0.295530, 0.095455, 0.071909, 0.219932],
        [0.3100878, 0.1272548, 0.104133, 0.2570389],
        [0.415227, 0.321153, 0.326755, 0.428284],
        [0.4068788, 0.3795079, 0.429716, 0.477348],
    ];
    for (row, want) in want.iter().enumerate() {
        for (column, want) in want.iter().enumerate() {
            let got = found[[0, row * 4, column * 5, 0]];
            assert!((got - want).abs() <= 1e-4, "row {}, column {}: {got}, wanted {want}", row * 4, column * 5);
        }
    }
}
