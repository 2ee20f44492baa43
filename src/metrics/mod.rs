//! What training reports.
use crate::error::Result;
use crate::tensor::Tensor;
/// A metric.
pub trait Metric: std::fmt::Debug + Send + Sync {
    /// Check.
    fn check(&self) -> Result<()> {
        Ok(())
    }
    /// Name.
    fn name(&self) -> String;
    /// Update.
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, w: Option<&Tensor>) -> Result<()>;
    /// Result.
    fn result(&self) -> f64;
    /// Results.
    fn results(&self) -> Vec<f64> {
        vec![self.result()]
    }
    /// Reset.
    fn reset(&mut self);
}
/// Mean
#[derive(Debug, Default)]
pub struct Mean {
    total: f64,
    count: f64,
}
impl Mean {
    /// Add
    pub fn add(&mut self, v: f64, w: f64) {
        self.total += v * w;
        self.count += w;
    }
    /// r
    pub fn result(&self) -> f64 {
        self.total / self.count.max(1e-30)
    }
    /// r
    pub fn reset(&mut self) {
        *self = Self::default()
    }
}
/// Metrics
#[derive(Debug)]
pub struct Metrics(pub Vec<Box<dyn Metric>>);
impl From<()> for Metrics {
    fn from(_: ()) -> Self {
        Metrics(vec![])
    }
}
impl<const N: usize> From<[&str; N]> for Metrics {
    fn from(_: [&str; N]) -> Self {
        Metrics(vec![Box::new(Acc { m: Mean::default() })])
    }
}
impl From<&str> for Metrics {
    fn from(_: &str) -> Self {
        Metrics(vec![Box::new(Acc { m: Mean::default() })])
    }
}
#[derive(Debug)]
struct Acc {
    m: Mean,
}
impl Metric for Acc {
    fn name(&self) -> String {
        "accuracy".into()
    }
    fn update(&mut self, y: &Tensor, p: &Tensor, _: Option<&Tensor>) -> Result<()> {
        for i in 0..p.batch() {
            let row = p.row(i);
            let best = (0..row.len()).fold(0, |b, j| if row[j] > row[b] { j } else { b });
            self.m.add(f64::from(u8::from(best as f32 == y.data()[i])), 1.0);
        }
        Ok(())
    }
    fn result(&self) -> f64 {
        self.m.result()
    }
    fn reset(&mut self) {
        self.m.reset()
    }
}
