//! Trajectories of real Keras (3.15.1, TensorFlow), and what surrounds a step.

use super::*;
use crate::constraints::{Constraint, MaxNorm};
use crate::schedules::{ExponentialDecay, PiecewiseConstantDecay};

/// The weights and gradients that the golden values were made with: a 2x2 kernel and a bias of 2.
struct Run {
    optimizer: Shared<dyn Optimizer>,
    state: OptimizerState,
    kernel: Tensor,
    bias: Tensor,
}

impl Run {
    fn new(optimizer: impl Into<Shared<dyn Optimizer>>) -> Self {
        let optimizer = optimizer.into();
        let first = |i: usize| ((i * 5 % 7) as f32 - 3.0) / 4.0;
        Run {
            state: OptimizerState::new(&*optimizer).unwrap(),
            optimizer,
            kernel: Tensor::new([2, 2], (0..4).map(first).collect()).unwrap(),
            bias: Tensor::new([2], (4..6).map(first).collect()).unwrap(),
        }
    }

    fn step(&mut self) {
        self.step_with(None);
    }

    fn step_with(&mut self, constraint: Option<&dyn Constraint>) {
        let k = self.state.iterations() as usize;
        let mut g: Vec<f32> = (0..6).map(|i| ((k * 7 + i * 3) % 11) as f32 / 8.0 - 0.625).collect();
        let (kernel, bias) = g.split_at_mut(4);
        let mut updates = [
            Update { constraint, ..Update::new("dense/kernel", &mut self.kernel, kernel) },
            Update::new("dense/bias", &mut self.bias, bias),
        ];
        self.state.apply(&*self.optimizer, &mut updates).unwrap();
    }

    fn finish(&mut self) {
        self.state.finish([("dense/kernel", &mut self.kernel), ("dense/bias", &mut self.bias)]);
    }

    fn values(&self) -> Vec<f32> {
        [self.kernel.data(), self.bias.data()].concat()
    }

    #[track_caller]
    fn expect(&self, golden: [f32; 6]) {
        for (i, (value, golden)) in self.values().iter().zip(golden).enumerate() {
            assert!(
                (value - golden).abs() < 2e-6 * (1.0 + golden.abs()),
                "{:?} step {} value {i}: {value} is not {golden}",
                self.optimizer,
                self.state.iterations()
            );
        }
    }
}

/// Compares the weights after the first and the seventh step.
#[track_caller]
fn golden(optimizer: impl Into<Shared<dyn Optimizer>>, after_1: [f32; 6], after_7: [f32; 6]) -> Run {
    let mut run = Run::new(optimizer);
    run.step();
    run.expect(after_1);
    (1..7).for_each(|_| run.step());
    run.expect(after_7);
    run
}

#[test]
fn sgd() {
    golden(
        Sgd::new(0.1),
        [-0.6875, 0.525, -0.0125, -0.55, 0.8, 0.2625],
        [-0.775, 0.48749998, 9.313226e-10, -0.48750004, 0.775, 0.2875],
    );
    golden(
        Sgd::new(0.1).momentum(0.9),
        [-0.6875, 0.525, -0.0125, -0.55, 0.8, 0.2625],
        [-0.6662603, 0.32985014, -0.017508265, -0.557434, 1.0185182, 0.4360347],
    );
    golden(
        Sgd::new(0.1).momentum(0.9).nesterov(true),
        [-0.63125, 0.5475, -0.02375, -0.595, 0.845, 0.27375],
        [-0.69963425, 0.3343652, -0.015757434, -0.53919065, 1.0166664, 0.45493126],
    );
    golden(
        Sgd::new(PiecewiseConstantDecay::new([2, 5], [0.2, 0.1, 0.02])).momentum(0.5),
        [-0.625, 0.55, -0.025, -0.6, 0.85, 0.275],
        [-0.5963282, 0.29749998, -0.061953127, -0.46437508, 0.94765633, 0.37507817],
    );
}

#[test]
fn adam() {
    golden(
        Adam::new(0.05),
        [-0.7000006, 0.54999906, -0.0499984, -0.54999936, 0.79999936, 0.2999984],
        [-0.6754396, 0.47371724, -0.042575527, -0.5765675, 0.871747, 0.38552573],
    );
    golden(
        Adam::new(0.05).beta_2(0.6).amsgrad(true).epsilon(1e-3),
        [-0.7001262, 0.5496858, -0.049375433, -0.54984236, 0.79984236, 0.29937544],
        [-0.67675865, 0.48130202, -0.041270953, -0.57473075, 0.86503077, 0.3745233],
    );
    golden(
        AdamW::new(0.05),
        [-0.69985056, 0.54989904, -0.0499984, -0.54989934, 0.79984933, 0.2999484],
        [-0.67448145, 0.47300863, -0.04252636, -0.57577235, 0.8706007, 0.3850443],
    );
    golden(
        Adam::new(0.05).gradient_accumulation_steps(2).clipnorm(0.4),
        [-0.75, 0.5, 0.0, -0.5, 0.75, 0.25],
        [-0.69266146, 0.41681653, 0.023743555, -0.5600701, 0.87482786, 0.32920817],
    );
}

