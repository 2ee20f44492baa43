//! Convolution by its definition.

use crate::kernels::conv::Conv2d;

/// Calls `visit(x index, kernel index, y index)` for each product of the convolution.
fn products(g: &Conv2d, mut visit: impl FnMut(usize, usize, usize)) {
    let (cin, cout) = (g.in_c / g.groups, g.out_c / g.groups);
    for b in 0..g.batch {
        for oy in 0..g.out_h {
            for ox in 0..g.out_w {
                for o in 0..g.out_c {
                    let group = o / cout;
                    for ky in 0..g.kernel_h {
                        for kx in 0..g.kernel_w {
                            let iy = (oy * g.stride_h + ky * g.dilation_h) as isize - g.pad_top as isize;
                            let ix = (ox * g.stride_w + kx * g.dilation_w) as isize - g.pad_left as isize;
                            if iy < 0 || iy >= g.in_h as isize || ix < 0 || ix >= g.in_w as isize {
                                continue;
                            }
                            for i in 0..cin {
                                let x = ((b * g.in_h + iy as usize) * g.in_w + ix as usize) * g.in_c + group * cin + i;
                                let k = ((ky * g.kernel_w + kx) * cin + i) * g.out_c + o;
                                let y = ((b * g.out_h + oy) * g.out_w + ox) * g.out_c + o;
                                visit(x, k, y);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `y = x * kernel + bias`.
pub fn conv_forward(g: &Conv2d, x: &[f32], kernel: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let mut y: Vec<f64> = (0..g.output_len()).map(|i| bias.map_or(0.0, |bias| f64::from(bias[i % g.out_c]))).collect();
    products(g, |xi, ki, yi| y[yi] += f64::from(x[xi]) * f64::from(kernel[ki]));
    y.iter().map(|v| *v as f32).collect()
}

/// The gradient by `x`.
pub fn conv_backward_data(g: &Conv2d, dy: &[f32], kernel: &[f32]) -> Vec<f32> {
    let mut dx = vec![0f64; g.input_len()];
    products(g, |xi, ki, yi| dx[xi] += f64::from(dy[yi]) * f64::from(kernel[ki]));
    dx.iter().map(|v| *v as f32).collect()
}

/// The gradient by `kernel`.
pub fn conv_backward_weights(g: &Conv2d, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut dkernel = vec![0f64; g.kernel_len()];
    products(g, |xi, ki, yi| dkernel[ki] += f64::from(dy[yi]) * f64::from(x[xi]));
    dkernel.iter().map(|v| *v as f32).collect()
}
