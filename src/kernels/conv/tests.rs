use super::taps::Taps;
use super::wide::Wide;
use super::*;
use crate::kernels::pool::Pool2d;
use crate::kernels::reference;
use crate::kernels::reference::testing::{Draws, assert_close};
use crate::kernels::simd::testing::on_each;
use crate::kernels::tile::Sizes;

/// All passes of one geometry against the reference, with each instruction set.
fn agrees(g: &Conv2d, draws: &mut Draws, workspace: &Workspace) {
    let (x, kernel) = (draws.floats(g.input_len()), draws.floats(g.kernel_len()));
    let (bias, dy) = (draws.floats(g.out_c), draws.floats(g.output_len()));
    let bias = (draws.below(2) == 0).then_some(bias.as_slice());

    let want_y = reference::conv_forward(g, &x, &kernel, bias);
    let want_dx = reference::conv_backward_data(g, &dy, &kernel);
    let start = draws.floats(kernel.len());
    let mut want_dkernel = reference::conv_backward_weights(g, &x, &dy);
    reduce::add(&mut want_dkernel, &start);
    let sum_of = |o| 1.0 + dy.iter().skip(o).step_by(g.out_c).sum::<f32>();
    let want_dbias: Vec<f32> = (0..g.out_c).map(sum_of).collect();
    let relu = draws.below(2) == 0;
    // A normalization and a sum behind the convolution.
    let (scale, old) = (draws.floats(g.out_c), draws.floats(g.output_len()));
    let (scaled, sum) = (draws.below(2) == 0, draws.below(2) == 0);
    let most = (relu && draws.below(2) == 0).then_some(0.5);
    let window = if draws.below(4) > 0 { [2, 2] } else { [1 + draws.below(3), 1 + draws.below(3)] };
    let pool = Pool2d::new([g.batch, g.out_h, g.out_w, g.out_c], window, window, Padding::Valid).ok();
    let want_fused = reference::conv_forward(g, &x, &kernel, None);
    let size = want_fused.iter().fold(1f32, |most, y| most.max(y.abs()));
    let want_fused: Vec<f32> = (want_fused.iter().enumerate())
        .map(|(i, y)| {
            let (channel, factor) = (i % g.out_c, if scaled { scale[i % g.out_c] } else { 1.0 });
            let y = y * factor + bias.map_or(0.0, |bias| bias[channel]) + if sum { old[i] } else { 0.0 };
            if relu { y.clamp(0.0, most.unwrap_or(f32::INFINITY)) } else { y }
        })
        .collect();
    let want_y: Vec<f32> = want_y.iter().map(|y| if relu { y.max(0.0) } else { *y }).collect();
    on_each(|| {
        let mut y = vec![f32::NAN; dy.len()];
        let epilogue = Epilogue { bias, relu, ..Epilogue::default() };
        g.forward(&x, &kernel, epilogue, &mut y, workspace);
        assert_close(&y, &want_y, 1e-5);
        if let Some(packed) = g.forward_layout().map(|layout| Packed::new(layout, &kernel)) {
            let mut again = vec![f32::NAN; dy.len()];
            g.forward_packed(&x, &kernel, Some(&packed), epilogue, &mut again, workspace);
            assert!(again == y, "a kernel that is kept changes nothing for {g:?}");
        }
        let fused = Epilogue { scale: scaled.then_some(&scale[..]), sum, most, ..epilogue };
        let mut y = if sum { old.clone() } else { vec![f32::NAN; dy.len()] };
        g.forward(&x, &kernel, fused, &mut y, workspace);
        // A limit hides how large the sums were whose errors these are.
        assert!(y.iter().zip(&want_fused).all(|(y, want)| (y - want).abs() <= 1e-5 * size), "fused, for {g:?}");
        if let Some(pool) = pool {
            let plain = Epilogue { sum: false, ..fused };
            let (mut all, mut want) = (vec![f32::NAN; dy.len()], vec![f32::NAN; pool.output_len()]);
            g.forward(&x, &kernel, plain, &mut all, workspace);
            pool.max_forward(&all, &mut want);
            let mut y = vec![f32::NAN; want.len()];
            g.forward(&x, &kernel, Epilogue { pool: Some(pool), ..plain }, &mut y, workspace);
            assert!(y == want, "a pooling behind it changes the values for {g:?}");
        }
        let mut gated = vec![f32::NAN; dy.len()];
        g.forward(&x, &kernel, Epilogue { gate: Some(&dy), ..Epilogue::default() }, &mut gated, workspace);
        assert!(gated.iter().zip(&dy).all(|(y, gate)| y.is_finite() && (*y == 0.0 || *gate > 0.0)));
        let mut dx = vec![f32::NAN; x.len()];
        g.backward_data(&dy, &kernel, &mut dx, workspace);
        assert_close(&dx, &want_dx, 1e-5);
        let mut gated = vec![f32::NAN; x.len()];
        g.backward_data_gated(&dy, &kernel, Some(&x), &mut gated, workspace);
        let open: Vec<f32> = dx.iter().zip(&x).map(|(dx, x)| if *x > 0.0 { *dx } else { 0.0 }).collect();
        assert!(gated == open, "a gate changes the values that it leaves for {g:?}");
        let mut dkernel = start.clone();
        g.backward_weights(&x, &dy, &mut dkernel, workspace);
        assert_close(&dkernel, &want_dkernel, 1e-5);
        let mut both = (start.clone(), vec![1.0; g.out_c]);
        g.backward_weights_and_bias(&x, &dy, &mut both.0, &mut both.1, workspace);
        assert!(both.0 == dkernel, "the sums of the bias change nothing for {g:?}");
        assert_close(&both.1, &want_dbias, 1e-5);
        let (mut dx, mut dkernel, mut dbias) = (vec![f32::NAN; x.len()], start.clone(), vec![1.0; g.out_c]);
        let place = bias.is_some().then_some(dbias.as_mut_slice());
        g.backward(&x, &dy, &kernel, &mut dx, &mut dkernel, place, workspace);
        assert_close(&dx, &want_dx, 1e-5);
        assert_close(&dkernel, &want_dkernel, 1e-5);
        if bias.is_some() {
            assert_close(&dbias, &want_dbias, 1e-5);
        }
    });

    let mut dbias = vec![1.0; g.out_c];
    g.backward_bias(&dy, &mut dbias);
    assert_close(&dbias, &want_dbias, 1e-5);
}

