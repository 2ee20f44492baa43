//! Whether predictions may use Winograd's convolution.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

fn setting() -> &'static AtomicBool {
    static SETTING: OnceLock<AtomicBool> = OnceLock::new();
    SETTING.get_or_init(|| AtomicBool::new(std::env::var("CORNU_WINOGRAD").as_deref() != Ok("0")))
}

/// Whether predictions may compute convolutions of 3 x 3 with many channels in Winograd's way: about twice as fast, with
/// rounding errors of some 1e-6 of the largest results, and a copy of such a kernel that has four times as many values
/// (within [`set_weight_copies`](super::set_weight_copies)). Training never does. Whether it pays depends on how many
/// samples are computed together, so the last digits of a prediction may depend on the batch size. The default is yes,
/// unless the environment variable `CORNU_WINOGRAD` is 0.
///
/// ```
/// cornu::runtime::set_winograd(false);
/// ```
pub fn set_winograd(allowed: bool) {
    setting().store(allowed, Ordering::Relaxed);
}

pub(crate) fn winograd_allowed() -> bool {
    setting().load(Ordering::Relaxed)
}
