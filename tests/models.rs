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
        [0.34699735, 0.29214829, 0.25212589, 0.31951916],
        [0.34554952, 0.15977198, 0.10929068, 0.25459468],
        [0.29552951, 0.09545498, 0.07190896, 0.21993203],
        [0.3100878, 0.1272548, 0.10413335, 0.2570389],
        [0.41522655, 0.32115313, 0.32675472, 0.42828381],
        [0.4068788, 0.3795079, 0.42971632, 0.47734842],
    ];
    for (row, want) in want.iter().enumerate() {
        for (column, want) in want.iter().enumerate() {
            let got = found[[0, row * 4, column * 5, 0]];
            assert!((got - want).abs() <= 1e-4, "row {}, column {}: {got}, wanted {want}", row * 4, column * 5);
        }
    }
}
