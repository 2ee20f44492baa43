//! `predict`: outputs for inputs. Needs no `compile`, changes nothing, works from several threads.

use super::inputs::{Inputs, check_batch_size, gather};
use super::pieces::{Piece, concatenate, cut};
use crate::error::Result;
use crate::layer::{Effects, Forward, Pass, Saved, Values};
use crate::model::Model;
use crate::runtime::threads;
use crate::tensor::Tensor;
use ndarray::ArrayD;
use std::ops::Range;

/// Options of [`Model::predict`]: batches of 32.
#[derive(Clone, Debug)]
pub struct Predict {
    batch_size: usize,
}

impl Default for Predict {
    fn default() -> Self {
        Predict { batch_size: 32 }
    }
}

impl Predict {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples that are computed together: more need more memory.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }
}

impl Model {
    /// The outputs for `x`, an `ndarray` array or view whose first axis counts samples.
    ///
    /// # Errors
    /// When the model is not built, `x` is empty or has another shape than the model's input.
    pub fn predict<'a>(&self, x: impl Into<Inputs<'a>>, options: Predict) -> Result<ArrayD<f32>> {
        let x = x.into();
        let graph = self.built()?;
        let n = x.samples("x")?;
        check_batch_size(options.batch_size)?;
        let rows: Vec<usize> = (0..n).collect();
        let run = || -> Result<Tensor> {
            let mut outputs = Vec::new();
            let mut pieces: Vec<(Piece, Result<Values>)> = Vec::new();
            for rows in rows.chunks(options.batch_size) {
                let ranges: Vec<Range<usize>> = cut(rows.len()).collect();
                pieces.resize_with(pieces.len().max(ranges.len()), || (Piece::new(), Ok(Values::default())));
                threads::for_each(&mut pieces[..ranges.len()], |i, (piece, output)| {
                    let pass = Pass {
                        training: false,
                        seed: self.seed,
                        step: 0,
                        first_sample: 0,
                        share: 1.0,
                        workspace: piece.workspace.clone(),
                    };
                    let mut cx = Forward {
                        pass: &pass,
                        saved: &mut Saved::default(),
                        effects: &mut Effects::default(),
                        stream: 0,
                        trainable: true,
                        recording: false,
                        inputs_need_gradient: false,
                    };
                    *output = graph.forward(gather(&x, &rows[ranges[i].clone()], &piece.workspace), &mut cx);
                });
                for (_, output) in &mut pieces[..ranges.len()] {
                    let values = std::mem::replace(output, Ok(Values::default()))?.one()?;
                    // Copied out, so that the memory goes back to its piece.
                    outputs.push(Tensor::new(values.shape(), values.data().to_vec())?);
                }
            }
            concatenate(outputs)
        };
        Ok(threads::enter(run)?.into_array())
    }

    /// The outputs for one batch, computed together (Keras: `predict_on_batch`).
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_on_batch<'a>(&self, x: impl Into<Inputs<'a>>) -> Result<ArrayD<f32>> {
        let x = x.into();
        let n = x.samples("x")?;
        self.predict(x, Predict::new().batch_size(n))
    }
}
