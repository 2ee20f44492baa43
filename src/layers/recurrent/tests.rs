//! Against Keras 3.15: the values that its layers give for the same weights, masks and states.

use super::*;
use crate::layer::{Effects, LayerHandle, Pass, Saved};
use crate::layers::{Bidirectional, Merge, TimeDistributed};
use crate::shape::Padding;
use crate::testing::check_close;

/// Values from -1 to 1 that look random.
fn waves(shape: &[usize], from: f32) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::new(shape, (0..n).map(|i| (i as f32 * 1.7 + from).sin()).collect()).unwrap()
}

/// A layer whose weights are waves.
fn built(layer: impl Into<LayerHandle>, inputs: &[Tensor]) -> LayerHandle {
    let layer: LayerHandle = layer.into();
    let shapes: Vec<Shape> = inputs.iter().map(|x| Shape::batch_of(&x.shape()[1..])).collect();
    layer.output_shapes(&shapes).unwrap();
    layer.build(&shapes, &Build::new(1)).unwrap();
    for (i, weight) in layer.weights().iter().enumerate() {
        weight.set(waves(&weight.shape(), i as f32).map(|w| 0.7 * w)).unwrap();
    }
    layer
}

/// What it gives for these inputs, of which the first has a mask; and the states that it carries on are set.
fn call(layer: &LayerHandle, inputs: &[Tensor], mask: Option<Tensor>) -> Vec<Tensor> {
    let pass = Pass { training: false, seed: 0, step: 0, first_sample: 0, share: 1.0, workspace: Workspace::new() };
    let (mut saved, mut effects) = (Saved::default(), Effects::default());
    let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, false);
    let outputs = cx.wrapped(0, layer, inputs.iter().cloned().collect(), [mask]).unwrap().0;
    for (state, value) in effects.states {
        state.set(value).unwrap();
    }
    outputs.into_iter().collect()
}

type Golden<'a> = &'a [(&'a [usize], &'a [f32])];

fn assert_outputs(outputs: &[Tensor], golden: Golden<'_>) {
    assert_eq!(outputs.len(), golden.len());
    for (output, (shape, values)) in outputs.iter().zip(golden) {
        check_close(output, &Tensor::new(shape, values.to_vec()).unwrap(), 1e-6).unwrap();
    }
}

fn check(layer: impl Into<LayerHandle>, inputs: &[Tensor], mask: Option<Tensor>, golden: Golden<'_>) {
    assert_outputs(&call(&built(layer, inputs), inputs, mask), golden);
}

/// Steps left out at the start, in the middle, at the end, and all of them.
fn mask() -> Option<Tensor> {
    Some(Tensor::new([4, 3], vec![0., 1., 1., 1., 0., 1., 1., 1., 0., 0., 0., 0.]).unwrap())
}

fn x() -> Tensor {
    waves(&[4, 3, 2], 0.0)
}

#[test]
fn masks_keep_states_and_repeat_outputs() {
    let [h, c] = [waves(&[4, 2], 3.0), waves(&[4, 2], 4.0)];
    let lstm = LSTM::new(2).return_sequences(true).return_state(true);
    check(
        lstm,
        &[x(), h.clone(), c],
        mask(),
        &[
            (
                &[4, 3, 2],
                &[
                    0.0,
                    0.0,
                    -0.3926634,
                    -0.1537521,
                    0.07860065,
                    -0.1912333,
                    0.2373315,
                    0.06258562,
                    0.2373315,
                    0.06258562,
                    0.1495846,
                    -0.1208485,
                    -0.1948261,
                    0.1037118,
                    -0.009205856,
                    -0.007243247,
                    -0.009205856,
                    -0.007243247,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                ],
            ),
            (
                &[4, 2],
                &[0.07860065, -0.1912333, 0.1495846, -0.1208485, -0.009205856, -0.007243247, 0.5920735, 0.7228814],
            ),
            (
                &[4, 2],
                &[0.2468797, -0.3211319, 0.2866282, -0.1602322, -0.01761356, -0.009387121, 0.9980267, -0.1908586],
            ),
        ],
    );
    check(
        LSTM::new(2).go_backwards(true),
        &[x()],
        mask(),
        &[(&[4, 2], &[0.1086951, -0.1914149, -0.1142998, -0.2208513, 0.1401565, -0.03696069, 0.0, 0.0])],
    );
    let gru = GRU::new(2).return_sequences(true).return_state(true);
    check(
        gru,
        &[x(), h],
        mask(),
        &[
            (
                &[4, 3, 2],
                &[
                    0.0,
                    0.0,
                    0.2485002,
                    -0.8049,
                    0.2532739,
                    -0.5753861,
                    0.256777,
                    0.3967051,
                    0.256777,
                    0.3967051,
                    0.2357875,
                    -0.1212014,
                    -0.03456642,
                    -0.5788682,
                    -0.02764412,
                    -0.6831016,
                    -0.02764412,
                    -0.6831016,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                ],
            ),
            (&[4, 2], &[0.2532739, -0.5753861, 0.2357875, -0.1212014, -0.02764412, -0.6831016, 0.5920735, 0.7228814]),
        ],
    );
    let rnn = RNN::new(SimpleRNNCell::new(2)).zero_output_for_mask(true);
    check(rnn, &[x()], mask(), &[(&[4, 2], &[0.6916375, -0.3389831, 0.8669409, -0.6029453, 0.0, 0.0, 0.0, 0.0])]);
}

