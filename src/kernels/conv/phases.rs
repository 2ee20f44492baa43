//! The gradient by the input of a convolution with strides.
//!
//! Positions of the input that are a stride apart see the same taps of the kernel, each at another output: such a
//! phase is a convolution of the gradient by the output, with stride 1 and a part of the turned kernel. Together the
//! phases multiply exactly what is needed, and each value is written once.

use super::direct::{Panel, Windows, turned_panels};
use super::lines::Lines;
use super::{Conv2d, pieces};
use crate::kernels::product::Panels;
use crate::kernels::simd::Isa;
use crate::kernels::tile::{End, Start};
use crate::runtime::threads;
use smallvec::SmallVec;

/// With larger strides there are too many phases of too little work each.
const MOST: usize = 16;

/// A phase along one axis.
#[derive(Clone, Debug)]
struct Axis {
    /// Its first position in the input, and how many there are, a stride apart.
    first: usize,
    len: usize,
    /// The taps it sees, the last one first; none, and the gradient is zero.
    taps: Vec<usize>,
    /// Outputs between two taps, and before the first one.
    dilation: usize,
    pad: usize,
}

/// The phases along an axis of `input` values, from the kernel's `size`, stride, dilation and padding; none if one of
/// them leaves out the first outputs, which no padding can say.
fn axis(input: usize, size: usize, stride: usize, dilation: usize, pad: usize) -> Option<Vec<Axis>> {
    let phase = |first: usize| {
        // Position `i` and tap `k` meet at the output `(i + pad - k * dilation) / stride`, if that is a whole number.
        let meets = |tap: &usize| (tap * dilation) % stride == (first + pad) % stride;
        let taps: Vec<usize> = (0..size).rev().filter(meets).collect();
        let pad = match taps.first() {
            Some(last) => (last * dilation).checked_sub(first + pad)? / stride,
            None => 0,
        };
        let dilation = match taps[..] {
            [last, next, ..] => (last - next) * dilation / stride,
            _ => 1,
        };
        Some(Axis { first, len: (input - first).div_ceil(stride), taps, dilation, pad })
    };
    (0..stride.min(input)).map(phase).collect()
}

/// A phase: the convolution that gives its gradients for one image, and where these are.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    conv: Conv2d,
    /// Its taps in the kernel, in the order of the convolution.
    taps: Vec<usize>,
    row: usize,
    col: usize,
}

impl Conv2d {
    /// The phases of the gradient by the input; none where another way is better.
    pub(super) fn phases(&self) -> Option<Vec<Phase>> {
        if !(2..=MOST).contains(&(self.stride_h * self.stride_w)) || self.direct().is_some() {
            return None;
        }
        let rows = axis(self.in_h, self.kernel_h, self.stride_h, self.dilation_h, self.pad_top)?;
        let cols = axis(self.in_w, self.kernel_w, self.stride_w, self.dilation_w, self.pad_left)?;
        let phase = |row: &Axis, col: &Axis| Phase {
            conv: Conv2d {
                batch: 1,
                in_h: self.out_h,
                in_w: self.out_w,
                in_c: self.out_c,
                kernel_h: row.taps.len(),
                kernel_w: col.taps.len(),
                out_h: row.len,
                out_w: col.len,
                out_c: self.in_c,
                stride_h: 1,
                stride_w: 1,
                dilation_h: row.dilation,
                dilation_w: col.dilation,
                pad_top: row.pad,
                pad_left: col.pad,
                groups: self.groups,
            },
            taps: row.taps.iter().flat_map(|ky| col.taps.iter().map(move |kx| ky * self.kernel_w + kx)).collect(),
            row: row.first,
            col: col.first,
        };
        Some(rows.iter().flat_map(|row| cols.iter().map(move |col| phase(row, col))).collect())
    }

