//! Whether convolutions may be computed in Winograd's way.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

fn setting() -> &'static AtomicBool {
    static SETTING: OnceLock<AtomicBool> = OnceLock::new();
    SETTING.get_or_init(|| AtomicBool::new(std::env::var("CORNU_WINOGRAD").as_deref() != Ok("0")))
}

/// Whether convolutions of 3 x 3 with stride 1 and at least 16 channels may be computed in Winograd's way, where that
/// pays: predictions, and in training the forward pass and both gradients, about twice as fast.
///
/// Rounding errors are some ten times as large, of the gradient by the kernel up to twenty-five times: measured, those of
/// single values up to 7e-6 of the largest result with 64 channels and 2e-5 with 512 (directly 1e-6 and 3e-6), on average
/// 1e-6 to 5e-6 of the results (directly 2e-7 to 1e-6). Predictions keep a copy of such a kernel that has four times as many values (within
/// [`set_weight_copies`](super::set_weight_copies)). Whether it pays depends on how many samples are computed together, so
/// the last digits of a result may depend on the batch size; they do not depend on the number of threads. The default is
/// yes, unless the environment variable `CORNU_WINOGRAD` is 0.
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
