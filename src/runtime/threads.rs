//! The worker pool, and loops over fixed pieces of work.
//!
//! What is a piece depends on shapes alone; which thread works on it, and how many threads there
//! are, changes nothing in the result.

#[cfg(feature = "parallel")]
mod team;

use crate::error::Result;

/// Runs `work` inside the thread pool, so that the loops below need not wake it each time.
///
/// Work that is already inside a rayon pool (the caller's own, or [`with_num_threads`]) stays there, and so does that of
/// threads beside the pool, for which the pool may be waiting.
pub fn enter<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "parallel")]
    if rayon::current_thread_index().is_none()
        && !team::is_inside()
        && let Some(pool) = pool()
    {
        return pool.install(work);
    }
    work()
}

/// Runs `work` with this many threads, whatever the process-wide setting is.
pub fn with_num_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "parallel")]
    if let Some(pool) = build(threads.max(1)) {
        return pool.install(work);
    }
    let _ = threads;
    work()
}

/// Calls `work(i, &mut items[i])` for each item, on all threads.
///
/// Loops do not nest: inside one, another runs on its own thread, since all threads have work.
pub fn for_each<T: Send>(items: &mut [T], work: impl Fn(usize, &mut T) + Sync) {
    share(items.iter_mut().enumerate(), |(i, item)| work(i, item));
}

/// As [`for_each`], with runs of `chunk` values; the last one may be shorter.
pub fn for_each_chunk<T: Send>(values: &mut [T], chunk: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    share(values.chunks_mut(chunk.max(1)).enumerate(), |(i, values)| work(i, values));
}

/// As [`for_each_chunk`], with runs of `chunk` values of two slices of the same length.
pub fn for_each_two_chunks<T: Send>(
    [a, b]: [&mut [T]; 2],
    chunk: usize,
    work: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    let chunk = chunk.max(1);
    share(a.chunks_mut(chunk).zip(b.chunks_mut(chunk)).enumerate(), |(i, (a, b))| work(i, a, b));
}

/// Calls `work` with each item. Whoever is free takes the next one, so a thread that comes late does less.
fn share<I>(items: I, work: impl Fn(I::Item) + Sync)
where
    I: ExactSizeIterator<Item: Send> + DoubleEndedIterator + Send,
{
    #[cfg(feature = "parallel")]
    if items.len() > 1 && !team::is_inside() {
        return team::share(items, work);
    }
    items.for_each(work);
}

/// How many threads work on a loop.
pub(crate) fn count() -> usize {
    #[cfg(feature = "parallel")]
    return match pool().filter(|_| rayon::current_thread_index().is_none()) {
        Some(pool) => pool.current_num_threads(),
        None => rayon::current_num_threads(),
    };
    #[cfg(not(feature = "parallel"))]
    1
}

/// Runs `work` with all its loops on this thread: for threads that work beside the pool.
pub(crate) fn alone<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(feature = "parallel")]
    return team::alone(work);
    #[cfg(not(feature = "parallel"))]
    work()
}

/// Sets the number of threads that this process uses for training and prediction. Results do not
/// depend on it. The default is one thread per core.
///
/// # Errors
/// When the pool is already running: call it first, or set the environment variable
/// `CORNU_NUM_THREADS` instead.
pub fn set_num_threads(threads: usize) -> Result<()> {
    crate::error::ensure!(threads > 0, Argument, "the number of threads must be at least 1");
    #[cfg(feature = "parallel")]
    {
        let made = POOL.set(build(threads));
        crate::error::ensure!(
            made.is_ok(),
            State,
            "the thread pool is already running; call set_num_threads before the first training or prediction"
        );
    }
    Ok(())
}

#[cfg(feature = "parallel")]
static POOL: std::sync::OnceLock<Option<rayon::ThreadPool>> = std::sync::OnceLock::new();

#[cfg(feature = "parallel")]
fn pool() -> Option<&'static rayon::ThreadPool> {
    let pool = POOL.get_or_init(|| {
        let asked = std::env::var("CORNU_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        build(asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)))
    });
    pool.as_ref()
}

/// A pool of `threads`; none when the system gives no threads, and then all runs on the caller's.
#[cfg(feature = "parallel")]
fn build(threads: usize) -> Option<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("cornu-{i}")).build().ok()
}
