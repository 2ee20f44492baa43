//! Batches for `fit`, `evaluate` and `predict`, from arrays or from a dataset.

use super::inputs::{Inputs, check_batch_size, check_pair, check_weights, gather};
use super::pieces::slice;
use crate::data::{Cardinality, Dataset, Item, Iter};
use crate::error::{Context, Result, ensure};
use crate::layer::Values;
use crate::model::Model;
use crate::random;
use crate::runtime::Workspace;
use crate::shape::Dims;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Gives one batch after the other. A *pass* runs once over the data; an epoch may be a part of one.
pub(crate) struct Feed<'a> {
    source: Source<'a>,
    batch_size: usize,
    class_weight: Option<&'a BTreeMap<i64, f64>>,
    /// Samples of this pass that were given.
    seen: usize,
    /// Whether a new pass must begin before there are more.
    over: bool,
    /// The step and the epoch in which this pass began: what its order and its elements follow from.
    began: (u64, usize),
}

/// Where a [`Feed`] stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    began: (u64, usize),
    /// The samples and the batches of the pass that were given.
    seen: usize,
    batches: usize,
    over: bool,
}

enum Source<'a> {
    Arrays {
        x: &'a Inputs<'a>,
        y: &'a Inputs<'a>,
        weights: Option<&'a Inputs<'a>>,
        /// Those of the rows that are used, and their order in this pass.
        rows: Range<usize>,
        order: Vec<usize>,
        shuffle: bool,
    },
    Dataset {
        dataset: &'a Dataset,
        batches: Dataset,
        pass: Option<Iter>,
        /// A batch that was looked at before its turn.
        ahead: Option<Item>,
        current: Item,
        /// The number of the current batch in its pass.
        number: usize,
    },
}

impl<'a> Feed<'a> {
    /// From arrays, or from a dataset, for which `y` and `weights` are left out.
    pub fn new(
        x: &'a Inputs<'a>,
        y: &'a Inputs<'a>,
        weights: Option<&'a Inputs<'a>>,
        batch_size: usize,
    ) -> Result<Self> {
        check_batch_size(batch_size)?;
        let source = match x {
            Inputs::Dataset(dataset) => {
                ensure!(y.is_none(), Argument, "x is a Dataset, which brings the targets along; give () for y");
                ensure!(
                    weights.is_none(),
                    Argument,
                    "x is a Dataset, whose elements bring sample weights along; sample_weight is for arrays"
                );
                let batches = dataset.batches(batch_size, 0);
                Source::Dataset { dataset, batches, pass: None, ahead: None, current: Item::default(), number: 0 }
            }
            Inputs::Arrays(_) => {
                let n = check_pair(x, y)?;
                check_weights(weights, n)?;
                Source::Arrays { x, y, weights, rows: 0..n, order: (0..n).collect(), shuffle: false }
            }
        };
        Ok(Feed { source, batch_size, class_weight: None, seen: 0, over: true, began: (0, 0) })
    }

    /// The same data, cut in two: what stands before the last `fraction` of the samples, and that.
    pub fn split(self, fraction: f64) -> Result<(Self, Option<Self>)> {
        let Source::Arrays { x, y, weights, ref rows, .. } = self.source else {
            ensure!(
                fraction == 0.0,
                Argument,
                "validation_split is for arrays; split a Dataset with its split or its take and skip"
            );
            return Ok((self, None));
        };
        let n = rows.len();
        let kept = (n as f64 * (1.0 - fraction)) as usize;
        ensure!(kept > 0, Data, "validation_split {fraction} leaves none of {n} samples to train on");
        let part = |rows: Range<usize>| Feed {
            source: Source::Arrays { x, y, weights, order: rows.clone().collect(), rows, shuffle: false },
            ..self
        };
        Ok((part(0..kept), (kept < n).then(|| part(kept..n))))
    }

    /// Samples in a new order in each pass, for arrays; a dataset shuffles by itself.
    pub fn shuffled(mut self, yes: bool) -> Self {
        if let Source::Arrays { shuffle, .. } = &mut self.source {
            *shuffle = yes;
        }
        self
    }

    /// How much the samples of each class count. There must be no sample weights besides.
    pub fn class_weight(mut self, weights: Option<&'a BTreeMap<i64, f64>>) -> Self {
        self.class_weight = weights;
        self
    }

    pub fn batch_size(mut self, batch_size: usize) -> Result<Self> {
        check_batch_size(batch_size)?;
        self.batch_size = batch_size;
        Ok(self)
    }

    /// The batches of a pass, as far as they are known.
    pub fn steps(&self) -> Cardinality {
        match &self.source {
            Source::Arrays { rows, .. } => Cardinality::Known(rows.len().div_ceil(self.batch_size)),
            Source::Dataset { batches, .. } => batches.cardinality(),
        }
    }