#[test]
fn agrees_with_the_reference_on_random_geometries() {
    let mut draws = Draws::new("conv");
    let workspace = Workspace::new();
    let mut cases = 0;
    while cases < 2500 {
        let kind = draws.below(8);
        let most = [3, 9][draws.below(2)];
        let groups = match kind {
            0 => 1 + draws.below(3),
            6.. => [1 + draws.below(5), 1 + draws.below(40)][draws.below(2)],
            _ => 1,
        };
        let size = |draws: &mut Draws, n: usize| 1 + draws.below(n);
        let [in_h, in_w] = [0; 2].map(|_| size(&mut draws, 12));
        // A channel each, with up to three outputs.
        let (in_c, out_c) = match kind {
            6.. => (groups, groups * size(&mut draws, 3)),
            _ => (groups * size(&mut draws, most), groups * size(&mut draws, most)),
        };
        let kernel = match kind {
            1 => [1, 1],
            2 => [in_h, in_w],
            _ => [0; 2].map(|_| size(&mut draws, 5)),
        };
        let strides = if kind < 4 { [1, 1] } else { [0; 2].map(|_| size(&mut draws, 3)) };
        let dilation = if kind == 3 || kind > 4 { [0; 2].map(|_| size(&mut draws, 3)) } else { [1, 1] };
        let padding = [Padding::Valid, Padding::Same][draws.below(2)];
        let input = [draws.below(4), in_h, in_w, in_c];
        let Ok(g) = Conv2d::new(input, kernel, out_c, strides, dilation, padding, groups) else { continue };
        agrees(&g, &mut draws, &workspace);
        cases += 1;
    }
}