#[test]
fn both_directions() {
    let gru = GRU::new(2).return_sequences(true).return_state(true);
    check(
        Bidirectional::new(gru).merge_mode(Merge::Ave),
        &[x()],
        mask(),
        &[
            (
                &[4, 3, 2],
                &[
                    0.0,
                    0.0,
                    -0.1481168,
                    -0.02669154,
                    0.07768232,
                    -0.06639886,
                    -0.08895221,
                    0.05566554,
                    0.0,
                    0.0,
                    0.008670889,
                    -0.09523121,
                    -0.02370802,
                    -0.1720833,
                    0.06750467,
                    -0.04699087,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                ],
            ),
            (&[4, 2], &[0.2064343, -0.1453973, 0.2190046, -0.4925351, 0.1407206, -0.3782138, 0.0, 0.0]),
            (&[4, 2], &[-0.5224736, 0.07839913, -0.3616827, 0.3644107, -0.3209334, -0.3835927, 0.0, 0.0]),
        ],
    );
    check(
        Bidirectional::new(LSTM::new(2)).merge_mode(Merge::Mul),
        &[x()],
        mask(),
        &[(&[4, 2], &[0.001972761, -0.02587551, -0.0001096715, -0.04102804, -0.03439365, -0.02702222, 0.0, 0.0])],
    );
}

#[test]
fn cells_of_several_kinds() {
    let gru = GRU::new(2).reset_after(false).activation("gelu").recurrent_activation("hard_sigmoid");
    check(
        gru,
        &[x()],
        None,
        &[(&[4, 2], &[0.1608946, -0.1457151, 0.205536, -0.1240598, 0.4202824, -0.07427262, 0.1299042, -0.1430044])],
    );
    let cells = StackedRNNCells::new().add(LSTMCell::new(2)).add(GRUCell::new(3)).add(SimpleRNNCell::new(2));
    check(
        RNN::new(cells).return_sequences(true),
        &[x()],
        mask(),
        &[(
            &[4, 3, 2],
            &[
                0.0,
                0.0,
                0.5979363,
                -0.03596389,
                0.7406024,
                0.2579257,
                0.5969823,
                -0.04285393,
                0.5969823,
                -0.04285393,
                0.7485617,
                0.2820699,
                0.5886175,
                -0.05301645,
                0.7382646,
                0.2387211,
                0.7382646,
                0.2387211,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
            ],
        )],
    );
    check(
        TimeDistributed::new(LSTM::new(1)),
        &[waves(&[1, 2, 3, 2], 0.0)],
        None,
        &[(&[1, 2, 1], &[-0.2397016, -0.1632158])],
    );
}

