//! A loop whose items several threads of the pool take one by one.
//!
//! A training step forks a few times in a fraction of a millisecond, and waking a thread that sleeps takes tens of
//! microseconds, or longer where the system wakes it on a core that is busy. So for a moment after a loop its threads
//! stay awake, and yield to other programs meanwhile.

use rayon::{Scope, ThreadPool};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread looks out for the next loop, and how long it waits for the others at the end of one before it
/// sleeps: a step of a small network. (An MLP 784-128-10 in batches of 32 was a sixth faster than with 100 µs.)
const AWAKE: Duration = Duration::from_micros(200);

thread_local! {
    /// Whether this thread is in a loop: one inside runs on this thread alone.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Whether it already looks out for the next one.
    static LOOKS_OUT: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn is_inside() -> bool {
    INSIDE.get()
}

pub(super) fn alone<T>(work: impl FnOnce() -> T) -> T {
    let _inside = Flag::set(&INSIDE);
    work()
}

/// Sets a flag of this thread for as long as it lives, also through a panic; then it is what it was.
struct Flag(&'static std::thread::LocalKey<Cell<bool>>, bool);

impl Flag {
    fn set(key: &'static std::thread::LocalKey<Cell<bool>>) -> Self {
        Flag(key, key.replace(true))
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Calls `work` with each item, on all threads of the pool that this one belongs to, or of the process's.
///
/// Half of the threads take items from the front and half from the back, so that in the next such loop most items
/// meet the same core again, and in its cache what they work on.
pub(super) fn share<I>(items: I, work: impl Fn(I::Item) + Sync)
where
    I: ExactSizeIterator<Item: Send> + DoubleEndedIterator + Send,
{
    let pool = rayon::current_thread_index().is_none().then(super::pool).flatten();
    let helpers = items.len().min(super::count()).saturating_sub(1);
    let items = Mutex::new(items);
    let run = |from_back: bool| {
        let _inside = Flag::set(&INSIDE);
        let next = || {
            let mut items = items.lock().unwrap_or_else(PoisonError::into_inner);
            if from_back { items.next_back() } else { items.next() }
        };
        while let Some(item) = next() {
            work(item);
        }
    };
    if helpers == 0 {
        return run(false);
    }
    // While it waits for the others, this thread is to do nothing else.
    let _looks_out = Flag::set(&LOOKS_OUT);
    let busy = AtomicUsize::new(0);
    let help = |from_back| {
        busy.fetch_add(1, Ordering::Relaxed);
        run(from_back);
        if !LOOKS_OUT.get() {
            rayon::spawn(look_out);
        }
        busy.fetch_sub(1, Ordering::Release);
    };
    let help = &help;
    // One that comes when all is done has nothing to do: nobody waits for a thread that is slow to wake.
    in_scope(pool, |scope| {
        (0..helpers).for_each(|i| scope.spawn(move |_| help(i % 2 == 0)));
        run(false);
        wait_until(|| busy.load(Ordering::Acquire) == 0);
    });
}

fn in_scope<'scope>(pool: Option<&ThreadPool>, work: impl FnOnce(&Scope<'scope>)) {
    match pool {
        Some(pool) => pool.in_place_scope(work),
        None => rayon::in_place_scope(work),
    }
}

/// Takes part in loops as they come; returns when none has for a while.
fn look_out() {
    if LOOKS_OUT.get() {
        return;
    }
    let _looks_out = Flag::set(&LOOKS_OUT);
    while wait_until(|| rayon::yield_now() == Some(rayon::Yield::Executed)) {}
}

/// Waits until `done`, but not long; whether it is.
fn wait_until(done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..32 {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() > AWAKE {
            return false;
        }
        std::thread::yield_now();
    }
}
