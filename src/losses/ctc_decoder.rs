//! From the predictions of a model that was trained with CTC to labels.

use super::ctc::log_add;
use crate::error::{Error, Result, ensure};
use crate::tensor::Tensor;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Turns predictions of a model that was trained with [`CTC`](super::CTC) into labels (Keras: `ops.ctc_decode`).
///
/// ```
/// use cornu::{Tensor, losses::CtcDecoder};
/// // Four steps of three classes, of which 0 is the blank: 2, 2, blank, 1.
/// let logits = [0., 1., 5., 0., 1., 4., 6., 0., 1., 0., 3., 1.];
/// let logits = Tensor::new([1, 4, 3], logits.to_vec())?;
/// let paths = CtcDecoder::greedy().decode(&logits, None)?;
/// assert_eq!(paths[0][0].labels, [2, 1]);
/// let paths = CtcDecoder::beam_search().beam_width(10).top_paths(3).decode(&logits, None)?;
/// assert_eq!(paths[0][0].labels, [2, 1]);
/// assert_eq!(paths[0].len(), 3);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CtcDecoder {
    strategy: Strategy,
    mask_index: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Strategy {
    Greedy { merge_repeated: bool },
    BeamSearch { beam_width: usize, top_paths: usize },
}

/// Labels that a sequence may spell.
#[derive(Clone, Debug, PartialEq)]
pub struct CtcPath {
    /// The classes, without blanks.
    pub labels: Vec<usize>,
    /// Of a beam search the logarithm of the labels' probability; of a greedy one minus the sum of the largest logits of
    /// all steps, which is Keras' score.
    pub score: f32,
}

impl CtcDecoder {
    /// The likeliest class of each step; of equal neighbours one is kept, and blanks are left out.
    pub fn greedy() -> Self {
        CtcDecoder { strategy: Strategy::Greedy { merge_repeated: true }, mask_index: 0 }
    }

    /// The likeliest labels, over all ways of spelling them, as far as a search finds them that keeps the 100 likeliest
    /// beginnings at each step.
    pub fn beam_search() -> Self {
        CtcDecoder { strategy: Strategy::BeamSearch { beam_width: 100, top_paths: 1 }, mask_index: 0 }
    }

    /// Whether the greedy way keeps one of equal neighbours; otherwise all. Default true. Of no use to a beam search.
    pub fn merge_repeated(mut self, merge: bool) -> Self {
        if let Strategy::Greedy { merge_repeated } = &mut self.strategy {
            *merge_repeated = merge;
        }
        self
    }

    /// How many beginnings a beam search keeps; at least 1. Default 100. Of no use to the greedy way.
    pub fn beam_width(mut self, width: usize) -> Self {
        if let Strategy::BeamSearch { beam_width, .. } = &mut self.strategy {
            *beam_width = width;
        }
        self
    }

    /// How many paths of a sample a beam search gives, at least 1 and at most `beam_width`; the likeliest is the first.
    /// Default 1. Of no use to the greedy way.
    pub fn top_paths(mut self, paths: usize) -> Self {
        if let Strategy::BeamSearch { top_paths, .. } = &mut self.strategy {
            *top_paths = paths;
        }
        self
    }

    /// The class that is the blank. Default 0.
    pub fn mask_index(mut self, mask_index: usize) -> Self {
        self.mask_index = mask_index;
        self
    }

