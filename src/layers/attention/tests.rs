//! Attention against Keras 3.15: its numbers, its masks, its configurations; and all gradients.

use super::super::called::{Called, assert_values, tensor, wave};
use super::*;
use crate::error::Result;
use crate::layer::{Build, Layer, Param};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::testing::{GradientCheck, check_layer};

fn query() -> Tensor {
    wave(&[2, 3, 2], 0.0, 1.0)
}
fn value() -> Tensor {
    wave(&[2, 4, 2], 1.0, 1.0)
}
fn key() -> Tensor {
    wave(&[2, 4, 2], 2.0, 1.0)
}
fn query_mask() -> Tensor {
    tensor(&[2, 3], &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
}
/// In the second sample nothing counts.
fn value_mask() -> Tensor {
    tensor(&[2, 4], &[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
}
/// The last query of the first sample sees nothing.
fn attention_mask() -> Tensor {
    let seen = [1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1];
    tensor(&[2, 3, 4], &seen.map(|seen: u8| f32::from(seen)))
}

/// Checks the outputs of a call, and that the mask of the first one is that of the query.
#[track_caller]
fn assert_outputs(layer: Called, inputs: &[Tensor], want: &[&[f32]], mask: Option<Tensor>) {
    let (outputs, masks) = layer.run(inputs).unwrap();
    assert_eq!(outputs.len(), want.len());
    outputs.iter().zip(want).for_each(|(output, want)| assert_values(output, want));
    assert_eq!(masks[0], mask);
    assert!(masks[1..].iter().all(Option::is_none));
}

#[test]
fn attention_of_one_head_follows_keras() {
    let (q, v, k, qm, vm) = (query(), value(), key(), query_mask(), value_mask());
    let plain = || Called::new(Attention::new());
    assert_outputs(plain(), &[q.clone(), v.clone()], &[DOT], None);
    let all = Called::new(Attention::new().use_scale(true))
        .masks([Some(&qm), Some(&vm), None])
        .with("return_attention_scores", true)
        .with("use_causal_mask", true);
    assert_outputs(all, &[q.clone(), v.clone(), k.clone()], &[DOT_ALL, DOT_ALL_SCORES], Some(qm.clone()));
    // The same, with the masks given by hand.
    let all = Called::new(Attention::new().use_scale(true))
        .by_name("mask", [3, 4])
        .with("return_attention_scores", true)
        .with("use_causal_mask", true);
    let inputs = [q.clone(), v.clone(), k.clone(), qm.clone(), vm.clone()];
    assert_outputs(all, &inputs, &[DOT_ALL, DOT_ALL_SCORES], Some(qm.clone()));

    let inputs = [q, v, k];
    let concat = || Attention::new().score_mode(ScoreMode::Concat);
    assert_outputs(Called::new(concat()), &inputs, &[CONCAT], None);
    let masked = Called::new(concat().use_scale(true)).masks([None, Some(&vm), None]);
    assert_outputs(masked, &inputs, &[CONCAT_SCALE], None);
    let additive = Called::new(AdditiveAttention::new()).masks([Some(&qm), None, None]);
    assert_outputs(additive, &inputs, &[ADDITIVE], Some(qm));
}

#[test]
fn attention_of_several_heads_follows_keras() {
    let (qm, vm) = (query_mask(), value_mask());
    let (two, three) = ([query(), value()], [query(), value(), key()]);
    let mha = || MultiHeadAttention::new(2, 2);
    assert_outputs(Called::new(mha()), &two, &[MHA], None);
    let other = mha().value_dim(3).output_shape([5]).use_gate(true);
    assert_outputs(Called::new(other), &three, &[MHA_VD], None);
    assert_outputs(Called::new(mha()).with("use_causal_mask", true), &two, &[MHA_CAUSAL], None);
    // The mean of all values where nothing is seen, and nothing at all where the scores are asked for.
    let masked = || Called::new(mha()).masks([Some(&qm), Some(&vm)]);
    assert_outputs(masked(), &two, &[MHA_MASKS], Some(qm.clone()));
    let scores = masked().with("return_attention_scores", true);
    assert_outputs(scores, &two, &[MHA_MASKS_SCORES, MHA_MASKS_SCORES_SCORES], Some(qm));
    let inputs = [query(), value(), attention_mask()];
    let by_name = Called::new(mha()).by_name("attention_mask", [2]).with("use_causal_mask", true);
    assert_outputs(by_name, &inputs, &[MHA_AM], None);
    let dropping = Called::new(mha().dropout(0.1)).by_name("attention_mask", [2]);
    let scores = dropping.with("return_attention_scores", true);
    assert_outputs(scores, &inputs, &[MHA_AM_SCORES, MHA_AM_SCORES_SCORES], None);
    assert_outputs(Called::new(mha().sliding_window(2).use_bias(false)), &two, &[MHA_WINDOW], None);
}

#[test]
fn other_axes_follow_keras() {
    let mha = || MultiHeadAttention::new(2, 2);
    let inputs = [wave(&[2, 2, 2, 2], 0.0, 1.0), wave(&[2, 2, 2, 2], 1.0, 1.0)];
    assert_outputs(Called::new(mha()), &inputs, &[MHA_2D], None);
    let inputs = [wave(&[2, 2, 3, 2], 0.0, 1.0), wave(&[2, 2, 3, 2], 1.0, 1.0)];
    assert_outputs(Called::new(mha().attention_axes([1])), &inputs, &[MHA_AXES1], None);
    let scores = Called::new(mha().attention_axes([2])).with("return_attention_scores", true);
    assert_outputs(scores, &inputs, &[MHA_AXES2S, MHA_AXES2S_SCORES], None);
    // A mask that hides nothing changes nothing, for whatever axes.
    for shape in [&[2, 3, 3][..], &[2, 2, 2, 3, 3]] {
        let inputs = [inputs[0].clone(), inputs[1].clone(), Tensor::full(shape, 1.0)];
        let masked = Called::new(mha().attention_axes([2])).by_name("attention_mask", [2]);
        assert_values(&masked.run(&inputs).unwrap().0[0], MHA_AXES2S);
    }
}

#[test]
fn heads_that_share_keys_follow_keras() {
    let (qm, vm) = (query_mask(), value_mask());
    let (two, three) = ([query(), value()], [query(), value(), key()]);
    assert_outputs(Called::new(GroupQueryAttention::new(2, 4, 2)), &two, &[GQA], None);
    let gate = GroupQueryAttention::new(2, 4, 2).use_gate(true).sliding_window(2);
    assert_outputs(Called::new(gate), &three, &[GQA_GATE], None);
    let masked = Called::new(GroupQueryAttention::new(2, 4, 1)).masks([Some(&qm), Some(&vm)]);
    assert_outputs(masked.with("use_causal_mask", true), &two, &[GQA_MASKS], Some(qm.clone()));
    let masked = Called::new(GroupQueryAttention::new(2, 2, 1)).masks([Some(&qm), Some(&vm)]);
    let scores = masked.with("return_attention_scores", true);
    assert_outputs(scores, &two, &[GQA_SCORES, GQA_SCORES_SCORES], Some(qm));
}

#[test]
fn gradients_of_one_head() {
    // Each query sees a key: where none is seen, Keras takes so much off all scores that they are the same to f32, and
    // differences would find no derivative.
    let (qm, vm) = (query_mask(), tensor(&[2, 4], &[1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]));
    let shapes = [[2, 3, 5], [2, 4, 5], [2, 4, 5]];
    for use_scale in [false, true] {
        for mode in [ScoreMode::Dot, ScoreMode::Concat] {
            let layer = || Attention::new().use_scale(use_scale).score_mode(mode);
            check_layer(layer(), &shapes).unwrap();
            check_layer(layer().dropout(0.3), &shapes[..2]).unwrap();
            let masked = Called::new(layer().dropout(0.3)).masks([Some(&qm), Some(&vm), None]);
            check_layer(masked.with("return_attention_scores", true).with("use_causal_mask", true), &shapes).unwrap();
        }
        check_layer(AdditiveAttention::new().use_scale(use_scale), &shapes[..2]).unwrap();
        // More features than are summed side by side.
        check_layer(AdditiveAttention::new().use_scale(use_scale), &[[2, 2, 35], [2, 3, 35]]).unwrap();
    }
}

#[test]
fn gradients_of_several_heads() {
    let (qm, vm) = (query_mask(), value_mask());
    let shapes = [&[2, 3, 5][..], &[2, 4, 3], &[2, 4, 2]];
    let mha = || MultiHeadAttention::new(2, 3);
    check_layer(mha(), &shapes[..2]).unwrap();
    check_layer(mha().value_dim(2).output_shape([2, 3]).use_gate(true).dropout(0.3), &shapes).unwrap();
    let masked = || Called::new(mha().use_bias(false)).masks([Some(&qm), Some(&vm)]);
    check_layer(masked(), &shapes[..2]).unwrap();
    check_layer(masked().with("return_attention_scores", true).with("use_causal_mask", true), &shapes[..2]).unwrap();
    let dropping = Called::new(mha().dropout(0.4)).with("return_attention_scores", true);
    check_layer(dropping, &shapes).unwrap();
    check_layer(mha().sliding_window(2), &shapes[..2]).unwrap();
    let images = [[2, 2, 3, 4], [2, 2, 3, 4]];
    check_layer(mha(), &images).unwrap();
    check_layer(mha().attention_axes([1]).output_shape([5]), &images).unwrap();
    check_layer(mha().attention_axes([2, 1]).dropout(0.2), &images).unwrap();
    let by_name = Called::new(mha()).by_name("attention_mask", [2]);
    let inputs = [wave(&[2, 3, 5], 0.0, 1.0), wave(&[2, 4, 3], 0.5, 1.0), attention_mask()];
    // A mask has no gradient, and differences at it are of no use: it stays 1 or 0 on whatever small way.
    GradientCheck::new().inputs(false).layer_at(by_name, &inputs).unwrap();

    let same = [[2, 3, 4], [2, 4, 4], [2, 4, 4]];
    for (heads, groups) in [(2, 2), (4, 2), (3, 1)] {
        check_layer(GroupQueryAttention::new(2, heads, groups), &same).unwrap();
        let layer = GroupQueryAttention::new(2, heads, groups).use_gate(true).dropout(0.3);
        check_layer(Called::new(layer).masks([Some(&qm), Some(&vm), None]), &same).unwrap();
    }
}

fn paths(mut layer: impl Layer, sample: &[usize]) -> Vec<String> {
    let shapes = [Shape::batch_of(sample), Shape::batch_of(sample)];
    layer.build(&shapes, &mut Build::new(0)).unwrap();
    let mut paths = Vec::new();
    layer.visit(&mut |weight: &Param| paths.push(format!("{} {:?}", weight.path(), weight.shape())));
    paths
}

#[test]
fn weights_stand_where_keras_has_them() {
    assert_eq!(
        paths(MultiHeadAttention::new(2, 3).use_gate(true).value_dim(5), &[3, 4]),
        [
            "query_dense/kernel [4, 2, 3]",
            "query_dense/bias [2, 3]",
            "key_dense/kernel [4, 2, 3]",
            "key_dense/bias [2, 3]",
            "_gate_dense/kernel [4, 2, 5]",
            "_gate_dense/bias [2, 5]",
            "value_dense/kernel [4, 2, 5]",
            "value_dense/bias [2, 5]",
            "output_dense/kernel [2, 5, 4]",
            "output_dense/bias [4]",
        ]
    );
    assert_eq!(
        paths(GroupQueryAttention::new(3, 4, 2).use_bias(false), &[3, 5]),
        [
            "_query_dense/kernel [5, 4, 3]",
            "_key_dense/kernel [5, 2, 3]",
            "_value_dense/kernel [5, 2, 3]",
            "_output_dense/kernel [4, 3, 5]",
        ]
    );
    let concat = Attention::new().use_scale(true).score_mode(ScoreMode::Concat);
    assert_eq!(paths(concat, &[3, 4]), ["scale []", "concat_score_weight []"]);
    assert_eq!(paths(AdditiveAttention::new(), &[3, 4]), ["scale [4]"]);
}

#[test]
fn kernels_start_by_the_fans_of_their_products() {
    // Glorot's limit for 300 inputs and 40 outputs; as a convolution the kernel would have others.
    let mut layer = MultiHeadAttention::new(4, 10);
    layer.build(&[Shape::batch_of([3, 300]), Shape::batch_of([3, 300])], &mut Build::new(0)).unwrap();
    let mut largest = None;
    layer.visit(&mut |weight: &Param| {
        let max = weight.value().data().iter().fold(0f32, |max, x| max.max(x.abs()));
        largest.get_or_insert(max);
    });
    let limit = (6.0f32 / 340.0).sqrt();
    assert!((limit * 0.99..=limit).contains(&largest.unwrap()), "{largest:?}");
}

#[test]
fn what_is_dropped_does_not_depend_on_how_a_batch_is_split() {
    let shapes = [Shape::batch_of([2, 3, 4]), Shape::batch_of([2, 3, 4])];
    let mut layer = MultiHeadAttention::new(2, 3).attention_axes([2]).dropout(0.5);
    layer.build(&shapes, &mut Build::new(3)).unwrap();
    let run = |x: &Tensor, first_sample: u64| -> Tensor {
        let workspace = crate::runtime::Workspace::new();
        let pass = crate::layer::Pass { training: true, seed: 5, step: 2, first_sample, share: 1.0, workspace };
        let (mut saved, mut effects) = Default::default();
        let mut cx = crate::layer::Forward::of_model(&pass, &mut saved, &mut effects, false);
        layer.forward([x.clone(), x.clone()].into_iter().collect(), &mut cx).unwrap().one().unwrap()
    };
    let x = wave(&[4, 2, 3, 4], 0.0, 1.0);
    let halves = [0, 2].map(|first| {
        let part = x.data()[first * 24..(first + 2) * 24].to_vec();
        run(&Tensor::new([2, 2, 3, 4], part).unwrap(), first as u64)
    });
    assert_eq!(run(&x, 0).data(), [halves[0].data(), halves[1].data()].concat());
}

#[test]
fn mistakes_are_told() {
    let told = |layer: &dyn Layer, shapes: &[&[usize]]| {
        let shapes: Vec<Shape> = shapes.iter().map(Shape::batch_of).collect();
        layer.check().and_then(|()| layer.output_shapes(&shapes)).unwrap_err().to_string()
    };
    let mha = MultiHeadAttention::new(2, 2);
    assert!(told(&MultiHeadAttention::new(0, 2), &[]).contains("num_heads is 0"));
    assert!(told(&MultiHeadAttention::new(2, 2).dropout(1.0), &[]).contains("dropout"));
    assert!(told(&MultiHeadAttention::new(2, 2).sliding_window(0), &[]).contains("sliding_window is 0"));
    assert!(told(&MultiHeadAttention::new(2, 2).attention_axes([0]), &[&[3, 4], &[3, 4]]).contains("attention_axes"));
    assert!(told(&GroupQueryAttention::new(2, 3, 2), &[]).contains("multiple of num_key_value_heads, 2"));
    assert!(told(&mha, &[&[3, 4]]).contains("got no value"));
    assert!(told(&mha, &[&[4], &[4]]).contains("at least 3 dimensions"));
    assert!(told(&mha, &[&[3, 4], &[5, 4], &[6, 4]]).contains("the same steps"));
    assert!(told(&Attention::new(), &[&[3, 4]]).contains("got 1 inputs"));
    assert!(told(&Attention::new(), &[&[3, 4], &[3, 5]]).contains("do not fit"));

    let run = |layer: Called, inputs: &[Tensor]| -> Result<()> { layer.run(inputs).map(|_| ()) };
    let wrong = Called::new(MultiHeadAttention::new(2, 2)).by_name("attention_mask", [2]);
    let error = run(wrong, &[query(), value(), Tensor::zeros([2, 5, 5])]).unwrap_err().to_string();
    assert!(error.contains("attention_mask has shape"), "{error}");
    let wrong = Called::new(MultiHeadAttention::new(2, 2)).by_name("mask", [2]);
    assert!(run(wrong, &[query(), value(), value_mask()]).unwrap_err().to_string().contains("'mask' is none of"));
    let wrong = Called::new(MultiHeadAttention::new(2, 2)).masks([None, Some(&query_mask())]);
    assert!(run(wrong, &[query(), value()]).unwrap_err().to_string().contains("the mask of the value has shape"));
    let wrong = Called::new(MultiHeadAttention::new(2, 2)).with("use_causal_mask", true);
    let images = [wave(&[2, 2, 2, 2], 0.0, 1.0), wave(&[2, 2, 2, 2], 1.0, 1.0)];
    assert!(run(wrong, &images).unwrap_err().to_string().contains("use attention_mask"));
}

// The numbers of Keras, with weights and inputs that are waves.

const DOT: &[f32] = &[
    0.0135244,
    0.18917,
    -0.281578,
    0.0535626,
    0.405972,
    0.191214,
    0.0840048,
    -0.00120421,
    0.274054,
    -0.0759602,
    -0.237128,
    0.406244,
];
const DOT_ALL: &[f32] =
    &[0.841471, 0.42738, 0.170784, 0.199385, 0.0, 0.0, 0.093621, 0.0694229, 0.093621, 0.0694229, 0.093621, 0.0694229];
const DOT_ALL_SCORES: &[f32] = &[
    1.0, 0.0, 0.0, 0.0, 0.625957, 0.374043, 0.0, 0.0, 0.469586, 0.530414, 0.0, 0.0, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25,
    0.25, 0.25, 0.25, 0.25, 0.25, 0.25,
];
const CONCAT: &[f32] = &[
    0.117452,
    0.170754,
    0.0531192,
    0.162308,
    -0.00629516,
    0.164201,
    -0.196164,
    0.459438,
    -0.215214,
    0.470993,
    -0.226287,
    0.493546,
];
const CONCAT_SCALE: &[f32] = &[
    -0.252941, 0.228441, -0.304085, 0.224107, -0.317994, 0.219511, 0.093621, 0.0694229, 0.093621, 0.0694229, 0.093621,
    0.0694229,
];
const ADDITIVE: &[f32] = &[
    -0.0277039, 0.140592, -0.0623176, 0.137277, 0.0, 0.0, -0.071849, 0.28152, -0.0875509, 0.299832, -0.0961837,
    0.311438,
];
const MHA: &[f32] = &[
    0.658356, -0.0505244, 0.652227, -0.0539643, 0.65212, -0.048022, 0.648073, -0.0495367, 0.639527, -0.0385814,
    0.647899, -0.04894,
];
const MHA_VD: &[f32] = &[
    -0.157721, -0.656657, 0.326934, 0.57241, -0.474438, -0.170705, -0.678031, 0.345426, 0.589019, -0.49721, -0.167378,
    -0.665103, 0.338768, 0.577806, -0.487662, -0.154386, -0.65512, 0.323203, 0.571834, -0.470559, -0.204246, -0.69229,
    0.382641, 0.593687, -0.535628, -0.139687, -0.647403, 0.306515, 0.568418, -0.45299,
];
const MHA_CAUSAL: &[f32] = &[
    0.827543,
    -0.106963,
    0.653866,
    -0.056874,
    0.689808,
    -0.0513925,
    0.662918,
    -0.00617531,
    0.64771,
    -0.0432788,
    0.615578,
    -0.0196225,
];
const MHA_MASKS: &[f32] = &[
    0.614822, -0.0475572, 0.610764, -0.0515389, 0.63548, -0.0482651, 0.644503, -0.0462101, 0.644503, -0.0462101,
    0.644503, -0.0462101,
];
const MHA_MASKS_SCORES: &[f32] =
    &[0.614822, -0.0475572, 0.610764, -0.0515389, 0.469, 0.111445, 0.469, 0.111445, 0.469, 0.111445, 0.469, 0.111445];
const MHA_MASKS_SCORES_SCORES: &[f32] = &[
    0.390216, 0.307148, 0.0, 0.302636, 0.388035, 0.297383, 0.0, 0.314582, 0.0, 0.0, 0.0, 0.0, 0.395506, 0.30445, 0.0,
    0.300044, 0.384437, 0.299687, 0.0, 0.315876, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
];
const MHA_AM: &[f32] = &[
    0.827543,
    -0.106963,
    0.653866,
    -0.056874,
    0.63548,
    -0.0482651,
    0.662918,
    -0.00617531,
    0.628721,
    -0.0905632,
    0.615578,
    -0.0196225,
];
const MHA_AM_SCORES: &[f32] = &[
    0.72027, -0.0694766, 0.652227, -0.0539643, 0.469, 0.111445, 0.646168, -0.0475571, 0.583631, -0.0177338, 0.647899,
    -0.04894,
];
const MHA_AM_SCORES_SCORES: &[f32] = &[
    0.356, 0.0, 0.3679, 0.2761, 0.282755, 0.216698, 0.271315, 0.229231, 0.0, 0.0, 0.0, 0.0, 0.35798, 0.0, 0.370444,
    0.271576, 0.280639, 0.218771, 0.270001, 0.230589, 0.0, 0.0, 0.0, 0.0, 0.509797, 0.490203, 0.0, 0.0, 0.0, 0.4378,
    0.5622, 0.0, 0.259798, 0.239981, 0.230932, 0.269289, 0.509266, 0.490734, 0.0, 0.0, 0.0, 0.434974, 0.565026, 0.0,
    0.259874, 0.239968, 0.2325, 0.267658,
];
const MHA_WINDOW: &[f32] = &[
    0.020258,
    -0.0393891,
    0.0144745,
    -0.0326502,
    -0.0162594,
    0.0289566,
    0.00621847,
    -0.0243343,
    0.0211684,
    -0.00452499,
    -0.0107051,
    -0.0149226,
];
const MHA_2D: &[f32] = &[
    0.658356, -0.0505244, 0.652227, -0.0539643, 0.65212, -0.048022, 0.658455, -0.0560159, 0.639527, -0.0385814,
    0.647899, -0.04894, 0.640254, -0.0398575, 0.646663, -0.0470554,
];
const MHA_AXES1: &[f32] = &[
    0.69429, -0.0754999, 0.556023, 0.00194386, 0.705349, -0.0724158, 0.692984, -0.0795316, 0.558354, 0.00443162,
    0.702465, -0.0739359, 0.66985, -0.0417354, 0.589769, -0.046292, 0.641491, -0.026094, 0.686352, -0.0555418,
    0.570829, -0.0327447, 0.658764, -0.036118,
];
const MHA_AXES2S: &[f32] = &[
    0.69633,
    -0.0543156,
    0.692655,
    -0.0579848,
    0.689808,
    -0.0513925,
    0.606437,
    -0.0452476,
    0.607585,
    -0.0414941,
    0.607574,
    -0.0446599,
    0.570148,
    0.000608712,
    0.588023,
    -0.0149619,
    0.574071,
    -0.00266913,
    0.711114,
    -0.0806729,
    0.690644,
    -0.0700748,
    0.701,
    -0.073883,
];
const MHA_AXES2S_SCORES: &[f32] = &[
    0.354541, 0.279068, 0.366392, 0.366848, 0.281145, 0.352006, 0.341016, 0.299062, 0.359922, 0.356558, 0.274469,
    0.368973, 0.364745, 0.284335, 0.35092, 0.344184, 0.292476, 0.36334, 0.306976, 0.353302, 0.339723, 0.312473,
    0.384169, 0.303357, 0.300248, 0.36375, 0.336003, 0.308582, 0.352116, 0.339302, 0.308763, 0.389524, 0.301713,
    0.301578, 0.363118, 0.335304, 0.356878, 0.289277, 0.353845, 0.334108, 0.366345, 0.299547, 0.348613, 0.306606,
    0.344781, 0.357971, 0.28972, 0.352309, 0.335455, 0.362889, 0.301657, 0.349337, 0.306732, 0.343932, 0.353625,
    0.269685, 0.376691, 0.336687, 0.319635, 0.343678, 0.339044, 0.297312, 0.363644, 0.35242, 0.271226, 0.376354,
    0.33653, 0.319553, 0.343917, 0.338781, 0.296256, 0.364964,
];
const GQA: &[f32] = &[
    0.820588, -0.699492, 0.770546, -0.651388, 0.822315, -0.68899, 0.797994, -0.666127, 0.799117, -0.65228, 0.800075,
    -0.667475,
];
const GQA_GATE: &[f32] = &[
    0.149748, -0.393473, 0.133479, -0.366561, 0.187009, -0.448004, 0.165814, -0.387546, 0.116735, -0.43087, 0.201145,
    -0.398058,
];
const GQA_MASKS: &[f32] = &[
    -0.823786, -0.394456, -0.523592, -0.206546, -0.541781, -0.216356, -0.660351, -0.277928, -0.660351, -0.277928,
    -0.660351, -0.277928,
];
const GQA_SCORES: &[f32] =
    &[0.190688, -0.20006, 0.18172, -0.205804, 0.469, 0.111445, 0.469, 0.111445, 0.469, 0.111445, 0.469, 0.111445];
const GQA_SCORES_SCORES: &[f32] = &[
    0.386789, 0.312023, 0.0, 0.301188, 0.368609, 0.325531, 0.0, 0.30586, 0.0, 0.0, 0.0, 0.0, 0.25923, 0.35481, 0.0,
    0.38596, 0.306488, 0.337331, 0.0, 0.356181, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
];