    pub(super) fn backward_data_by_phases(
        &self,
        isa: Isa,
        dy: &[f32],
        kernel: &[f32],
        dx: &mut [f32],
        phases: &[Phase],
        end: End,
    ) {
        if dx.is_empty() || dy.is_empty() {
            return dx.fill(0.0);
        }
        let kernels: Vec<_> = phases.iter().map(|phase| self.phase_kernels(isa, kernel, phase)).collect();
        let (image, row) = (self.in_h * self.in_w * self.in_c, self.in_w * self.in_c);
        // Rows of one image, or whole images.
        let rows = (self.batch * self.in_h).div_ceil(pieces(self.flops()));
        let images = dx.chunks_mut(rows.div_ceil(self.in_h) * image).enumerate();
        let mut parts: Vec<_> = images
            .flat_map(|(i, dx)| {
                let first = i * rows.div_ceil(self.in_h);
                dx.chunks_mut(if rows < self.in_h { rows * row } else { image })
                    .enumerate()
                    .map(move |(j, dx)| if rows < self.in_h { (first, j * rows, dx) } else { (first + j, 0, dx) })
            })
            .collect();
        threads::for_each(&mut parts, |_, (image, first, dx)| {
            let each = self.out_h * self.out_w * self.out_c;
            let end = end.from(*image * self.in_h * row + *first * row);
            self.phase_rows(isa, &dy[*image * each..][..each], &kernels, phases, *first, dx, end);
        });
    }

    /// The parts of the kernel that a phase sees, for each group.
    fn phase_kernels(&self, isa: Isa, kernel: &[f32], phase: &Phase) -> SmallVec<[Panels<'static>; 1]> {
        let (in_c, depth) = (self.in_c / self.groups, self.out_c / self.groups);
        let panels = |group: usize| {
            let taps = phase.taps.iter().copied();
            turned_panels(isa, kernel, taps, [in_c, self.out_c], group * depth..(group + 1) * depth, 0..in_c)
        };
        (0..self.groups).map(panels).collect()
    }

    /// The rows of an image's gradient from `first` on; `end` begins where `dx` does.
    #[allow(clippy::too_many_arguments)]
    fn phase_rows(
        &self,
        isa: Isa,
        dy: &[f32],
        kernels: &[SmallVec<[Panels<'static>; 1]>],
        phases: &[Phase],
        first: usize,
        dx: &mut [f32],
        end: End,
    ) {
        let (row, last) = (self.in_w * self.in_c, first + dx.len() / (self.in_w * self.in_c));
        let (depth, width) = (self.out_c / self.groups, self.in_c / self.groups);
        if phases.iter().any(|phase| phase.taps.is_empty()) {
            dx.fill(0.0);
        }
        for (phase, kernels) in phases.iter().zip(kernels).filter(|(phase, _)| !phase.taps.is_empty()) {
            let g = &phase.conv;
            let line = |row: usize| row.saturating_sub(phase.row).div_ceil(self.stride_h).min(g.out_h);
            let panels: Vec<Panel> = (kernels.iter().enumerate())
                .flat_map(|(group, copy)| copy.of(0..g.patch()).map(move |(col, right)| (group, col, right)))
                .map(|(group, col, right)| Panel {
                    from: group * depth,
                    to: group * width + col,
                    right,
                    start: Start::Zero,
                })
                .collect();
            let mut lines = Lines::of(g, dy, usize::MAX, 1);
            let (segments, run) = g.segments(lines.row_len());
            for at in lines.blocks(line(first)..line(last)) {
                let block = lines.load(isa, at.clone());
                let windows = Windows {
                    data: block.data,
                    starts: &block.starts,
                    len: g.out_w,
                    step: g.in_c,
                    segments: &segments,
                    run,
                };
                let to = (phase.row + at.start * self.stride_h - first) * row + phase.col * self.in_c;
                let (step, apart) = (self.stride_w * self.in_c, self.stride_h * row);
                windows.compute_apart(isa, &panels, end.from(to), &mut dx[to..], step, apart);
            }
        }
    }
}