#[test]
fn decay_and_clipping() {
    golden(
        Sgd::new(0.1).weight_decay(0.05),
        [-0.68375, 0.5225, -0.0125, -0.5475, 0.79625, 0.26125],
        [-0.74999976, 0.47125378, 0.00012344588, -0.46964896, 0.74753064, 0.27777195],
    );
    golden(
        Sgd::new(0.1).weight_decay(0.5).exclude_from_weight_decay(["bias"]),
        [-0.65, 0.5, -0.0125, -0.525, 0.8, 0.2625],
        [-0.55603373, 0.34602988, 0.0011028247, -0.33169323, 0.775, 0.2875],
    );
    golden(
        Sgd::new(0.1).clipnorm(0.4),
        [-0.7205116, 0.51179534, -0.0058976784, -0.5235907, 0.7888057, 0.25970143],
        [-0.76570106, 0.48993894, 0.002980961, -0.4913789, 0.7937096, 0.25479755],
    );
    golden(
        Sgd::new(0.1).clipvalue(0.3),
        [-0.72, 0.525, -0.0125, -0.53, 0.78, 0.2625],
        [-0.7624999, 0.5125, 9.313226e-10, -0.5125, 0.76250005, 0.27999997],
    );
    golden(
        Sgd::new(0.1).global_clipnorm(0.4),
        [-0.7248024, 0.510079, -0.005039526, -0.5201581, 0.7701581, 0.2550395],
        [-0.75216395, 0.4933092, -0.008001203, -0.48519894, 0.7634907, 0.25896382],
    );
    golden(
        Sgd::new(0.1).loss_scale_factor(8.0),
        [-0.7421875, 0.503125, -0.0015625, -0.50625, 0.75625, 0.2515625],
        [-0.753125, 0.4984375, 1.1641532e-10, -0.49843752, 0.753125, 0.2546875],
    );
}

#[test]
fn accumulation() {
    golden(
        Sgd::new(0.1).momentum(0.9).weight_decay(0.1).gradient_accumulation_steps(3),
        [-0.75, 0.5, 0.0, -0.5, 0.75, 0.25],
        [-0.7082, 0.4543833, -0.011583334, -0.47755003, 0.7716583, 0.25985834],
    );
    golden(
        Sgd::new(ExponentialDecay::new(0.1, 2, 0.5)).gradient_accumulation_steps(3),
        [-0.75, 0.5, 0.0, -0.5, 0.75, 0.25],
        [-0.74179304, 0.4909301, -0.0034300974, -0.49779028, 0.7578495, 0.25538704],
    );
}

#[test]
fn averages() {
    let mut run = golden(
        Sgd::new(0.1).use_ema(true).ema_momentum(0.8),
        [-0.6875, 0.525, -0.0125, -0.55, 0.8, 0.2625],
        [-0.775, 0.48749998, 9.313226e-10, -0.48750004, 0.775, 0.2875],
    );
    run.finish();
    run.expect([-0.72863835, 0.47822, -0.0050464, -0.51492405, 0.8019344, 0.279068]);
    let mut run = golden(
        Sgd::new(0.1).use_ema(true).ema_momentum(0.8).ema_overwrite_frequency(3),
        [-0.6875, 0.525, -0.0125, -0.55, 0.8, 0.2625],
        [-0.769, 0.5503, 0.014, -0.5663, 0.753, 0.30469996],
    );
    run.finish();
    run.expect([-0.72900003, 0.5103, 0.0039999997, -0.5463, 0.80300003, 0.27469996]);
    let mut run = golden(
        Sgd::new(0.1).gradient_accumulation_steps(3).use_ema(true).ema_momentum(0.8).ema_overwrite_frequency(2),
        [-0.75, 0.5, 0.0, -0.5, 0.75, 0.25],
        [-0.7316667, 0.4825, -0.0075000008, -0.4975, 0.7625, 0.26333335],
    );
    run.finish();
    run.expect([-0.7316667, 0.48250002, -0.0075000003, -0.4975, 0.7625, 0.26333335]);
}

#[test]
fn averages_come_before_constraints() {
    let mut run = Run::new(Sgd::new(0.1).use_ema(true).ema_momentum(0.8).ema_overwrite_frequency(2));
    let limit = MaxNorm::new(0.6);
    run.step_with(Some(&limit));
    run.expect([-0.5999008, 0.41428536, -0.010907288, -0.43401328, 0.8, 0.2625]);
    (1..7).for_each(|_| run.step_with(Some(&limit)));
    run.expect([-0.59999824, 0.4264312, 0.001410392, -0.42208567, 0.74300003, 0.2835]);
    run.finish();
    run.expect([-0.63178325, 0.435453, -0.008872564, -0.45128497, 0.79300004, 0.25349998]);
}
