//! The memory for copies of weights in the order in which products read them.
//!
//! Predictions, and steps that use a weight several times, are faster with such copies, which take as much memory as
//! the weights themselves. So all copies of a process together stay within a budget; what does not fit is copied part
//! by part each time that it is used. Results are the same, but for predictions of convolutions whose kernels no longer fit
//! as Winograd's way wants them: some of these are computed in the plain way, which differs in the last digits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// 256 MiB.
const DEFAULT: usize = 256 << 20;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

fn budget() -> &'static AtomicUsize {
    static BUDGET: OnceLock<AtomicUsize> = OnceLock::new();
    BUDGET.get_or_init(|| {
        let asked = std::env::var("CORNU_WEIGHT_COPIES").ok().and_then(|mib| mib.parse::<usize>().ok());
        AtomicUsize::new(asked.map_or(DEFAULT, |mib| mib.saturating_mul(1 << 20)))
    })
}

/// Sets how many bytes the copies of weights may take that this process keeps: 0 for the least memory. The default is
/// 256 MiB, or what the environment variable `CORNU_WEIGHT_COPIES` says, in MiB. Copies that are too much already are
/// given back when their weights are used next.
///
/// Results do not depend on it but for predictions in [Winograd's way](super::set_winograd), for which the kernels of small
/// convolutions must have been copied: without a copy these are computed in the plain way and differ in the last digits. Which kernels get the last of
/// the budget depends on who comes first, so where it does not suffice for all, this may change from run to run and with
/// the number of threads; `set_winograd(false)` rules that out.
///
/// ```
/// cornu::runtime::set_weight_copies(0);
/// assert_eq!(cornu::runtime::weight_copies(), 0);
/// ```
pub fn set_weight_copies(bytes: usize) {
    budget().store(bytes, Ordering::Relaxed);
}

/// How many bytes the copies of weights may take: see [`set_weight_copies`].
pub fn weight_copies() -> usize {
    budget().load(Ordering::Relaxed)
}

/// A part of the budget, which it gets back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share(usize);

impl Share {
    /// So many bytes, if they are left.
    pub fn take(bytes: usize) -> Option<Self> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= weight_copies());
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok().map(|_| Share(bytes))
    }

    /// Whether more is taken than the budget, which was made smaller.
    pub fn is_too_much() -> bool {
        TAKEN.load(Ordering::Relaxed) > weight_copies()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}