    /// The paths of each sample: one of the greedy way, up to `top_paths` of a beam search (fewer if there are no more).
    ///
    /// `inputs` are logits `(batch, time, classes)`, before softmax; of sample `i` the first `lengths[i]` steps count, or
    /// all.
    ///
    /// # Errors
    /// When shapes, lengths or arguments make no sense; of a beam search also when a logit is NaN or positive infinity, or
    /// all of a step are negative infinity.
    pub fn decode(&self, inputs: &Tensor, lengths: Option<&[usize]>) -> Result<Vec<Vec<CtcPath>>> {
        let &[n, time, classes] = inputs.shape() else {
            return Err(Error::Shape(format!("CTC needs logits (batch, time, classes), found {:?}", inputs.shape())));
        };
        let blank = self.mask_index;
        ensure!(blank < classes, Argument, "mask_index is {blank}; there are {classes} classes");
        if let Strategy::BeamSearch { beam_width, top_paths } = self.strategy {
            ensure!(
                (1..=beam_width).contains(&top_paths),
                Argument,
                "beam_width is {beam_width} and top_paths {top_paths}; it must be from 1 to the width"
            );
        }
        if let Some(lengths) = lengths {
            ensure!(
                lengths.len() == n && lengths.iter().all(|len| *len <= time),
                Shape,
                "the lengths are {lengths:?}; {n} are needed, of at most {time} steps"
            );
        }
        let one = |i: usize| {
            let steps = lengths.map_or(time, |lengths| lengths[i]);
            let logits = &inputs.row(i)[..steps * classes];
            Ok(match self.strategy {
                Strategy::Greedy { merge_repeated } => vec![greedy(logits, classes, blank, merge_repeated)],
                Strategy::BeamSearch { beam_width, top_paths } => {
                    for (t, row) in logits.chunks_exact(classes).enumerate() {
                        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                        ensure!(
                            largest.is_finite() && !row.iter().any(|x| x.is_nan()),
                            Data,
                            "step {t} of sample {i} has the logits {row:?}; no probabilities follow from them"
                        );
                    }
                    beam_search(logits, classes, blank, beam_width, top_paths)
                }
            })
        };
        (0..n).map(one).collect()
    }
}

fn greedy(logits: &[f32], classes: usize, blank: usize, merge_repeated: bool) -> CtcPath {
    let (mut labels, mut sum, mut last) = (Vec::new(), 0.0, None);
    for row in logits.chunks_exact(classes) {
        // The first of the largest.
        let larger = |best: (usize, f32), (i, &x): (usize, &f32)| if x > best.1 { (i, x) } else { best };
        let (class, largest) = row.iter().enumerate().fold((0, row[0]), larger);
        sum += f64::from(largest);
        if class != blank && !(merge_repeated && last == Some(class)) {
            labels.push(class);
        }
        last = Some(class);
    }
    CtcPath { labels, score: -sum as f32 }
}

/// The logarithms of the probabilities of the ways that spell a beginning, and end with its last label or with a blank.
#[derive(Clone, Copy)]
struct Beam {
    label: f64,
    blank: f64,
}

impl Beam {
    const NONE: Beam = Beam { label: f64::NEG_INFINITY, blank: f64::NEG_INFINITY };

    fn total(self) -> f64 {
        log_add(self.label, self.blank)
    }
}

/// The likelier one first; of equals, as Keras' on JAX, the one with smaller classes, and a longer one before its beginning.
fn order(a: &(Vec<usize>, Beam), b: &(Vec<usize>, Beam)) -> Ordering {
    b.1.total().total_cmp(&a.1.total()).then_with(|| {
        let differ = a.0.iter().zip(&b.0).map(|(a, b)| a.cmp(b)).find(|order| order.is_ne());
        differ.unwrap_or_else(|| b.0.len().cmp(&a.0.len()))
    })
}

fn beam_search(logits: &[f32], classes: usize, blank: usize, width: usize, top: usize) -> Vec<CtcPath> {
    let mut beams = vec![(Vec::new(), Beam { blank: 0.0, ..Beam::NONE })];
    for row in logits.chunks_exact(classes) {
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = row.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
        let log_prob = |class: usize| f64::from(row[class]) - largest - sum.ln();
        let mut next: HashMap<Vec<usize>, Beam> = HashMap::new();
        for (labels, beam) in &beams {
            for class in 0..classes {
                let p = log_prob(class);
                if class == blank {
                    let same = next.entry(labels.clone()).or_insert(Beam::NONE);
                    same.blank = log_add(same.blank, beam.total() + p);
                    continue;
                }
                // The last label again is the same one, unless a blank stands between.
                let from = if labels.last() == Some(&class) {
                    let same = next.entry(labels.clone()).or_insert(Beam::NONE);
                    same.label = log_add(same.label, beam.label + p);
                    beam.blank
                } else {
                    beam.total()
                };
                let longer = labels.iter().copied().chain([class]).collect();
                let longer = next.entry(longer).or_insert(Beam::NONE);
                longer.label = log_add(longer.label, from + p);
            }
        }
        beams = next.into_iter().filter(|(_, beam)| beam.total() > f64::NEG_INFINITY).collect();
        beams.sort_unstable_by(order);
        beams.truncate(width);
    }
    beams.truncate(top);
    beams.into_iter().map(|(labels, beam)| CtcPath { labels, score: beam.total() as f32 }).collect()
}
