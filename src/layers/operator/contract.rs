//! Products of two tensors, summed over axes that they share.

use super::super::broadcast::{expand, sum_axis};
use super::super::permute::transpose;
use crate::error::{Error, Result, ensure};
use crate::kernels::gemm::{Mat, MatMut, gemm_parallel};
use crate::layer::{Backward, Forward};
use crate::runtime::Workspace;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A product of two tensors (Keras: the operations of these names in `keras.ops`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "class_name", content = "config")]
pub enum Contract {
    /// As Einstein wrote them: `"bij,bjk->bik"`; of one tensor too: `"bij->bji"`.
    Einsum {
        /// A letter for each axis; `...` for those that are not named.
        subscripts: String,
    },
    /// Matrices, those of the last two axes, one by one of those before.
    Matmul {},
    /// The last axis of the first with the last but one of the second.
    Dot {},
    /// The last axis of both.
    Inner {},
    /// The last axes of the first with the first of the second.
    Tensordot {
        /// How many of them, or lists of them for each.
        axes: Axes,
    },
}

/// The axes of a `Tensordot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axes {
    /// So many of the last of the first tensor, and of the first of the second.
    Last(usize),
    /// These of the first, and these of the second.
    These([Vec<isize>; 2]),
}

/// The axes of both operands and of the result, as letters.
struct Letters {
    a: Vec<u8>,
    b: Vec<u8>,
    out: Vec<u8>,
}

impl Contract {
    /// The names of all.
    pub(super) const CLASSES: &[&str] = &["Einsum", "Matmul", "Dot", "Inner", "Tensordot"];

    pub(super) fn name(&self) -> &'static str {
        match self {
            Contract::Einsum { .. } => "Einsum",
            Contract::Matmul {} => "Matmul",
            Contract::Dot {} => "Dot",
            Contract::Inner {} => "Inner",
            Contract::Tensordot { .. } => "Tensordot",
        }
    }

    /// Whether it takes one tensor.
    pub(super) fn is_of_one(&self) -> bool {
        matches!(self, Contract::Einsum { subscripts } if !subscripts.contains(','))
    }

    fn letters(&self, a: usize, b: usize) -> Result<Letters> {
        // Letters of the axes of both, the shared ones set afterwards.
        let first: Vec<u8> = (0..a as u8).collect();
        let mut second: Vec<u8> = (64..64 + b as u8).collect();
        let contracted = |first: &[u8], second: &[u8]| {
            let out = first.iter().filter(|letter| !second.contains(letter));
            out.chain(second.iter().filter(|letter| !first.contains(letter))).copied().collect()
        };
        ensure!(a > 0 && b > 0 || self.is_of_one(), Shape, "{} of a single value; multiply instead", self.name());
        match self {
            Contract::Einsum { subscripts } => return einsum(subscripts, a, b),
            Contract::Matmul {} => {
                let of_sum = b.saturating_sub(2);
                second[of_sum] = first[a - 1];
                // The axes before the matrices are aligned at their ends.
                let (before_a, before_b) = (a.saturating_sub(2), of_sum);
                let shared = before_a.min(before_b);
                for i in 1..=shared {
                    second[before_b - i] = first[before_a - i];
                }
                let mut out: Vec<u8> = match before_a >= before_b {
                    true => first[..before_a].to_vec(),
                    false => second[..before_b].to_vec(),
                };
                out.extend((a > 1).then(|| first[a - 2]));
                out.extend((b > 1).then(|| second[b - 1]));
                return Ok(Letters { a: first, b: second, out });
            }
            Contract::Dot {} => second[b.saturating_sub(2)] = first[a - 1],
            Contract::Inner {} => second[b - 1] = first[a - 1],
            Contract::Tensordot { axes } => {
                let place = |axis: &isize, rank: usize| crate::shape::resolve_axis(*axis, rank);
                let [of_a, of_b] = match axes {
                    Axes::Last(n) => {
                        ensure!(*n <= a.min(b), Argument, "axes is {n}, more than the tensors have");
                        [(a - n..a).collect::<Vec<_>>(), (0..*n).collect()]
                    }
                    Axes::These([of_a, of_b]) => {
                        ensure!(of_a.len() == of_b.len(), Argument, "axes are {of_a:?} and {of_b:?}, not as many");
                        let resolve =
                            |list: &[isize], rank| list.iter().map(|axis| place(axis, rank)).collect::<Result<_>>();
                        [resolve(of_a, a)?, resolve(of_b, b)?]
                    }
                };
                of_a.into_iter().zip(of_b).for_each(|(i, j)| second[j] = first[i]);
            }
        }
        let out = contracted(&first, &second);
        Ok(Letters { a: first, b: second, out })
    }

    /// Where samples are, they must come first in the operands and in the result.
    fn check_batch(&self, letters: &Letters, given: [bool; 2]) -> Result<()> {
        let batch = letters.out.first();
        let first = |operand: &[u8], symbolic: bool| match symbolic {
            true => operand.first() == batch && batch.is_some(),
            false => batch.is_none_or(|batch| !operand.contains(batch)),
        };
        ensure!(
            first(&letters.a, given[0]) && first(&letters.b, given[1]),
            Argument,
            "this {} would mix the samples: the batch must be the first axis of each tensor and of the result",
            self.name()
        );
        Ok(())
    }

    pub(super) fn output_shape(&self, a: &Shape, b: &Shape, given: [bool; 2]) -> Result<Shape> {
        let letters = self.letters(a.rank(), b.rank())?;
        self.check_batch(&letters, given)?;
        let mut sizes: BTreeMap<u8, Option<usize>> = BTreeMap::new();
        for (letter, size) in letters.a.iter().zip(a.dims()).chain(letters.b.iter().zip(b.dims())) {
            let known = sizes.entry(*letter).or_insert(*size);
            ensure!(
                known.is_none() || size.is_none() || known == size,
                Shape,
                "{a} and {b} do not fit in {}: an axis that both have differs",
                self.name()
            );
            *known = known.or(*size);
        }
        Ok(Shape::new(letters.out.iter().map(|letter| sizes[letter]).collect::<Vec<_>>()))
    }

    pub(super) fn forward(&self, a: Tensor, b: Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
        let letters = self.letters(a.rank(), b.rank())?;
        let y = contract((&a, &letters.a), (&b, &letters.b), &letters.out, cx.workspace())?;
        cx.save(a);
        cx.save(b);
        Ok(y)
    }

    pub(super) fn backward(&self, g: &Tensor, wanted: [bool; 2], cx: &mut Backward<'_>) -> Result<[Option<Tensor>; 2]> {
        let (b, a) = (cx.restore()?, cx.restore()?);
        let letters = self.letters(a.rank(), b.rank())?;
        let back = |other: (&Tensor, &[u8]), own: (&Tensor, &[u8])| {
            // What was summed over in this operand alone has the same gradient everywhere.
            let reached = |letter: &&u8| letters.out.contains(letter) || other.1.contains(letter);
            let left: Vec<u8> = own.1.iter().filter(reached).copied().collect();
            let dx = contract((g, &letters.out), other, &left, cx.workspace())?;
            let sizes = own.1.iter().zip(own.0.shape()).map(|(letter, &n)| if left.contains(letter) { n } else { 1 });
            expand(&dx.reshape(sizes.collect::<Dims>())?, own.0.shape(), cx.workspace())
        };
        let (of_a, of_b) = ((&a, letters.a.as_slice()), (&b, letters.b.as_slice()));
        let da = wanted[0].then(|| back(of_b, of_a)).transpose()?;
        Ok([da, wanted[1].then(|| back(of_a, of_b)).transpose()?])
    }
}