#[test]
fn any_padding_agrees_with_the_reference() {
    let mut draws = Draws::new("conv padding");
    let workspace = Workspace::new();
    for case in 0..500 {
        // Windows that hang over, lie wholly in the padding or leave part of the input unseen.
        let [rows, cols] =
            [0; 2].map(|_| Window { out: draws.below(8), before: draws.below(8), after: draws.below(3) });
        let [h, w, kh, kw, c] = [0; 5].map(|_| 1 + draws.below(5));
        let dilation = if case % 2 == 0 { [1, 1] } else { [2, 3] };
        let strides = [1 + draws.below(2), 1 + draws.below(3)];
        let g = Conv2d::with_windows([2, h, w, c], [kh, kw], 3, strides, dilation, [rows, cols], 1).unwrap();
        agrees(&g, &mut draws, &workspace);
    }
}

#[test]
fn phases_agree_with_the_reference() {
    let mut draws = Draws::new("conv phases");
    let workspace = Workspace::new();
    let (mut cases, mut others) = (0, 0);
    while cases < 500 {
        let size = |draws: &mut Draws, n: usize| 1 + draws.below(n);
        let [in_h, in_w] = [0; 2].map(|_| size(&mut draws, 16));
        let groups = size(&mut draws, 2);
        let (in_c, out_c) = (groups * (7 + size(&mut draws, 14)), groups * size(&mut draws, 20));
        let [kernel, strides] = [6, 4].map(|n| [0; 2].map(|_| size(&mut draws, n)));
        let dilation = if draws.below(2) == 0 { [1, 1] } else { [0; 2].map(|_| size(&mut draws, 4)) };
        let windows = [0; 2].map(|_| Window { out: draws.below(9), before: draws.below(6), after: 0 });
        let input = [draws.below(3), in_h, in_w, in_c];
        let g = match draws.below(2) {
            0 => Conv2d::with_windows(input, kernel, out_c, strides, dilation, windows, groups),
            _ => Conv2d::new(input, kernel, out_c, strides, dilation, Padding::Same, groups),
        };
        let Ok(g) = g else { continue };
        match plan::data(&g, Isa::get()) {
            plan::Data::Phases(_) => cases += 1,
            _ => {
                others += 1;
                continue;
            }
        }
        agrees(&g, &mut draws, &workspace);
    }
    assert!(others < 1000, "{others} of {cases} geometries take another way");
}

#[test]
fn three_by_three_channel_by_channel_agrees_with_the_reference() {
    let mut draws = Draws::new("conv three");
    let workspace = Workspace::new();
    for case in 0..1000 {
        let window = |draws: &mut Draws| Window { out: draws.below(10), before: draws.below(5), after: 0 };
        let windows = [0; 2].map(|_| window(&mut draws));
        // Some lines are longer than a block of columns, some channels more than a few vectors.
        let channels = 2 + draws.below([8, 40, 70][case % 3]);
        let [in_h, in_w] = [1 + draws.below(9), 1 + draws.below(if channels > 40 { 70 } else { 9 })];
        let input = [draws.below(3), in_h, in_w, channels];
        let g = match draws.below(2) {
            0 => Conv2d::with_windows(input, [3, 3], channels, [1, 1], [1, 1], windows, channels),
            _ => Conv2d::new(input, [3, 3], channels, [1, 1], [1, 1], Padding::Same, channels),
        };
        let g = g.unwrap();
        assert!(g.plan().to_string().starts_with("forward: channel by channel, 3 x 3;"));
        agrees(&g, &mut draws, &workspace);
        if g.output_len() > 0 && g.input_len() > 0 {
            all_gradients_at_once_agree(&g, &mut draws, &workspace);
        }
    }
}

/// What is done for large tensors only.
fn all_gradients_at_once_agree(g: &Conv2d, draws: &mut Draws, workspace: &Workspace) {
    let (x, kernel, dy) = (draws.floats(g.input_len()), draws.floats(g.kernel_len()), draws.floats(g.output_len()));
    let want_dx = reference::conv_backward_data(g, &dy, &kernel);
    let want_dkernel = reference::conv_backward_weights(g, &x, &dy);
    let want_dbias: Vec<f32> = (0..g.out_c).map(|o| dy.iter().skip(o).step_by(g.out_c).sum()).collect();
    on_each(|| {
        for with_bias in [true, false] {
            let (mut dx, mut dkernel) = (vec![f32::NAN; x.len()], vec![0.0; kernel.len()]);
            let mut dbias = vec![0.0; if with_bias { g.out_c } else { 0 }];
            g.depthwise_backward(Isa::get(), &x, &dy, &kernel, &mut dx, &mut dkernel, &mut dbias, workspace);
            assert_close(&dx, &want_dx, 1e-5);
            assert_close(&dkernel, &want_dkernel, 1e-5);
            assert_close(&dbias, &want_dbias[..dbias.len()], 1e-5);
        }
    });
}