#[test]
fn images() {
    let layer = ConvLSTM2D::new(2, [2, 3]).padding(Padding::Same).return_sequences(true);
    check(
        layer,
        &[waves(&[1, 2, 3, 2, 1], 0.0)],
        None,
        &[(
            &[1, 2, 3, 2, 2],
            &[
                0.1926736,
                -0.2129635,
                0.1052631,
                -0.2221397,
                -0.12306,
                0.08185694,
                -0.2406219,
                -0.09361841,
                0.1789638,
                -0.2305177,
                0.1431353,
                -0.1358255,
                0.2097784,
                -0.1012957,
                0.1171967,
                -0.2878281,
                0.1136379,
                -0.1740452,
                0.08321745,
                0.1553667,
                0.1127533,
                -0.2124607,
                0.1585865,
                -0.2623685,
            ],
        )],
    );
    let layer = ConvLSTM2D::new(2, 2).strides(2).return_state(true).go_backwards(true);
    check(
        layer,
        &[waves(&[1, 2, 4, 5, 1], 0.0)],
        None,
        &[
            (
                &[1, 2, 2, 2],
                &[0.1310141, -0.1846824, 0.1413374, -0.2470247, 0.1709676, -0.0437674, 0.04062581, 0.1493919],
            ),
            (
                &[1, 2, 2, 2],
                &[0.1310141, -0.1846824, 0.1413374, -0.2470247, 0.1709676, -0.0437674, 0.04062581, 0.1493919],
            ),
            (
                &[1, 2, 2, 2],
                &[0.7261432, -0.2517766, 0.1963349, -0.4106602, 0.2918853, -0.05174588, 0.1260288, 0.4601101],
            ),
        ],
    );
    check(
        ConvLSTM1D::new(2, 2),
        &[waves(&[2, 2, 4, 1], 0.0)],
        None,
        &[(
            &[2, 3, 2],
            &[
                0.1654979,
                -0.210346,
                0.1350667,
                -0.02260675,
                -0.1775336,
                -0.2100107,
                0.167556,
                -0.0239262,
                -0.09595844,
                -0.1531951,
                0.08289961,
                -0.2738347,
            ],
        )],
    );
}

#[test]
fn states_go_on_until_they_are_reset() {
    let layer = built(LSTM::new(2).stateful(true), &[x()]);
    assert_eq!(layer.weights().len(), 3, "states are not weights");
    assert!(layer.layer().couples_samples());
    let first: Golden<'_> =
        &[(&[4, 2], &[0.1461176, -0.2032575, 0.1107781, -0.2249136, 0.1419842, -0.05308354, 0.1741285, -0.2923386])];
    assert_outputs(&call(&layer, &[x()], None), first);
    assert_outputs(
        &call(&layer, &[x()], None),
        &[(&[4, 2], &[0.1476174, -0.2196737, 0.1141391, -0.248151, 0.1516696, -0.05570056, 0.1765119, -0.3238834])],
    );
    layer.layer().reset_states();
    assert_outputs(&call(&layer, &[x()], None), first);
    let other = layer.downcast(|layer: &LSTM| layer.carried(&vec![Shape::batch_of([2]); 2], 3)).unwrap();
    assert!(other.unwrap_err().to_string().contains("the batch before had 4 samples, this one 3"));
}

#[test]
fn groups_of_a_file() {
    let cells = StackedRNNCells::new().add(LSTMCell::new(2)).add(LSTMCell::new(2));
    let layer = RNN::new(cells);
    let layer = built(crate::layer::LayerExt::name(layer, "rnn"), &[x()]);
    let paths: Vec<String> = layer.weights().iter().map(|w| w.path().to_owned()).collect();
    assert_eq!(paths[0], "rnn/cell/cells/lstm_cell/kernel");
    assert_eq!(paths[4], "rnn/cell/cells/lstm_cell_1/recurrent_kernel");
    let both = built(crate::layer::LayerExt::name(Bidirectional::new(GRU::new(2)), "both"), &[x()]);
    let paths: Vec<String> = both.weights().iter().map(|w| w.path().to_owned()).collect();
    assert_eq!([&*paths[2], &*paths[5]], ["both/forward_layer/cell/bias", "both/backward_layer/cell/bias"]);
}

/// Dropped inputs and states are the same at all steps, for each sample others, and none in inference.
#[test]
fn what_is_dropped_stays_dropped() {
    let layer = SimpleRNN::new(1).dropout(0.5).use_bias(false).return_sequences(true).activation("linear");
    let x = Tensor::full([64, 5, 1], 1.0);
    let layer: LayerHandle = layer.into();
    layer.build(&[Shape::batch_of([5, 1])], &Build::new(1)).unwrap();
    for (weight, value) in layer.weights().iter().zip([1.0, 0.0]) {
        weight.set(Tensor::full([1, 1], value)).unwrap();
    }
    let pass = Pass { training: true, seed: 0, step: 0, first_sample: 0, share: 1.0, workspace: Workspace::new() };
    let (mut saved, mut effects) = (Saved::default(), Effects::default());
    let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, false);
    let y = layer.forward(x.clone().into(), &mut cx).unwrap().one().unwrap();
    let rows: Vec<f32> = y.data().chunks_exact(5).map(|row| row[0]).collect();
    assert!(y.data().chunks_exact(5).all(|row| row.iter().all(|v| *v == row[0])));
    assert!(rows.iter().all(|v| *v == 0.0 || *v == 2.0));
    assert!((16..48).contains(&rows.iter().filter(|v| **v == 0.0).count()));
    assert!(call(&layer, &[x], None)[0].data().iter().all(|v| *v == 1.0));
}
