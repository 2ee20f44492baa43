//! Which path each pass takes: decided here and nowhere else.

use super::direct::Pieces;
use super::phases::Phase;
use super::taps::Taps;
use super::wide::Wide;
use super::{Conv2d, Shares, pair};
use crate::kernels::packed::Layout;
use crate::kernels::simd::Isa;
use crate::kernels::tile::Sizes;
use std::fmt;

/// How a convolution is computed; see [`Conv2d::plan`]. It is for people to read.
///
/// ```
/// use cornu::{Padding, kernels::conv::Conv2d};
/// let g = Conv2d::new([8, 56, 56, 128], [3, 3], 128, [1, 1], [1, 1], Padding::Same, 128)?;
/// assert!(g.plan().to_string().starts_with("forward: channel by channel"));
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    forward: String,
    data: String,
    weights: String,
}

/// The forward pass.
pub(super) enum Forward<'a> {
    /// No channel sees another: products would have one row.
    Depthwise,
    /// Few output channels: several columns at once fill a vector.
    Wide(Wide<'a>),
    /// Winograd's way, with a kernel that is turned for this pass alone.
    Winograd(Layout),
    /// A matrix product.
    Product,
}

pub(super) fn forward(g: &Conv2d, isa: Isa) -> Forward<'_> {
    match Wide::of(g, isa) {
        _ if g.is_depthwise() => Forward::Depthwise,
        Some(wide) => Forward::Wide(wide),
        None if g.is_winograd_at_once() => Forward::Winograd(g.turned_kernel(false)),
        None => Forward::Product,
    }
}

/// The gradient by the input.
pub(super) enum Data<'a> {
    /// As the forward pass.
    Depthwise,
    /// A forward pass of another convolution.
    Turned(Conv2d),
    /// That in Winograd's way.
    Winograd(Conv2d, Layout),
    /// Several such, with strides.
    Phases(Vec<Phase>),
    /// Products that are added to where they belong: where that convolution would have few output channels.
    Patches,
    /// As the forward pass, and these products.
    WidePatches(Wide<'a>),
}

pub(super) fn data(g: &Conv2d, isa: Isa) -> Data<'_> {
    // Channels that fill half a vector of those tiles.
    let enough = g.in_c / g.groups >= 8;
    match g.turned() {
        _ if g.is_depthwise() => Data::Depthwise,
        Some(turned) if turned.is_winograd_at_once() => Data::Winograd(turned, g.turned_kernel(true)),
        // Patches that do not overlap are the gradient itself.
        Some(turned) if g.pointwise() || g.direct().is_none() && enough => Data::Turned(turned),
        _ => match g.phases() {
            Some(phases) if enough => Data::Phases(phases),
            _ => Wide::of(g, isa).map_or(Data::Patches, Data::WidePatches),
        },
    }
}

/// The gradient by the kernel.
pub(super) enum Weights<'a> {
    /// As the forward pass.
    Depthwise,
    /// As the forward pass.
    Wide(Wide<'a>),
    /// Winograd's way.
    Winograd,
    /// A matrix product for each tap: many channels.
    Taps(Taps<'a>),
    /// A matrix product.
    Product,
}

pub(super) fn weights(g: &Conv2d, isa: Isa) -> Weights<'_> {
    match Wide::of(g, isa) {
        _ if g.is_depthwise() => Weights::Depthwise,
        Some(wide) => Weights::Wide(wide),
        None if g.is_winograd_by_weights() => Weights::Winograd,
        None => Taps::of(g, isa).map_or(Weights::Product, Weights::Taps),
    }
}

const WINOGRAD: &str = "Winograd's F(4 x 4, 3 x 3)";

impl Plan {
    pub(super) fn of(g: &Conv2d, isa: Isa) -> Self {
        let forward = match forward(g, isa) {
            Forward::Depthwise => depthwise(g),
            Forward::Wide(wide) => widened(&wide, &product(&wide.wide, isa)),
            Forward::Winograd(_) => WINOGRAD.to_string(),
            Forward::Product if g.winograd_layout().is_some() => {
                format!("{WINOGRAD} in predictions that keep the turned kernel, else {}", product(g, isa))
            }
            Forward::Product => product(g, isa),
        };
        let data = match data(g, isa) {
            Data::Depthwise => depthwise(g),
            Data::Turned(turned) => format!("kernel turned, {}", product(&turned, isa)),
            Data::Winograd(..) => WINOGRAD.to_string(),
            Data::Phases(phases) => format!("{} phases, kernel turned, implicit matrix products", phases.len()),
            Data::Patches => "patches added up".to_string(),
            Data::WidePatches(wide) => widened(&wide, "patches added up"),
        };
        let weights = match weights(g, isa) {
            Weights::Depthwise => depthwise(g),
            Weights::Wide(wide) => widened(&wide, &sums(&wide.wide)),
            Weights::Winograd => WINOGRAD.to_string(),
            Weights::Taps(_) => taps(g),
            Weights::Product => sums(g),
        };
        Plan { forward, data, weights }
    }
}

fn depthwise(g: &Conv2d) -> String {
    match g.out_c / g.in_c {
        1 if g.is_three() => "channel by channel, 3 x 3".to_string(),
        1 => "channel by channel".to_string(),
        times => format!("channel by channel, each {times} times"),
    }
}

fn widened(wide: &Wide, how: &str) -> String {
    format!("{} columns at once, {how}", wide.columns)
}

fn product(g: &Conv2d, isa: Isa) -> String {
    let sizes = Sizes::of(isa);
    let cols = (g.out_c / g.groups).min(sizes.cols());
    let read = if g.direct().is_some() { "matrix product" } else { "implicit matrix product" };
    let rows = match g.direct() {
        None if pair::fits(isa, g.out_w, cols) => format!("2 lines of {}", g.out_w),
        _ => sizes.rows(cols).to_string(),
    };
    let pieces = match g.cut(isa) {
        Pieces::Lines(lines) => format!("pieces of {lines} lines"),
        Pieces::Panels(images) => format!("pieces of {cols} columns of {images} images"),
    };
    format!("{read}, tiles of {rows} x {cols}, {pieces}")
}

fn sums(g: &Conv2d) -> String {
    match g.shares() {
        Shares::Lines(lines) => format!("matrix product, sums of {lines} lines each"),
        Shares::Rows(rows) => format!("matrix product, gradients copied once, pieces of {rows} rows of {}", g.patch()),
    }
}

fn taps(g: &Conv2d) -> String {
    match g.shares() {
        Shares::Lines(lines) => format!("matrix product tap by tap, sums of {lines} lines each"),
        Shares::Rows(_) => "matrix product tap by tap, input and gradients copied once, pieces of channels".to_string(),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "forward: {}; backward data: {}; backward weights: {}", self.forward, self.data, self.weights)
    }
}