/// The letters of an equation for operands of these ranks; those that `...` stands for are numbers from 128.
fn einsum(subscripts: &str, a: usize, b: usize) -> Result<Letters> {
    let plain: String = subscripts.chars().filter(|c| !c.is_whitespace()).collect();
    let (operands, out) = plain.split_once("->").map_or((plain.as_str(), None), |(left, out)| (left, Some(out)));
    let parts: Vec<&str> = operands.split(',').collect();
    ensure!(parts.len() <= 2, Argument, "'{subscripts}' has {} operands; products of two are known here", parts.len());
    let read = |part: &str, rank: Option<usize>| {
        let mut letters = Vec::new();
        let (before, after) = part.split_once("...").map_or((part, None), |(before, after)| (before, Some(after)));
        letters.extend(before.bytes());
        if let Some(after) = after {
            let elided = rank.map(|rank| rank.saturating_sub(before.len() + after.len()));
            let most = a.max(b) as u8;
            let elided = elided.unwrap_or(0) as u8;
            letters.extend((most - elided..most).map(|i| 128 + i));
            letters.extend(after.bytes());
        }
        letters
    };
    let once = |letters: &[u8]| letters.iter().enumerate().all(|(i, letter)| !letters[..i].contains(letter));
    let ranks = [a, b];
    let mut read_parts = parts.iter().zip(ranks).map(|(part, rank)| read(part, Some(rank)));
    let a_letters = read_parts.next().unwrap_or_default();
    let b_letters = read_parts.next().unwrap_or_default();
    let elided: Vec<u8> = {
        let mut all: Vec<u8> = a_letters.iter().chain(&b_letters).filter(|letter| **letter >= 128).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let out = match out {
        Some(out) => match out.split_once("...") {
            Some((before, after)) => before.bytes().chain(elided.iter().copied()).chain(after.bytes()).collect(),
            None => out.bytes().collect(),
        },
        // The letters that stand once, in alphabetical order.
        None => {
            let all: Vec<u8> = a_letters.iter().chain(&b_letters).copied().collect();
            let count = |letter: u8| all.iter().filter(|other| **other == letter).count();
            let mut once: Vec<u8> = all.iter().copied().filter(|&letter| letter < 128 && count(letter) == 1).collect();
            once.sort_unstable();
            elided.iter().copied().chain(once).collect::<Vec<u8>>()
        }
    };
    let known = |letter: &u8| a_letters.contains(letter) || b_letters.contains(letter);
    let is_letter = |letter: &u8| letter.is_ascii_alphabetic() || *letter >= 128;
    let fits = a_letters.len() == a
        && (b_letters.len() == b || parts.len() == 1)
        && [&a_letters, &b_letters, &out].into_iter().all(|all| once(all) && all.iter().all(is_letter))
        && out.iter().all(known);
    ensure!(
        fits,
        Argument,
        "'{subscripts}' does not fit tensors of {a} and {b} axes; each part needs a letter for each axis, at most once"
    );
    Ok(Letters { a: a_letters, b: b_letters, out })
}

/// The sum of the products over all letters that are not in `out`.
fn contract(
    (a, of_a): (&Tensor, &[u8]),
    (b, of_b): (&Tensor, &[u8]),
    out: &[u8],
    workspace: &Arc<Workspace>,
) -> Result<Tensor> {
    let size = |letter: &u8| {
        let place = |letters: &[u8], x: &Tensor| letters.iter().position(|l| l == letter).map(|at| x.shape()[at]);
        place(of_a, a).or(place(of_b, b)).unwrap_or(1)
    };
    let pick = |from: &[u8], keep: &dyn Fn(&u8) -> bool| from.iter().copied().filter(|l| keep(l)).collect::<Vec<u8>>();
    let batch = pick(of_a, &|l| of_b.contains(l) && out.contains(l));
    let summed = pick(of_a, &|l| of_b.contains(l) && !out.contains(l));
    let (rows, lost_a) =
        (pick(of_a, &|l| !of_b.contains(l) && out.contains(l)), pick(of_a, &|l| !of_b.contains(l) && !out.contains(l)));
    let (cols, lost_b) =
        (pick(of_b, &|l| !of_a.contains(l) && out.contains(l)), pick(of_b, &|l| !of_a.contains(l) && !out.contains(l)));
    for letter in batch.iter().chain(&summed) {
        let place = |letters: &[u8]| letters.iter().position(|l| l == letter).unwrap_or_default();
        let (n, other) = (a.shape()[place(of_a)], b.shape()[place(of_b)]);
        ensure!(
            n == other,
            Shape,
            "shapes {:?} and {:?} do not fit: an axis has {n} and {other}",
            a.shape(),
            b.shape()
        );
    }
    let count = |letters: &[u8]| letters.iter().map(size).product::<usize>();
    let [batches, m, k, n] = [&batch, &rows, &summed, &cols].map(|letters| count(letters));
    let arrange = |x: &Tensor, from: &[u8], to: [&[u8]; 4]| {
        let letters = to.concat();
        let order: Vec<usize> = letters.iter().filter_map(|l| from.iter().position(|other| other == l)).collect();
        let turned = if order.is_sorted() { x.clone() } else { transpose(x, &order)? };
        Ok::<_, Error>(match to[3].is_empty() {
            true => turned,
            false => sum_axis(&turned, count(to[3]), 1, workspace),
        })
    };
    let a = arrange(a, of_a, [&batch, &rows, &summed, &lost_a])?;
    let b = arrange(b, of_b, [&batch, &summed, &cols, &lost_b])?;
    let letters = [batch.as_slice(), &rows, &cols].concat();
    let mut y = Tensor::scratch(letters.iter().map(size).collect::<Dims>(), workspace);
    for i in 0..if m * n > 0 { batches } else { 0 } {
        let (a, b) = (&a.data()[i * m * k..][..m * k], &b.data()[i * k * n..][..k * n]);
        let y = &mut y.data_mut()[i * m * n..][..m * n];
        gemm_parallel(1.0, Mat::new(a, m, k), Mat::new(b, k, n), 0.0, MatMut::new(y, m, n));
    }
    let order: Vec<usize> = out.iter().filter_map(|l| letters.iter().position(|other| other == l)).collect();
    if order.is_sorted() { Ok(y) } else { transpose(&y, &order) }
}
