//! What the benches share: contenders of one row, measured in turns, against each other and against the
//! processor's limit.
//!
//! Not criterion: it measures one contender after the other, and between them the clock rate and what else the
//! machine does change by more than the differences in question. Here all contenders of a row
//! alternate, round by round, and ratios are taken within a round.
//!
//! ```text
//! fn main() {
//!     support::main(|bench| {
//!         let mut x = vec![0.0; 1000];
//!         bench.row("double 1000", 1000.0, vec![
//!             Contender::new("plain loop", 1, || x.iter_mut().for_each(|x| *x *= 2.0)),
//!             …
//!         ]);
//!     });
//! }
//! ```
#![allow(dead_code, reason = "each bench uses a part of this")]

use std::time::{Duration, Instant};

/// A sample is as many calls as take about this long, ...
const SAMPLE: Duration = Duration::from_millis(3);
/// ... and a row as many rounds of samples as take about this long, ...
const ROW: Duration = Duration::from_millis(900);
/// ... but at least and at most so many.
const ROUNDS: (usize, usize) = (7, 61);

/// One of those that do the work of a row.
pub struct Contender<'a> {
    name: &'static str,
    threads: usize,
    run: Box<dyn FnMut() + Send + 'a>,
}

impl<'a> Contender<'a> {
    /// Does the work once when called. `threads` is the number that it may use: its rate is compared with the limit
    /// of so many, and with the first contender of the row that has as many.
    pub fn new(name: &'static str, threads: usize, run: impl FnMut() + Send + 'a) -> Self {
        Contender { name, threads, run: Box::new(run) }
    }
}

/// Where rows are measured and printed.
pub struct Bench {
    /// The number of threads of the pool that everything runs in.
    pub threads: usize,
    json: bool,
    names: Vec<String>,
    only: Option<String>,
    /// Of one thread and of all, in operations a second.
    limits: [f64; 2],
}

/// Calls `rows` inside a pool of all threads (as training does: the pool is not woken for each call). Arguments of
/// the program: parts of the names of the rows to run, `--json` for lines instead of a table, `--threads=N`, and `--only=NAME` for a
/// contender alone (under a profiler).
pub fn main(rows: impl FnOnce(&mut Bench) + Send) {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let asked = arguments.iter().find_map(|argument| argument.strip_prefix("--threads=")?.parse().ok());
    let threads = asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only=")).map(String::from);
    let json = arguments.iter().any(|argument| argument == "--json");
    let names = arguments.into_iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut bench = Bench { threads, json, names, only, limits: [1, threads].map(cornu::kernels::peak_flops) };
    if !json {
        let [one, all] = bench.limits.map(|limit| limit / 1e9);
        println!("{}; limit {one:.0} GFLOP/s on 1 thread, {all:.0} on {threads}", cornu::kernels::instruction_set());
        println!(
            "{:<24} {:<22} {:>3} {:>9} {:>6} {:>7} {:>10} {:>10} {:>6}",
            "row", "contender", "thr", "GFLOP/s", "limit", "ratio", "wall µs", "CPU µs", "others"
        );
    }
    cornu::runtime::threads::with_num_threads(threads, || rows(&mut bench));
}

impl Bench {
    /// Whether the arguments ask for this row (all, if they name none): a row's data need not be made if not.
    pub fn wants(&self, row: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| row.contains(name.as_str()))
    }

    /// Measures and prints a row: `operations` is what one call of each contender does.
    pub fn row(&mut self, row: &str, operations: f64, mut contenders: Vec<Contender>) {
        if !self.wants(row) {
            return;
        }
        contenders.retain(|contender| self.only.as_ref().is_none_or(|only| contender.name == only));
        if contenders.is_empty() {
            return;
        }
        let calls: Vec<usize> = contenders.iter_mut().map(calls_of_a_sample).collect();
        // Seconds and CPU seconds for each call, by contender and round.
        let mut samples = vec![Vec::new(); contenders.len()];
        let (start, busy, own) = (Instant::now(), busy_time(), cpu_time());
        while samples[0].len() < ROUNDS.0 || (start.elapsed() < ROW && samples[0].len() < ROUNDS.1) {
            let round = samples[0].len();
            for i in 0..contenders.len() {
                // Nobody always comes after the same other one.
                let i = (i + round) % contenders.len();
                let (start, cpu) = (Instant::now(), cpu_time());
                (0..calls[i]).for_each(|_| (contenders[i].run)());
                let wall = start.elapsed().as_secs_f64();
                samples[i].push([wall, cpu_time() - cpu].map(|time| time / calls[i] as f64));
            }
        }
        let others = (busy_time() - busy - (cpu_time() - own)) / start.elapsed().as_secs_f64();
        for (contender, own) in contenders.iter().zip(&samples) {
            let baseline = contenders.iter().position(|other| other.threads == contender.threads).unwrap_or(0);
            let wall = median(own.iter().map(|sample| sample[0]));
            let cpu = own.iter().map(|sample| sample[1]).sum::<f64>() / own.len() as f64;
            let ratio = median(samples[baseline].iter().zip(own).map(|(base, own)| base[0] / own[0]));
            let limit = self.limits[usize::from(contender.threads > 1)];
            let (rate, percent) = (operations / wall, 100.0 * operations / wall / limit);
            let (name, threads) = (contender.name, contender.threads);
            let (rate, wall, cpu, others) = (rate / 1e9, wall * 1e6, cpu * 1e6, others.max(0.0));
            if self.json {
                println!(
                    "{{\"row\": \"{row}\", \"contender\": \"{name}\", \"threads\": {threads}, \"gflops\": {rate:.2}, \
                     \"percent\": {percent:.1}, \"ratio\": {ratio:.3}, \"wall_us\": {wall:.1}, \"cpu_us\": {cpu:.1}, \
                     \"others\": {others:.2}}}"
                );
            } else {
                println!(
                    "{row:<24} {name:<22} {threads:>3} {rate:>9.1} {percent:>5.0}% {ratio:>7.2} {wall:>10.1} {cpu:>10.1} \
                     {others:>6.2}"
                );
            }
        }
    }
}

/// Warms a contender up, and finds how often to call it for a sample.
fn calls_of_a_sample(contender: &mut Contender) -> usize {
    (contender.run)();
    let (mut calls, start) = (0, Instant::now());
    while start.elapsed() < 2 * SAMPLE {
        (contender.run)();
        calls += 1;
    }
    (calls as f64 * SAMPLE.as_secs_f64() / start.elapsed().as_secs_f64()).ceil() as usize
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Seconds that the threads of this process have run (Linux; elsewhere zero).
fn cpu_time() -> f64 {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    {
        /// Of the C library, which the standard library links anyway. What `/proc` tells is up to a clock tick old.
        const PROCESS_CPU_TIME: i32 = 2;
        unsafe extern "C" {
            fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
        }
        let mut time = [0; 2];
        // SAFETY: a `timespec` is two integers of 64 bits there.
        if unsafe { clock_gettime(PROCESS_CPU_TIME, &mut time) } == 0 {
            return time[0] as f64 + time[1] as f64 / 1e9;
        }
    }
    0.0
}

/// Seconds that all processors were busy, stolen time included (Linux; elsewhere zero).
fn busy_time() -> f64 {
    let all = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = all.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = ticks.filter_map(|ticks| ticks.parse().ok()).collect();
    // All but idle and waiting for disks, of the first eight: the others are counted in these.
    ticks.iter().take(8).enumerate().filter(|(i, _)| *i != 3 && *i != 4).map(|(_, ticks)| ticks / 100.0).sum()
}
