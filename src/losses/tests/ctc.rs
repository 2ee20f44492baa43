//! Connectionist temporal classification: the loss and its decoders.

use super::*;

/// Logits of 4 samples, 7 steps and 4 classes.
const CTC_LOGITS: Array = (
    &[4, 7, 4],
    &[
        -1.6, -2.65, -0.5, 0.84, 2.27, 0.22, -1.11, -1.57, 1.5, 3.27, 0.55, -2.47, -1.92, 3.2, 0.41, -3.46, -0.17,
        -2.33, -1.26, -0.98, -1.43, 1.11, -0.13, -1.18, 0.82, 1.66, -3.29, -0.51, -1.96, -0.35, -2.58, 0.04, -0.08,
        -0.61, -2.1, -0.79, -2.18, -2.71, 0.45, -2.22, 2.34, 1.43, -4.0, 0.54, -2.2, 0.07, 0.09, -3.98, -0.47, -0.51,
        1.92, -2.36, 1.48, -2.2, -0.66, -1.68, 2.9, 1.14, 4.86, 1.28, 1.69, 1.68, -1.21, -0.14, 2.7, -0.79, 0.38,
        -0.04, 1.22, -0.73, -0.3, 0.48, 0.21, -1.73, 1.79, -2.6, -2.4, -2.56, 1.93, -0.72, -1.94, -2.27, 0.84, -2.11,
        -2.54, 1.23, -2.39, -0.64, -0.01, -0.89, -0.11, 2.68, -1.03, -2.52, -3.67, -0.41, -0.7, 0.53, -0.93, -0.96,
        -1.44, -1.04, 0.32, -0.76, 0.2, 3.8, 0.96, -3.15, 3.47, 0.7, -1.88, 1.81,
    ],
);

