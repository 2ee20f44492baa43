//! Scores of sums: `outer · Σ weight · tanh(inner · (query + key))`, for each query and each key.

use super::heads::Heads;
use crate::activations::math::tanh;
use crate::kernels::vectorised;
use crate::layer::{Backward, Forward};
use crate::runtime::threads;
use crate::tensor::Tensor;

/// Values that are summed side by side; their order is fixed.
const LANES: usize = 16;

/// The numbers in the formula.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    /// One for each feature; none is 1.
    pub weight: Option<Tensor>,
    pub inner: f32,
    pub outer: f32,
}

/// The gradients of queries and keys, and of the numbers.
pub(super) struct PairGradients {
    pub query: Tensor,
    pub key: Tensor,
    pub weight: Vec<f64>,
    pub inner: f64,
    pub outer: f64,
}

impl Pairs {
    /// The scores after their softmax; `finish` as in [`Heads::scores`]. There is one head.
    pub fn scores(
        &self,
        sizes: &Heads,
        q: &Tensor,
        k: &Tensor,
        cx: &Forward<'_>,
        finish: impl Fn([usize; 3], &mut [f32], bool) + Sync,
    ) -> Tensor {
        let Heads { batch, queries, keys, size, .. } = *sizes;
        let mut scores = cx.scratch([batch, 1, queries, keys]);
        let weight = self.weights(size);
        let (inner, outer) = (self.inner, self.outer);
        threads::for_each_chunk(scores.data_mut(), queries * keys, |batch, scores| {
            for (query, row) in scores.chunks_exact_mut(keys).enumerate() {
                let q = &q.data()[(batch * queries + query) * size..][..size];
                let k = &k.data()[batch * keys * size..][..keys * size];
                let weight = &weight[..];
                vectorised(
                    #[inline(always)]
                    move || {
                        for (key, score) in row.iter_mut().enumerate() {
                            let k = &k[key * size..][..size];
                            let term = |i: usize| weight[i] * tanh(inner * (q[i] + k[i]));
                            let mut lanes = [0f32; LANES];
                            for start in (0..size / LANES).map(|chunk| chunk * LANES) {
                                (0..LANES).for_each(|lane| lanes[lane] += term(start + lane));
                            }
                            let rest = (size / LANES * LANES..size).map(term).sum::<f32>();
                            *score = outer * (lanes.iter().sum::<f32>() + rest);
                        }
                    },
                );
            }
            sizes.softmax(scores, batch, 0, &finish);
        });
        scores
    }

    fn weights(&self, size: usize) -> Vec<f32> {
        self.weight.as_ref().map_or_else(|| vec![1.0; size], |weight| weight.data().to_vec())
    }

    /// From the gradient of the scores before their softmax.
    pub fn backward(
        &self,
        sizes: &Heads,
        dscores: &Tensor,
        q: &Tensor,
        k: &Tensor,
        cx: &Backward<'_>,
    ) -> PairGradients {
        let Heads { queries, keys, size, .. } = *sizes;
        let (mut dq, mut dk) = (cx.scratch(q.shape()), cx.scratch(k.shape()));
        // For each sample the gradients of the weights, then of `inner` and `outer`.
        let mut numbers = cx.scratch([sizes.batch, size + 2]);
        [&mut dq, &mut dk, &mut numbers].into_iter().for_each(|x| x.data_mut().fill(0.0));
        let weight = self.weights(size);
        let (inner, outer) = (self.inner, self.outer);
        let parts =
            dq.data_mut().chunks_mut((queries * size).max(1)).zip(dk.data_mut().chunks_mut((keys * size).max(1)));
        let mut parts: Vec<_> = parts.zip(numbers.data_mut().chunks_mut(size + 2)).collect();
        threads::for_each(&mut parts, |batch, ((dq, dk), numbers)| {
            let dscores = &dscores.data()[batch * queries * keys..][..queries * keys];
            let (dweight, others) = numbers.split_at_mut(size);
            let [mut dinner, mut douter] = [0f64; 2];
            for (i, &g) in dscores.iter().enumerate().filter(|(_, g)| **g != 0.0) {
                let (query, key) = (i / keys, i % keys);
                let q = &q.data()[(batch * queries + query) * size..][..size];
                let k = &k.data()[(batch * keys + key) * size..][..size];
                let (dq, dk) = (&mut dq[query * size..][..size], &mut dk[key * size..][..size]);
                let (weight, dweight) = (&weight[..], &mut *dweight);
                let (of_inner, of_outer) = vectorised(
                    #[inline(always)]
                    move || {
                        let (mut of_inner, mut of_outer) = (0.0, 0.0);
                        for i in 0..size {
                            let sum = q[i] + k[i];
                            let y = tanh(inner * sum);
                            let dz = g * outer * weight[i] * (1.0 - y * y);
                            dweight[i] += g * outer * y;
                            dq[i] += inner * dz;
                            dk[i] += inner * dz;
                            of_inner += dz * sum;
                            of_outer += g * weight[i] * y;
                        }
                        (of_inner, of_outer)
                    },
                );
                dinner += f64::from(of_inner);
                douter += f64::from(of_outer);
            }
            others.copy_from_slice(&[dinner as f32, douter as f32]);
        });
        let mut sums = vec![0f64; size + 2];
        for row in numbers.data().chunks_exact(size + 2) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let (inner, outer) = (sums[size], sums[size + 1]);
        sums.truncate(size);
        PairGradients { query: dq, key: dk, weight: sums, inner, outer }
    }
}
