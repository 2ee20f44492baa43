//! Where the gradients of weights are gathered.

use super::Param;
use crate::kernels::gemm::{Mat, MatMut, gemm, gemm_parallel};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

/// A gradient of more values than this leaves the caches before the optimizer reads it: ...
const LARGE: usize = 1 << 20;
/// ... then it may stay a product of matrices that have, with this factor, fewer values, ...
const TIMES_FEWER: usize = 8;
/// ... and so few rows that it is not worth copying them for the product.
const MOST_ROWS: usize = 64;

/// The gradients of a set of weights.
#[derive(Debug, Clone)]
pub struct GradientStore {
    index: Arc<HashMap<u64, usize>>,
    values: Vec<Tensor>,
    /// Of each weight whose gradient is left to the optimizer: its products. Then the values are zeros.
    products: Vec<Option<Products>>,
}

impl GradientStore {
    /// Zero gradients for these weights.
    pub fn new(params: &[Param]) -> Self {
        GradientStore {
            index: Arc::new(params.iter().enumerate().map(|(i, p)| (p.id(), i)).collect()),
            values: params.iter().map(|p| Tensor::zeros(p.shape())).collect(),
            products: vec![None; params.len()],
        }
    }

    /// The gradient of a weight; none when it is not among those that are learned.
    pub fn get(&self, param: &Param) -> Option<&Tensor> {
        self.values.get(*self.index.get(&param.id())?)
    }

    /// The gradient of a weight, to be changed.
    pub fn get_mut(&mut self, param: &Param) -> Option<&mut Tensor> {
        let at = *self.index.get(&param.id())?;
        let values = self.values.get_mut(at)?;
        if let Some(products) = self.products[at].take() {
            products.add_to(values.data_mut());
        }
        Some(values)
    }

    /// All gradients, in the order of the weights.
    pub fn values(&self) -> &[Tensor] {
        &self.values
    }

    /// All gradients, to be changed.
    pub fn values_mut(&mut self) -> &mut [Tensor] {
        &mut self.values
    }

    /// Sets all to zero.
    pub fn clear(&mut self) {
        self.values.iter_mut().for_each(|g| g.data_mut().fill(0.0));
        self.products.fill(None);
    }

    /// Adds the product of the transpose of `left`, `(..., n)`, and `right`, `(..., m)`, to the gradient of a weight.
    pub(crate) fn add_product(&mut self, param: &Param, left: &Tensor, right: &Tensor) {
        let Some(&at) = self.index.get(&param.id()) else { return };
        let product = Product { left: left.clone(), right: right.clone() };
        match &mut self.products[at] {
            Some(products) if product.is_small() => products.0.push(product),
            _ => {
                if let Some(values) = self.get_mut(param) {
                    product.add_to(values.data_mut());
                }
            }
        }
    }

    /// Lets the gradients of large weights, which are zeros now, be left to the optimizer, or none. Those of `params`
    /// alone are, which are all that are here.
    pub(crate) fn leave_products(&mut self, params: &[Param], allowed: bool) {
        for (products, param) in self.products.iter_mut().zip(params) {
            // A penalty is added to the values.
            let leaves = allowed && param.len() >= LARGE && param.shape().len() == 2 && param.regularizer().is_none();
            *products = leaves.then(Products::default);
        }
    }

    /// All gradients as values, to be changed, and as products where those are left.
    pub(crate) fn parts_mut(&mut self) -> impl Iterator<Item = (&mut Tensor, Option<&Products>)> {
        self.values.iter_mut().zip(self.products.iter().map(Option::as_ref))
    }

    /// Gives up the products, which have been used.
    pub(crate) fn forget_products(&mut self) {
        self.products.fill(None);
    }
}

/// A gradient that is not computed yet: the sum of these.
#[derive(Debug, Clone, Default)]
pub(crate) struct Products(SmallVec<[Product; 1]>);

/// The product of the transpose of one matrix and another one, both with a row for each sample.
#[derive(Debug, Clone)]
struct Product {
    left: Tensor,
    right: Tensor,
}

impl Products {
    /// Computes as many rows as there is place for, from `first` on.
    pub fn rows(&self, first: usize, to: &mut [f32]) {
        if self.0.is_empty() {
            to.fill(0.0);
        }
        for (i, product) in self.0.iter().enumerate() {
            let (left, right) = product.matrices();
            let (cols, beta) = (product.cols(), if i == 0 { 0.0 } else { 1.0 });
            let rows = to.len() / cols;
            gemm(1.0, left.rows(first, rows), right, beta, MatMut::new(to, rows, cols));
        }
    }

    fn add_to(&self, to: &mut [f32]) {
        self.0.iter().for_each(|product| product.add_to(to));
    }
}

#[cfg(test)]
impl FromIterator<(Tensor, Tensor)> for Products {
    fn from_iter<I: IntoIterator<Item = (Tensor, Tensor)>>(products: I) -> Self {
        Products(products.into_iter().map(|(left, right)| Product { left, right }).collect())
    }
}

impl Product {
    fn cols(&self) -> usize {
        self.right.shape().last().copied().unwrap_or(1).max(1)
    }

    /// The transpose of the left one, and the right one.
    fn matrices(&self) -> (Mat<'_>, Mat<'_>) {
        let samples = self.right.len() / self.cols();
        let rows = self.left.len() / samples.max(1);
        (Mat::new(self.left.data(), samples, rows).t(), Mat::new(self.right.data(), samples, self.cols()))
    }

    /// Whether it takes much less memory than what it gives.
    fn is_small(&self) -> bool {
        let samples = self.right.len() / self.cols();
        let values = self.left.len() / samples.max(1) * self.cols();
        samples <= MOST_ROWS && TIMES_FEWER * (self.left.len() + self.right.len()) <= values
    }

    fn add_to(&self, to: &mut [f32]) {
        let (left, right) = self.matrices();
        let cols = self.cols();
        gemm_parallel(1.0, left, right, 1.0, MatMut::new(to, to.len() / cols, cols));
    }
}