#[test]
fn ctc_is_that_of_pytorch_and_keras() {
    let y: Array = (&[4, 5], &[1., 2., 2., 0., 0., 3., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1., 1., 3., 2., 1.]);
    // PyTorch in 64 bits.
    check(
        CTC::new(),
        &y,
        &CTC_LOGITS,
        Some(&(&[4], &[1.0, 0.5, 2.0, 0.25])),
        10.464800655174255,
        &[
            -0.2069797,
            -0.02169712,
            0.04745275,
            0.1812241,
            0.002825161,
            -0.01406833,
            0.006705881,
            0.004537287,
            0.01660011,
            -0.02302621,
            0.005777657,
            0.0006484407,
            0.0003987468,
            0.2279174,
            -0.2286159,
            0.0002997034,
            -0.1113156,
            0.01520317,
            0.03746739,
            0.05864508,
            0.005749435,
            0.1701239,
            -0.1931012,
            0.01722785,
            -0.1691189,
            0.1609817,
            -0.0102433,
            0.01838051,
            -0.01047255,
            0.04489303,
            0.004827277,
            -0.03924775,
            -0.006923797,
            0.03324844,
            0.007493289,
            -0.03381793,
            -0.07644828,
            0.00447999,
            0.105596,
            -0.03362775,
            -0.03723541,
            0.03205653,
            0.0001405069,
            0.005038369,
            -0.1162856,
            0.05838568,
            0.05956515,
            -0.001665214,
            -0.1139449,
            0.009220377,
            0.1047332,
            -8.647867e-06,
            -0.01918784,
            0.00265997,
            0.01240767,
            0.004120202,
            -0.440963,
            0.010157,
            0.4191227,
            0.01168334,
            -0.2732926,
            0.2244515,
            0.01247417,
            0.03636693,
            -0.08100961,
            0.01277957,
            0.04117569,
            0.02705435,
            -0.22798,
            0.0387014,
            0.05949401,
            0.1297845,
            -0.4174763,
            0.01185898,
            0.400649,
            0.00496834,
            -0.4939876,
            0.005123398,
            0.4566046,
            0.03225967,
            -0.4732357,
            0.01924148,
            0.4314141,
            0.02258009,
            0.001183525,
            -0.01057475,
            0.001390345,
            0.008000882,
            -0.05825074,
            0.0009365018,
            0.0033166,
            0.05399764,
            0.01784594,
            -0.05607661,
            0.001413358,
            0.03681732,
            0.01034897,
            0.03344648,
            0.00829462,
            -0.05209007,
            0.006045462,
            0.009071588,
            -0.0246896,
            0.009572552,
            0.001475233,
            -0.002219081,
            0.0006887144,
            5.513412e-05,
            -0.006510151,
            -0.003175709,
            0.0002359824,
            0.009449878,
        ],
    );
    let p = tensor(&CTC_LOGITS);
    let each = CTC::new().call(&tensor(&y), &p).unwrap();
    for (got, want) in
        each.data().iter().zip([9.234271865913966, 9.555479808746691, 12.86273744088662, 8.486863874545847])
    {
        assert!((f64::from(*got) - want).abs() < 1e-6 * want, "{got} {want}");
    }
    // Lengths of one's own, and the last class as the blank (Keras' ops.ctc_loss).
    let two = Tensor::new([2, 7, 4], p.data()[..56].to_vec()).unwrap();
    let target = Tensor::new([2, 3], vec![0., 1., 0., 1., 0., 0.]).unwrap();
    let losses = ctc_loss(&target, &two, &[2, 1], &[5, 3], 3).unwrap();
    for (got, want) in losses.data().iter().zip([1.7336377, 3.4668565]) {
        assert!((got - want).abs() < 1e-6 * want, "{got} {want}");
    }
    let error =
        |y: &[f32]| message(CTC::new().call(&Tensor::new([1, 4], y.to_vec()).unwrap(), &Tensor::zeros([1, 5, 3])));
    assert!(error(&[1.0, 1.0, 1.0, 2.0]).contains("sample 0: its 4 labels need at least 6 steps, but it has 5"));
    assert!(error(&[1.0, 0.0, 2.0, 0.0]).contains("label 0 at position 1"));
    assert!(error(&[1.0, 3.0, 0.0, 0.0]).contains("label 3 at position 1"));
    assert!(error(&[1.5, 0.0, 0.0, 0.0]).contains("label 1.5 at position 0"));
    assert!(message(CTC::new().entries_shape(&[2, 3])).contains("found [2, 3]"));
    assert!(ctc_loss(&target, &two, &[2], &[5, 3], 3).is_err());
    assert!(ctc_loss(&target, &two, &[2, 1], &[5, 8], 3).is_err());
    assert!(ctc_loss(&target, &two, &[2, 1], &[5, 3], 4).is_err());
    assert_eq!(ctc_loss(&target, &two, &[0, 1], &[0, 3], 3).unwrap().data()[0], 0.0);
}

#[test]
fn ctc_decoders_refuse_what_are_no_logits() {
    let decode = |logits: [f32; 4], lengths: &[usize]| {
        let logits = Tensor::new([1, 2, 2], logits.to_vec()).unwrap();
        CtcDecoder::beam_search().decode(&logits, Some(lengths))
    };
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for wrong in [[0.0, 1.0, nan, 0.0], [0.0, 1.0, 0.0, nan], [0.0, 1.0, 0.0, inf], [0.0, 1.0, -inf, -inf]] {
        let error = decode(wrong, &[2]).unwrap_err().to_string();
        assert!(error.contains("step 1 of sample 0"), "{error}");
        // What lies behind the end does not count.
        assert_eq!(decode(wrong, &[1]).unwrap()[0][0].labels, [1]);
    }
    // A class that cannot be.
    assert_eq!(decode([-inf, 0.0, 0.0, -inf], &[2]).unwrap()[0][0].labels, [1]);
}