/// What the sizes of the kernel decide, for kernels of all sizes: pieces of columns, and pieces of rows of the weights'
/// gradient.
#[test]
fn pieces_of_large_kernels_agree_with_the_reference() {
    let mut draws = Draws::new("conv pieces");
    let workspace = Workspace::new();
    let mut cases = 0;
    while cases < 1000 {
        let size = |draws: &mut Draws, n: usize| 1 + draws.below(n);
        // Now and then so many columns, so far apart, that the left operand of the weights' gradient is copied.
        let wide = draws.below(20) == 0;
        let groups = if wide { 1 } else { size(&mut draws, 2) };
        let most = if wide { [40, 160] } else { [9, 70] };
        let [in_c, out_c] = most.map(|most| groups * (size(&mut draws, most) + if wide { most } else { 0 }));
        let [in_h, in_w] = [0; 2].map(|_| size(&mut draws, if wide { 5 } else { 15 }));
        let kernel = if draws.below(5) == 0 { [1, 1] } else { [0; 2].map(|_| size(&mut draws, 3)) };
        let strides = if wide { [1, 3] } else { [0; 2].map(|_| size(&mut draws, 2)) };
        let dilation = [0; 2].map(|_| size(&mut draws, 2));
        let padding = [Padding::Valid, Padding::Same][draws.below(2)];
        let input = [size(&mut draws, 3), in_h, in_w, in_c];
        let Ok(g) = Conv2d::new(input, kernel, out_c, strides, dilation, padding, groups) else { continue };
        cases += 1;

        let (x, kernel) = (draws.floats(g.input_len()), draws.floats(g.kernel_len()));
        let (bias, dy) = (draws.floats(g.out_c), draws.floats(g.output_len()));
        let want = reference::conv_forward(&g, &x, &kernel, Some(&bias));
        let want_dkernel = reference::conv_backward_weights(&g, &x, &dy);
        let (images, rows) = (size(&mut draws, 3), size(&mut draws, g.patch()));
        let lines = size(&mut draws, g.batch * g.out_h);
        let want_dbias: Vec<f32> = (0..g.out_c).map(|o| dy.iter().skip(o).step_by(g.out_c).sum()).collect();
        on_each(|| {
            let (isa, epilogue) = (Isa::get(), Epilogue::from(Some(bias.as_slice())));
            let (mut y, pieces) = (vec![f32::NAN; dy.len()], direct::Pieces::Panels(images));
            let values = Kernel { values: &kernel, turned: false, packed: None };
            g.convolve_in(pieces, isa, &x, values, epilogue, &mut y, &workspace);
            assert_close(&y, &want, 1e-5);
            let mut dkernel = vec![0.0; kernel.len()];
            g.sum_weights_in(Shares::Rows(rows), isa, &x, &dy, &mut dkernel, &mut [], &workspace);
            assert_close(&dkernel, &want_dkernel, 1e-5);
            for shares in [Shares::Rows(rows), Shares::Lines(lines)] {
                let (mut dkernel, mut dbias) = (vec![1.0; kernel.len()], vec![0.0; g.out_c]);
                let place = if let Shares::Rows(_) = shares { &mut [][..] } else { &mut dbias };
                Taps::new(&g, isa).sum(shares, &x, &dy, &mut dkernel, place, &workspace);
                dkernel.iter_mut().for_each(|sum| *sum -= 1.0);
                assert_close(&dkernel, &want_dkernel, 1e-5);
                if let Shares::Lines(_) = shares {
                    assert_close(&dbias, &want_dbias, 1e-5);
                }
            }
        });
        if let Some(turned) = g.turned() {
            let want = reference::conv_backward_data(&g, &dy, &kernel);
            on_each(|| {
                let (mut dx, pieces) = (vec![f32::NAN; x.len()], direct::Pieces::Panels(images));
                let values = Kernel { values: &kernel, turned: true, packed: None };
                turned.convolve_in(pieces, Isa::get(), &dy, values, Epilogue::default(), &mut dx, &workspace);
                assert_close(&dx, &want, 1e-5);
            });
        }
    }
}