    /// Begins a new pass if the last one is over.
    pub fn begin(&mut self, model: &Model, epoch: usize) -> Result<()> {
        // An epoch of so many steps may have taken the last batch of a pass without asking for one more: only a look
        // ahead tells. A pass that gave nothing yet is left alone, so that an empty dataset is still an error.
        if !self.over
            && let Source::Dataset { pass, ahead, number, .. } = &mut self.source
            && *number > 0
            && ahead.is_none()
        {
            *ahead = pass.as_mut().and_then(Iterator::next).transpose()?;
            self.over = ahead.is_none();
        }
        if !std::mem::take(&mut self.over) {
            return Ok(());
        }
        (self.seen, self.began) = (0, (model.iterations()?, epoch));
        self.open(model.seed, 0);
        Ok(())
    }

    /// Opens the pass that began then, behind so many batches.
    fn open(&mut self, seed: u64, skip: usize) {
        let (step, epoch) = self.began;
        match &mut self.source {
            Source::Arrays { rows, order, shuffle, .. } => {
                if *shuffle {
                    let stream = random::stream_of("shuffle");
                    *order = random::permutation(rows.len(), &mut random::stream(seed, stream, step, 0));
                }
            }
            Source::Dataset { dataset, batches, pass, ahead, number, .. } => {
                let rest = if skip > 0 { dataset.batches(self.batch_size, skip) } else { batches.clone() };
                (*pass, *ahead, *number) = (Some(rest.pass(seed, epoch)), None, skip);
            }
        }
    }

    /// Where it stands, between two batches.
    pub fn place(&self) -> Place {
        let batches = match &self.source {
            Source::Arrays { .. } => 0,
            Source::Dataset { number, .. } => *number,
        };
        Place { began: self.began, seen: self.seen, batches, over: self.over }
    }

    /// Goes to where another feed of the same data stood. Elements that were given already are not made again, as far as the
    /// stages of a dataset can [skip](Dataset::skip) them.
    pub fn go_to(&mut self, place: &Place, seed: u64) -> Result<()> {
        let most = match &self.source {
            Source::Arrays { rows, .. } => rows.len(),
            Source::Dataset { .. } => usize::MAX / 2,
        };
        ensure!(place.seen <= most, State, "{} samples of a pass were seen; it has no more than {most}", place.seen);
        (self.began, self.seen, self.over) = (place.began, place.seen, place.over);
        if !self.over {
            self.open(seed, place.batches);
        }
        Ok(())
    }

    /// What must be the same so that a place means the same, as (name, value).
    pub fn conditions(&self) -> Vec<(String, String)> {
        let mut conditions = vec![("the batch size".to_owned(), self.batch_size.to_string())];
        if let Source::Arrays { rows, shuffle, .. } = &self.source {
            conditions.push(("the number of samples".to_owned(), rows.len().to_string()));
            conditions.push(("shuffle".to_owned(), shuffle.to_string()));
        }
        conditions
    }

    /// Ends the pass: the next [`begin`](Self::begin) starts a new one. The workers of a dataset and what they made ahead
    /// do not outlive it.
    pub fn end(&mut self) {
        self.over = true;
        if let Source::Dataset { pass, ahead, current, .. } = &mut self.source {
            (*pass, *ahead, *current) = (None, None, Item::default());
        }
    }

    /// The shape of a sample. A dataset makes its first batch for it, which is given again when its turn comes.
    pub fn sample_shape(&mut self, model: &Model, epoch: usize) -> Result<Dims> {
        if let Source::Arrays { x, .. } = &self.source {
            return Ok(x.sample_shape());
        }
        self.begin(model, epoch)?;
        let Source::Dataset { pass, ahead, .. } = &mut self.source else { return Ok(Dims::new()) };
        if ahead.is_none() {
            *ahead = pass.as_mut().and_then(Iterator::next).transpose()?;
        }
        let first = ahead.as_ref().and_then(|item| item.x.first());
        Ok(first.map(|x| Dims::from_slice(x.shape().get(1..).unwrap_or(&[]))).unwrap_or_default())
    }