/// Keras 3.15.1 on PyTorch.
#[test]
fn ctc_decoders_find_keras_paths() {
    let (p, lengths) = (tensor(&CTC_LOGITS), [7, 5, 7, 3]);
    let paths = |decoder: CtcDecoder| decoder.decode(&p, Some(&lengths)).unwrap();
    let expect = |found: Vec<Vec<CtcPath>>, want: &[&[(&[usize], f32)]]| {
        assert_eq!(found.len(), want.len());
        for (found, want) in found.iter().zip(want) {
            assert_eq!(found.len(), want.len());
            for (path, (labels, score)) in found.iter().zip(*want) {
                assert_eq!(path.labels, *labels);
                assert!((path.score - score).abs() < 1e-5 * score.abs(), "{} {score}", path.score);
            }
        }
    };
    let scores = [-12.18, -2.84, -15.03, -3.5];
    let greedy = |decoder: CtcDecoder, labels: [&[usize]; 4]| {
        let want: Vec<_> = labels.into_iter().zip(scores).map(|one| [one]).collect();
        expect(paths(decoder), &want.iter().map(|one| &one[..]).collect::<Vec<_>>());
    };
    greedy(CtcDecoder::greedy(), [&[3, 1, 1], &[3, 2, 2], &[2, 2], &[1, 3]]);
    greedy(CtcDecoder::greedy().merge_repeated(false), [&[3, 1, 1, 1, 1], &[3, 2, 2], &[2, 2, 2, 2], &[1, 3, 3]]);
    greedy(CtcDecoder::greedy().mask_index(3), [&[0, 1, 0, 1], &[0, 2, 0, 2], &[2, 0, 2], &[1]]);
    let beams = CtcDecoder::beam_search;
    expect(
        paths(beams().top_paths(3)),
        &[
            &[(&[3, 1, 1], -1.5277196), (&[3, 1, 2, 1], -1.8967927), (&[3, 1, 3, 1], -2.1320426)],
            &[(&[3, 2, 1], -1.9081492), (&[1, 2, 1], -2.2147577), (&[3, 2, 2], -2.258213)],
            &[(&[2, 1, 2], -1.5844603), (&[2, 2], -1.6994888), (&[2, 3, 2], -2.0895038)],
            &[(&[1, 3], -0.3696228), (&[3], -2.135151), (&[1, 3, 1], -2.9710393)],
        ],
    );
    expect(
        paths(beams().beam_width(2).top_paths(2)),
        &[
            &[(&[3, 1, 1], -1.8508935), (&[3, 1, 3, 1], -2.6608937)],
            &[(&[3, 2, 2], -2.3892071), (&[3, 2, 1], -2.4074445)],
            &[(&[2, 1, 2], -1.9581429), (&[2, 2], -2.0851078)],
            &[(&[1, 3], -0.43059266), (&[3], -2.2771263)],
        ],
    );
    expect(
        paths(beams().beam_width(5).mask_index(3)),
        &[
            &[(&[0, 1, 0, 1], -1.8827068)],
            &[(&[1, 2, 0, 2], -2.511458)],
            &[(&[2, 0, 2], -1.290653)],
            &[(&[1], -0.8073842)],
        ],
    );
    // Two steps of two classes spell the label once, or nothing.
    let all = beams().top_paths(9).decode(&Tensor::zeros([1, 2, 2]), None).unwrap();
    assert_eq!(all[0].iter().map(|path| path.labels.len()).collect::<Vec<_>>(), [1, 0]);
    assert!(beams().top_paths(101).decode(&p, None).is_err());
    assert!(beams().mask_index(4).decode(&p, None).is_err());
    assert!(beams().decode(&p, Some(&[1, 2])).is_err());
    assert!(CtcDecoder::greedy().decode(&p, Some(&[8, 1, 1, 1])).is_err());
    assert!(CtcDecoder::greedy().decode(&Tensor::zeros([4, 7]), None).is_err());
}