/// Several tiles and pieces; all tile and run widths.
fn larger_geometries() -> Vec<Conv2d> {
    [
        ([16, 28, 28, 1], [5, 5], 6, [1, 1], Padding::Same, 1),
        ([16, 14, 14, 6], [5, 5], 16, [1, 1], Padding::Valid, 1),
        ([9, 33, 29, 3], [3, 3], 20, [2, 2], Padding::Same, 1),
        ([2, 13, 17, 24], [3, 3], 32, [1, 1], Padding::Same, 2),
        ([20, 9, 9, 40], [1, 1], 50, [1, 1], Padding::Valid, 1),
        ([180, 4, 4, 12], [4, 4], 60, [1, 1], Padding::Valid, 1),
        ([1, 40, 40, 8], [3, 3], 16, [1, 1], Padding::Same, 1),
        ([2, 180, 190, 1], [3, 3], 4, [1, 1], Padding::Same, 1),
        ([3, 6, 7, 100], [3, 3], 320, [1, 1], Padding::Same, 1),
        ([2, 6, 7, 200], [3, 3], 320, [2, 2], Padding::Same, 2),
        ([3, 3, 4, 530], [1, 1], 520, [1, 1], Padding::Valid, 1),
        ([3, 31, 29, 16], [5, 4], 24, [3, 2], Padding::Same, 1),
        ([1, 60, 61, 24], [3, 3], 32, [2, 2], Padding::Same, 1),
        ([5, 30, 31, 40], [3, 3], 40, [1, 1], Padding::Same, 40),
        ([4, 7, 7, 170], [3, 3], 180, [1, 1], Padding::Same, 1),
        ([5, 30, 31, 40], [3, 3], 80, [2, 2], Padding::Same, 40),
        ([2, 90, 91, 70], [3, 3], 70, [1, 1], Padding::Same, 70),
        ([2, 20, 21, 40], [3, 3], 48, [1, 1], Padding::Same, 1),
        ([2, 31, 30, 64], [3, 2], 160, [2, 2], Padding::Same, 2),
        ([3, 14, 15, 64], [3, 3], 160, [1, 1], Padding::Same, 1),
        ([3, 20, 21, 40], [3, 3], 48, [1, 1], Padding::Same, 1),
    ]
    .map(|(input, kernel, out_c, strides, padding, groups)| {
        Conv2d::new(input, kernel, out_c, strides, [1, 1], padding, groups).unwrap()
    })
    .to_vec()
}