    /// The next batch of the pass, or none when it is over.
    pub fn next(&mut self, workspace: &Arc<Workspace>) -> Result<Option<Batch<'_>>> {
        let first_sample = self.seen as u64;
        let mut batch = match &mut self.source {
            Source::Arrays { x, y, weights, order, .. } => {
                let rows =
                    &order[self.seen.min(order.len())..self.seen.saturating_add(self.batch_size).min(order.len())];
                if rows.is_empty() {
                    self.over = true;
                    return Ok(None);
                }
                self.over = self.seen + rows.len() >= order.len();
                let collect = |source: &Inputs<'_>| gather(source, rows, workspace);
                let (y, sample_weight) = (collect(y), weights.map(collect).unwrap_or_default());
                Batch { x: Samples::Rows(x, rows), y, sample_weight, first_sample }
            }
            Source::Dataset { pass, ahead, current, number, .. } => {
                let item = match ahead.take() {
                    Some(item) => Some(item),
                    None => pass.as_mut().and_then(Iterator::next).transpose()?,
                };
                let Some(item) = item else {
                    ensure!(*number > 0, Data, "the dataset is empty: it has no batches");
                    (*pass, self.over) = (None, true);
                    return Ok(None);
                };
                check_batch(&item).at(|| format!("batch {number} of the dataset"))?;
                *number += 1;
                *current = item;
                Batch {
                    y: current.y.iter().cloned().collect(),
                    sample_weight: current.weights.iter().cloned().collect(),
                    x: Samples::Tensors(&current.x),
                    first_sample,
                }
            }
        };
        self.seen += batch.len();
        if let Some(weights) = self.class_weight {
            ensure!(
                batch.sample_weight.is_empty(),
                Argument,
                "class_weight and sample weights cannot be used together; multiply them into the sample weights"
            );
            ensure!(
                batch.y.len() == 1,
                Argument,
                "class_weight is for models of one output; use sample_weight, with an array for each output"
            );
            batch.sample_weight = class_weights(&batch.y[0], weights)?.into();
        }
        Ok(Some(batch))
    }
}

/// Checks that all tensors of a batch hold as many samples.
fn check_batch(item: &Item) -> Result<()> {
    let n = item.samples();
    ensure!(n > 0, Data, "it holds no samples; its first input has the shape {:?}", item.x.first().map(Tensor::shape));
    let (y, weights) = (item.y.len(), item.weights.len());
    ensure!(
        weights <= 1 || weights == y,
        Data,
        "it holds {weights} tensors of sample weights; that must be none, one, or as many as there are targets, which are {y}"
    );
    let all = [("x", &item.x), ("y", &item.y), ("sample weights", &item.weights)];
    for (name, tensor) in all.iter().flat_map(|(name, tensors)| tensors.iter().map(move |tensor| (name, tensor))) {
        ensure!(
            tensor.rank() > 0 && tensor.batch() == n,
            Data,
            "x has {n} samples and {name} has the shape {:?}; the first dimension of all must count the samples",
            tensor.shape()
        );
    }
    Ok(())
}

/// A batch: samples, their targets and weights.
pub(crate) struct Batch<'a> {
    x: Samples<'a>,
    /// The targets of these samples, array by array.
    pub y: Values,
    /// Their weights: none, the same for all outputs, or an array for each of the targets.
    sample_weight: Values,
    /// The place in the epoch of the first sample.
    pub first_sample: u64,
}

enum Samples<'a> {
    /// These rows of arrays.
    Rows(&'a Inputs<'a>, &'a [usize]),
    /// All there is in tensors.
    Tensors(&'a [Tensor]),
}

impl Batch<'_> {
    /// The number of samples.
    pub fn len(&self) -> usize {
        match self.x {
            Samples::Rows(_, rows) => rows.len(),
            Samples::Tensors(tensors) => tensors.first().map_or(0, Tensor::batch),
        }
    }

    /// The weights of the samples for the target array `i`.
    pub fn weight(&self, i: usize) -> Option<&Tensor> {
        if self.sample_weight.len() == 1 { self.sample_weight.first() } else { self.sample_weight.get(i) }
    }

    /// The inputs for some of the samples.
    pub fn gather(&self, range: Range<usize>, workspace: &Arc<Workspace>) -> Values {
        match self.x {
            Samples::Rows(x, rows) => gather(x, &rows[range], workspace),
            Samples::Tensors(tensors) => tensors.iter().map(|x| slice(x, range.clone(), workspace)).collect(),
        }
    }
}

/// The weight of each sample by its class.
fn class_weights(y: &Tensor, weights: &BTreeMap<i64, f64>) -> Result<Tensor> {
    let label = |row: &[f32]| match row {
        [label] => label.round() as i64,
        one_hot => {
            let largest = |best: usize, (i, v): (usize, &f32)| if *v > one_hot[best] { i } else { best };
            one_hot.iter().enumerate().fold(0, largest) as i64
        }
    };
    let n = y.batch();
    let values = (0..n).map(|i| weights.get(&label(y.row(i))).map_or(1.0, |w| *w as f32)).collect();
    Tensor::new([n], values)
}
