//! What every measured program in Rust does: it reads the images and answers requests for times.
//!
//! A request is one line, such as `train lenet5 32`; the answer is the seconds it took, or `no` from a
//! program that does not do this. See README.md beside this file.
#![allow(dead_code)]

use std::io::{BufRead, Read, Write};
use std::time::Instant;

/// Training images that are used: the first of Fashion-MNIST's 60,000.
pub const SAMPLES: usize = 12_800;
/// Training images that a new model sees before the clock starts.
pub const WARM: usize = 256;
/// Values of an image.
pub const PIXELS: usize = 28 * 28;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The images with values between 0 and 1, and the class of each.
pub struct Data {
    pub x: Vec<f32>,
    pub y: Vec<u8>,
}

impl Data {
    /// Reads the folder that `BENCH_DATA` names, image by image, so that nothing else stays in memory.
    pub fn read() -> Result<Self, Failure> {
        let folder = std::env::var("BENCH_DATA").unwrap_or_else(|_| "examples/data/fashion-mnist".into());
        let open = |name: &str, header: usize| -> Result<_, Failure> {
            let path = format!("{folder}/{name}");
            let file = std::fs::File::open(&path).map_err(|error| format!("{path}: {error}"))?;
            let mut file = flate2::read::GzDecoder::new(file);
            file.read_exact(&mut vec![0; header])?;
            Ok(file)
        };
        let (mut x, mut y) = (Vec::with_capacity(SAMPLES * PIXELS), vec![0; SAMPLES]);
        let mut images = open("train-images-idx3-ubyte.gz", 16)?;
        let mut image = [0; PIXELS];
        for _ in 0..SAMPLES {
            images.read_exact(&mut image)?;
            x.extend(image.iter().map(|&pixel| f32::from(pixel) / 255.0));
        }
        open("train-labels-idx1-ubyte.gz", 8)?.read_exact(&mut y)?;
        Ok(Self { x, y })
    }

    /// The bytes that a program holds which keeps `x` as f32 and a class in `label` bytes.
    pub fn bytes(label: usize) -> usize {
        SAMPLES * (4 * PIXELS + label)
    }

    /// Calls `step` with each batch of an epoch, in a new order: the classes as they are, the images copied.
    pub fn batches<E>(
        &self,
        order: &mut [usize],
        size: usize,
        mut step: impl FnMut(Vec<f32>, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        shuffle(order);
        for rows in order.chunks(size) {
            let mut x = Vec::with_capacity(rows.len() * PIXELS);
            for &row in rows {
                x.extend_from_slice(&self.x[row * PIXELS..(row + 1) * PIXELS]);
            }
            step(x, rows.iter().map(|&row| self.y[row]).collect())?;
        }
        Ok(())
    }
}

/// Fisher and Yates' shuffle, on a linear congruential generator that goes on from call to call.
fn shuffle(order: &mut [usize]) {
    static STATE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let mut state = STATE.load(std::sync::atomic::Ordering::Relaxed);
    for i in (1..order.len()).rev() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        order.swap(i, (state >> 33) as usize % (i + 1));
    }
    STATE.store(state, std::sync::atomic::Ordering::Relaxed);
}

/// The number of threads that this program may use.
pub fn threads() -> usize {
    let asked = std::env::var("BENCH_THREADS").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// The numbers of a request after its first words.
pub fn numbers(words: &[&str]) -> Result<Vec<usize>, Failure> {
    words.iter().map(|word| word.parse().map_err(|_| format!("{word} is not a number").into())).collect()
}

/// Made-up values for kernels, from -0.6 to 0.6.
pub fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 7919 % 1201) as f32 * 1e-3 - 0.6).collect()
}

/// The matrices of a product `(m, k) x (k, n)`, and room for the result.
pub fn matrices(m: usize, n: usize, k: usize) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    (values(m * k), values(k * n), vec![0.0; m * n])
}

/// The seconds of one call.
pub fn once<E>(work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The median seconds of a call, of the calls in 0.4 s (at least three), after two that do not count.
pub fn often<E>(mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    work()?;
    work()?;
    let start = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < 3 || start.elapsed().as_secs_f64() < 0.4 {
        seconds.push(once(&mut work)?);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

/// Says who this is and how many bytes of data it holds, then answers the requests on standard input.
pub fn serve(
    version: &str,
    held: usize,
    mut answer: impl FnMut(&[&str]) -> Result<Option<f64>, Failure>,
) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{{\"version\": \"{version}\", \"held\": {held}}}")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        match answer(&line?.split_whitespace().collect::<Vec<_>>())? {
            Some(seconds) => writeln!(out, "{seconds:e}")?,
            None => writeln!(out, "no")?,
        }
        out.flush()?;
    }
    Ok(())
}