#[test]
fn larger_ones_agree_with_the_reference() {
    let mut draws = Draws::new("conv large");
    let workspace = Workspace::new();
    for g in larger_geometries() {
        agrees(&g, &mut draws, &workspace);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let mut draws = Draws::new("conv threads");
    for g in larger_geometries() {
        assert!(pieces(4.0 * g.flops()) > 1, "{g:?}");
        let (x, kernel, dy) = (draws.floats(g.input_len()), draws.floats(g.kernel_len()), draws.floats(g.output_len()));
        let run = |threads| {
            let workspace = Workspace::new();
            let [mut y, mut dx, mut dkernel] = [dy.len(), x.len(), kernel.len()].map(|n| vec![0.0; n]);
            let [mut all_dx, mut all_dkernel, mut dbias] = [x.len(), kernel.len(), g.out_c].map(|n| vec![0.0; n]);
            threads::with_num_threads(threads, || {
                g.forward(&x, &kernel, None, &mut y, &workspace);
                g.backward_data(&dy, &kernel, &mut dx, &workspace);
                g.backward_weights(&x, &dy, &mut dkernel, &workspace);
                g.backward(&x, &dy, &kernel, &mut all_dx, &mut all_dkernel, Some(&mut dbias), &workspace);
            });
            [y, dx, dkernel, all_dx, all_dkernel, dbias]
        };
        let one = run(1);
        assert!(one == run(2) && one == run(5), "{g:?}");
    }
}

#[test]
fn the_course_example() {
    let x = [1., 2., 3., 0., 0., 1., 2., 3., 3., 0., 1., 2., 2., 3., 0., 1.];
    let kernel = [2., 0., 1., 0., 1., 2., 1., 0., 2.];
    let run = |padding| {
        let g = Conv2d::new([1, 4, 4, 1], [3, 3], 1, [1, 1], [1, 1], padding, 1).unwrap();
        let mut y = vec![0.0; g.output_len()];
        g.forward(&x, &kernel, None, &mut y, &Workspace::new());
        y
    };
    assert_eq!(run(Padding::Valid), [15., 16., 6., 15.]);
    assert_eq!(run(Padding::Same), [7., 12., 10., 2., 4., 15., 16., 10., 10., 6., 15., 6., 8., 10., 4., 3.]);
}

#[test]
fn a_nan_reaches_only_the_outputs_that_see_it() {
    // Enough channels that output columns are not computed side by side.
    let g = Conv2d::new([1, 1, 12, 1], [1, 3], 16, [1, 1], [1, 1], Padding::Valid, 1).unwrap();
    let mut x = [1.0; 12];
    x[6] = f32::NAN;
    let mut y = [0.0; 160];
    g.forward(&x, &[1.0; 48], None, &mut y, &Workspace::new());
    let nans: Vec<usize> = (0..10).filter(|&i| y[i * 16].is_nan()).collect();
    assert_eq!(nans, [4, 5, 6]);
}

#[test]
fn narrow_convolutions_are_widened() {
    let [lenet1, lenet2, ..] = larger_geometries()[..] else { panic!() };
    for isa in Isa::all() {
        let width = |g: &Conv2d| Wide::of(g, isa).map(|wide| wide.columns);
        // 6 channels of two columns fill a vector of 16; with vectors of 8 nothing is gained.
        let want = (Sizes::of(isa).lanes == 16).then_some(2);
        assert_eq!((width(&lenet1), width(&lenet2)), (want, None));
    }
}

#[test]
fn geometries_that_make_no_sense_are_errors() {
    let make = |input, kernel, groups| Conv2d::new(input, kernel, 4, [1, 1], [1, 1], Padding::Valid, groups);
    assert!(make([1, 4, 4, 4], [5, 3], 1).unwrap_err().to_string().contains("larger than the input"));
    assert!(make([1, 4, 4, 3], [3, 3], 2).unwrap_err().to_string().contains("groups"));
    assert!(make([1, 4, 4, 4], [3, 3], 0).is_err());
    assert!(make([1, 4, 4, 0], [3, 3], 1).is_err());
    assert!(make([usize::MAX, 4, 4, 4], [3, 3], 1).unwrap_err().to_string().contains("too large"));
}

#[test]
fn winograds_way_agrees_with_the_reference() {
    let mut draws = Draws::new("winograd");
    let workspace = Workspace::new();
    for case in 0..40 {
        let [h, w] = [0; 2].map(|_| 3 + draws.below(24));
        let [in_c, out_c] = [0; 2].map(|_| 16 + draws.below(56));
        let window = |n: usize, draws: &mut Draws| match case % 4 {
            // Windows that hang over, or lie wholly in the padding.
            0 => Window { out: 1 + draws.below(n + 6), before: draws.below(8), after: 0 },
            1 => Window { out: n - 2, before: 0, after: 0 },
            _ => Window { out: n, before: 1, after: 1 },
        };
        let windows = [window(h, &mut draws), window(w, &mut draws)];
        let least = 400.max((1 << 23) / (18 * in_c * out_c) + 1);
        let batch = least.div_ceil(windows[0].out * windows[1].out) + draws.below(2);
        let g = Conv2d::with_windows([batch, h, w, in_c], [3, 3], out_c, [1, 1], [1, 1], windows, 1).unwrap();
        let (x, kernel) = (draws.floats(g.input_len()), draws.floats(g.kernel_len()));
        let (scale, bias, old) = (draws.floats(out_c), draws.floats(out_c), draws.floats(g.output_len()));
        let (scaled, sum, relu) = (draws.below(2) == 0, draws.below(2) == 0, draws.below(2) == 0);
        let most = (relu && draws.below(2) == 0).then_some(0.5);
        let scale_of = scaled.then_some(&scale[..]);
        let epilogue = Epilogue { scale: scale_of, bias: Some(&bias), sum, relu, most, ..Epilogue::default() };
        let pool = Pool2d::new([batch, g.out_h, g.out_w, out_c], [2, 2], [2, 2], Padding::Valid).ok();
        let want = reference::conv_forward(&g, &x, &kernel, None);
        // The bound on the error, relative to the largest sum.
        let largest = |values: &[f32]| values.iter().fold(1f32, |most, value| most.max(value.abs()));
        let size = largest(&want);
        let dy = draws.floats(g.output_len());
        let want_dx = reference::conv_backward_data(&g, &dy, &kernel);
        let dx_size = largest(&want_dx);
        let start = draws.floats(kernel.len());
        let mut want_dkernel = reference::conv_backward_weights(&g, &x, &dy);
        let dkernel_size = largest(&want_dkernel);
        reduce::add(&mut want_dkernel, &start);
        let want_dbias: Vec<f32> = (0..out_c).map(|o| 1.0 + dy.iter().skip(o).step_by(out_c).sum::<f32>()).collect();
        let finish = |(i, y): (usize, &f32)| {
            let y = y * if scaled { scale[i % out_c] } else { 1.0 } + bias[i % out_c] + if sum { old[i] } else { 0.0 };
            if relu { y.clamp(0.0, most.unwrap_or(f32::INFINITY)) } else { y }
        };
        on_each(|| {
            // Kernels of both sizes, which are worked on differently.
            let packed = Packed::new(g.winograd_layout().unwrap(), &kernel);
            let mut y = if sum { old.clone() } else { vec![f32::NAN; g.output_len()] };
            g.forward_packed(&x, &kernel, Some(&packed), epilogue, &mut y, &workspace);
            for (got, want) in y.iter().zip(want.iter().enumerate().map(finish)) {
                assert!((got - want).abs() <= 1e-5 * size, "{got} where {want} was expected for {g:?}");
            }
            if let Some(turned) = g.turned().filter(Conv2d::is_winograd) {
                let packed = Packed::new(g.turned_kernel(true), &kernel);
                let mut dx = vec![f32::NAN; x.len()];
                let epilogue = Epilogue { gate: Some(&x), ..Epilogue::default() };
                turned.forward_packed(&dy, &kernel, Some(&packed), epilogue, &mut dx, &workspace);
                let want = want_dx.iter().zip(&x).map(|(dx, x)| if *x > 0.0 { *dx } else { 0.0 });
                for (got, want) in dx.iter().zip(want) {
                    assert!((got - want).abs() <= 1e-5 * dx_size, "{got} where {want} was expected for {g:?}");
                }
            }
            let (mut dkernel, mut dbias) = (start.clone(), vec![1.0; out_c]);
            g.winograd_weights(Isa::get(), &x, &dy, &mut dkernel, &mut dbias, &workspace);
            for (got, want) in dkernel.iter().zip(&want_dkernel) {
                assert!((got - want).abs() <= 1e-5 * dkernel_size, "{got} where {want} was expected for {g:?}");
            }
            assert_close(&dbias, &want_dbias, 1e-5);
            if let Some(pool) = pool.filter(|_| !sum) {
                let (mut want, mut pooled) = (vec![f32::NAN; pool.output_len()], vec![f32::NAN; pool.output_len()]);
                pool.max_forward(&y, &mut want);
                let epilogue = Epilogue { pool: Some(pool), ..epilogue };
                g.forward_packed(&x, &kernel, Some(&packed), epilogue, &mut pooled, &workspace);
                assert!(pooled == want, "a pooling behind it changes the values for {g:?}");
            }
        });
    }
}
