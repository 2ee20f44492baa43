//! Trajectories of real Keras (3.15.1, TensorFlow), and what surrounds a step.

use super::*;
use crate::Tensor;
use crate::constraints::{Constraint, MaxNorm};
use crate::layer::Products;
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
fn rmsprop() {
    golden(
        RMSprop::new(0.05),
        [-0.59188634, 0.65811265, -0.15810882, -0.6581136, 0.9081136, 0.40810883],
        [-0.74235034, 0.55552375, -0.07698711, -0.5291897, 0.86358994, 0.4943682],
    );
    golden(
        RMSprop::new(0.05).rho(0.8).momentum(0.9).centered(true).epsilon(1e-3),
        [-0.6259882, 0.6191828, -0.10564428, -0.6234662, 0.8734662, 0.3556443],
        [-0.427214, 0.5945733, -0.2800334, -0.8072918, 1.3977633, 1.1660789],
    );
}

#[test]
fn adagrad() {
    golden(
        Adagrad::new(0.05),
        [-0.70538557, 0.53100866, -0.018380359, -0.5422577, 0.7922577, 0.26838034],
        [-0.74724203, 0.5001742, -0.0009847819, -0.50676924, 0.7805806, 0.29168373],
    );
}

#[test]
fn adadelta() {
    golden(
        Adadelta::new(1.0),
        [-0.74858576, 0.5014142, -0.001414123, -0.5014142, 0.7514142, 0.25141412],
        [-0.75074506, 0.50040287, -0.0006324101, -0.4998149, 0.75062805, 0.25221893],
    );
}

#[test]
fn adamax() {
    golden(
        Adamax::new(0.05),
        [-0.70000005, 0.54999995, -0.049999952, -0.54999995, 0.79999995, 0.29999995],
        [-0.6828089, 0.4987163, -0.043359645, -0.570246, 0.8499721, 0.35661075],
    );
}

#[test]
fn nadam() {
    golden(
        Nadam::new(0.05),
        [-0.6968606, 0.5531394, -0.053139344, -0.5531394, 0.8031394, 0.30313933],
        [-0.741739, 0.5105642, -0.028860219, -0.51498336, 0.8032392, 0.33991545],
    );
    golden(
        Nadam::new(0.05).gradient_accumulation_steps(2),
        [-0.75, 0.5, 0.0, -0.5, 0.75, 0.25],
        [-0.7079208, 0.43194908, 0.018662639, -0.5017263, 0.8589861, 0.27167636],
    );
}

#[test]
fn ftrl() {
    golden(
        Ftrl::new(0.1),
        [-0.3221716, 0.1697851, -0.03676073, -0.3172542, 0.43362358, 0.054265466],
        [-0.4058846, 0.10811623, -0.0019695659, -0.24627721, 0.41026917, 0.10087224],
    );
    golden(
        Ftrl::new(0.1)
            .learning_rate_power(-0.7)
            .l1_regularization_strength(0.1)
            .l2_regularization_strength(0.2)
            .l2_shrinkage_regularization_strength(0.05)
            .beta(0.3),
        [-0.23848541, 0.08121864, -0.0044573625, -0.21355161, 0.29592425, 0.009513578],
        [-0.28831166, 0.033989023, 0.0, -0.15092878, 0.2651025, 0.041639984],
    );
}

#[test]
fn lion() {
    golden(
        Lion::new(0.02).weight_decay(0.1),
        [-0.7285, 0.519, -0.02, -0.519, 0.7685, 0.26950002],
        [-0.7596022, 0.47316188, -0.019721035, -0.5127635, 0.7592837, 0.26624262],
    );
}

#[test]
fn muon() {
    let run = golden(
        Muon::new(0.1),
        [-0.72620183, 0.49657318, 0.008897708, -0.52733976, 0.8496987, 0.3498968],
        [-0.76595217, 0.43749976, 0.011421642, -0.57599884, 0.991009, 0.519826],
    );
    let names: Vec<String> = run.state.variables().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["learning_rate", "dense_kernel_momentum", "dense_bias_momentum", "dense_bias_velocity"]);
    let mut plain = Muon::new(0.05).nesterov(false).rms_rate(None).adam_lr_ratio(0.5).ns_steps(3);
    plain = plain.weight_decay(0.0).adam_weight_decay(Some(0.1));
    golden(
        plain,
        [-0.7077311, 0.49808317, 0.011818647, -0.54684746, 0.77124965, 0.2737492],
        [-0.7033064, 0.41534814, 0.032578353, -0.5817445, 0.7838136, 0.3075142],
    );
    // A matrix that is left out is AdamW's, as an embedding is.
    let adam = Muon::default().exclude_layers(vec!["dense".to_owned()]);
    assert_eq!(adam.slots_of("dense/kernel", &[2, 2]).len(), 2);
    assert_eq!(adam.slots_of("head/kernel", &[2, 2]).len(), 1);
    assert_eq!(adam.slots_of("embedding/embeddings", &[2, 2]).len(), 2);
}

/// Keras' source in NumPy, whose arrays do not change under a second name, as those of JAX.
#[test]
fn schedule_free_adamw() {
    golden(
        ScheduleFreeAdamW::new(0.1),
        [-0.65, 0.6, -0.09999999, -0.6, 0.85, 0.35],
        [-0.74033177, 0.49125913, -0.0453523, -0.5107428, 0.847806, 0.40584537],
    );
    let run = golden(
        ScheduleFreeAdamW::new(0.05).beta_1(0.8).beta_2(0.95).warmup_steps(4).weight_decay(0.1),
        [-0.7375, 0.5125, -0.0125, -0.5125, 0.7625, 0.2625],
        [-0.7702488, 0.48607272, -0.00080448, -0.4691569, 0.762716, 0.26242954],
    );
    let names: Vec<String> = run.state.variables().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "learning_rate",
            "dense_kernel_momentum",
            "dense_kernel_velocity",
            "dense_bias_momentum",
            "dense_bias_velocity"
        ]
    );
}

/// Keras 3.15.1 on PyTorch, whose gradients are those of the loss times the factor.
#[test]
fn loss_scale_optimizer() {
    let inner = Sgd::new(0.1).momentum(0.9).clipnorm(0.01);
    let mut run = Run::new(LossScaleOptimizer::new(inner).initial_scale(8.0).dynamic_growth_steps(3));
    let scale = |run: &Run| (run.state.loss_scale(), run.state.iterations());
    (0..3).for_each(|_| run.step());
    assert_eq!(scale(&run), (Some(16.0), 3));
    run.step();
    run.step();
    let after_5 = [-0.748_826, 0.4981559, -2.624205e-5, -0.5013308, 0.7548081, 0.2512954];
    run.expect(after_5);
    // One value that is not finite, in the second part of a batch: the step is left out and the factor halved.
    let (mut gradient, mut other) = (vec![1.0; 4], vec![0.0, f32::INFINITY, 0.0, 0.0]);
    let mut update = Update::new("dense/kernel", &mut run.kernel, &mut gradient);
    update.others.push(&mut other);
    run.state.apply(&*run.optimizer, &mut [update]).unwrap();
    assert_eq!((gradient, other), (vec![0.0; 4], vec![0.0; 4]), "places for the next gradients");
    run.expect(after_5);
    assert_eq!(scale(&run), (Some(8.0), 5));
    let names: Vec<String> = run.state.variables().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["step_counter", "dynamic_scale", "learning_rate", "dense_kernel_momentum", "dense_bias_momentum"]
    );

    // In training the loss is not multiplied: too large is what would be with the factor.
    for (scale, moves) in [(1024.0, true), (1e5, false)] {
        let optimizer = LossScaleOptimizer::new(Sgd::new(1e-34)).initial_scale(scale);
        let mut state = OptimizerState::new(&optimizer).unwrap();
        let (mut weight, mut gradient) = (Tensor::full([1], 0.0), [1e34f32]);
        state.step(&optimizer, &mut [Update::new("w", &mut weight, &mut gradient)], None).unwrap();
        assert_eq!(weight.data()[0] != 0.0, moves);
        assert_eq!(state.loss_scale(), Some(if moves { 1024.0 } else { 5e4 }));
    }

    // Keras' files lack what Nadam keeps for all weights; it follows from the number of steps.
    let mut nadam = Run::new(LossScaleOptimizer::new("nadam"));
    (0..3).for_each(|_| nadam.step());
    let (name, product) = nadam.state.variables().pop().unwrap();
    assert_eq!(name, "u_product");
    assert_eq!(nadam.state.stored().len(), 2 + nadam.state.variables().len());
    assert_eq!(nadam.state.lacking_shared(&*nadam.optimizer, 3), Some(product));
    assert_eq!(run.state.lacking_shared(&*run.optimizer, 3), None);

    // What is remembered goes on.
    let mut copy = Run::new(Shared(run.optimizer.0.clone()));
    copy.state.build(&*copy.optimizer, [("dense/kernel", &[2, 2][..]), ("dense/bias", &[2])]);
    copy.state.set_variables(run.state.variables().into_iter().map(|(_, value)| value)).unwrap();
    copy.state.set_iterations(run.state.iterations());
    (copy.kernel, copy.bias) = (run.kernel.clone(), run.bias.clone());
    for _ in 0..4 {
        run.step();
        copy.step();
    }
    assert_eq!(run.values(), copy.values());
    assert_eq!((scale(&run), copy.state.loss_scale()), ((Some(16.0), 9), Some(16.0)));
}

#[test]
fn lamb() {
    golden(
        Lamb::new(0.02),
        [-0.7396922, 0.5103078, -0.010307759, -0.5103078, 0.76118034, 0.26118034],
        [-0.74512714, 0.45701063, -0.014541463, -0.5159678, 0.8135774, 0.31368062],
    );
}

#[test]
fn adafactor() {
    golden(
        Adafactor::new(0.05),
        [-0.7186085, 0.51431674, -0.00820006, -0.53739804, 0.7779508, 0.27795085],
        [-0.76500106, 0.49356306, 0.012555374, -0.5009098, 0.76934373, 0.2878684],
    );
    golden(
        Adafactor::new(0.9).relative_step(false).clip_threshold(0.7),
        [-0.35446674, 0.6803909, -0.10332075, -0.9712151, 1.1021807, 0.6021807],
        [-0.6099473, 0.22522938, 0.1363208, -0.60399216, 1.0612957, 0.5937053],
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

#[test]
fn every_optimizer_goes_through_its_config() {
    for class in <Shared<dyn Optimizer> as crate::config::Family>::classes() {
        let optimizer: Shared<dyn Optimizer> = match class.names {
            [name, ..] => (*name).into(),
            [] => LossScaleOptimizer::new("adam").initial_scale(8.0).into(),
        };
        OptimizerState::new(&*optimizer).unwrap();
        assert_eq!(optimizer.class_name(), class.class_name);
        let text = serde_json::to_string(&optimizer).unwrap();
        let back: Shared<dyn Optimizer> = serde_json::from_str(&text).unwrap();
        assert_eq!(text, serde_json::to_string(&back).unwrap());
        assert!(text.contains(r#""module":"keras.optimizers""#), "{text}");
    }
}

#[test]
fn configs_are_flat_and_fall_back_to_each_optimizers_defaults() {
    let config = Sgd::new(0.1).momentum(0.9).clipnorm(1.0).config().unwrap();
    assert_eq!(config["learning_rate"], 0.1);
    assert_eq!(config["clipnorm"], 1.0);
    assert_eq!(config["momentum"], 0.9);
    assert_eq!(config["weight_decay"], serde_json::Value::Null);

    let rate = |text: &str| match serde_json::from_str::<Shared<dyn Optimizer>>(text).unwrap().options() {
        Options { learning_rate: LearningRate::Constant(rate), weight_decay, .. } => (*rate, *weight_decay),
        other => panic!("{other:?}"),
    };
    assert_eq!(rate(r#"{"class_name": "SGD", "config": {"momentum": 0.5}}"#), (0.01, None));
    assert_eq!(
        rate(r#"{"class_name": "AdamW", "config": {"learning_rate": 1, "is_legacy": true}}"#),
        (1.0, Some(0.004))
    );

    // As Keras writes it.
    let text = r#"{"module": "keras.optimizers", "class_name": "SGD", "config": {"name": "sgd", "learning_rate":
        {"module": "keras.optimizers.schedules", "class_name": "PiecewiseConstantDecay", "config": {"boundaries": [2, 5],
        "values": [0.2, 0.1, 0.02], "name": "PiecewiseConstant"}, "registered_name": null}, "weight_decay": null,
        "clipnorm": null, "global_clipnorm": null, "clipvalue": null, "use_ema": false, "ema_momentum": 0.99,
        "ema_overwrite_frequency": null, "loss_scale_factor": null, "gradient_accumulation_steps": null,
        "momentum": 0.0, "nesterov": false}, "registered_name": null}"#;
    let optimizer: Shared<dyn Optimizer> = serde_json::from_str(text).unwrap();
    let mut state = OptimizerState::new(&*optimizer).unwrap();
    state.set_iterations(3);
    assert_eq!(state.learning_rate(&*optimizer), 0.1);
    assert!(serde_json::to_string(&optimizer).unwrap().contains("PiecewiseConstantDecay"));
}

#[test]
fn variables_stand_in_keras_order() {
    let names = |optimizer: Shared<dyn Optimizer>| {
        let mut run = Run::new(optimizer);
        run.step();
        run.state.variables().into_iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect::<Vec<_>>()
    };
    let expect = |names: Vec<(String, Vec<usize>)>, expected: &[(&str, &[usize])]| {
        let names: Vec<_> = names.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        assert_eq!(names, expected);
    };
    let (kernel, bias): (&[usize], &[usize]) = (&[2, 2], &[2]);
    expect(names(Sgd::new(0.1).into()), &[("learning_rate", &[])]);
    expect(
        names(Sgd::new(PiecewiseConstantDecay::new([2], [0.2, 0.1])).momentum(0.5).into()),
        &[("dense_kernel_momentum", kernel), ("dense_bias_momentum", bias)],
    );
    expect(
        names(Adam::new(0.1).amsgrad(true).use_ema(true).gradient_accumulation_steps(2).into()),
        &[
            ("learning_rate", &[]),
            ("dense_kernel_average", kernel),
            ("dense_bias_average", bias),
            ("dense_kernel_gradient_accumulator", kernel),
            ("dense_bias_gradient_accumulator", bias),
            ("dense_kernel_momentum", kernel),
            ("dense_kernel_velocity", kernel),
            ("dense_bias_momentum", bias),
            ("dense_bias_velocity", bias),
            ("dense_kernel_velocity_hat", kernel),
            ("dense_bias_velocity_hat", bias),
        ],
    );
    expect(
        names(RMSprop::new(0.1).momentum(0.5).centered(true).into()),
        &[
            ("learning_rate", &[]),
            ("dense_kernel_velocity", kernel),
            ("dense_bias_velocity", bias),
            ("dense_kernel_momentum", kernel),
            ("dense_bias_momentum", bias),
            ("dense_kernel_average_gradient", kernel),
            ("dense_bias_average_gradient", bias),
        ],
    );
    assert_eq!(names(Nadam::new(0.1).into()).last().unwrap(), &("u_product".to_owned(), vec![]));
    // Keras keeps two placeholders for each weight that is not factored.
    let shapes: Vec<_> = names(Adafactor::new(0.1).into()).into_iter().map(|(_, shape)| shape).collect();
    assert_eq!(shapes, [vec![], vec![2], vec![2], vec![2, 2], vec![], vec![], vec![2]]);
}

#[test]
fn a_restored_state_goes_on_with_the_same_bits() {
    for class in <Shared<dyn Optimizer> as crate::config::Family>::classes() {
        let config = Options::new(0.05).use_ema(true).gradient_accumulation_steps(2).clipnorm(0.5);
        let mut config = crate::config::of(&config).unwrap();
        if class.class_name == "LossScaleOptimizer" {
            config = config::of(&LossScaleOptimizer::new(config::from_config::<Adam>(config).unwrap())).unwrap();
        }
        let optimizer = (class.from_config)(config).unwrap();
        let mut run = Run::new(optimizer.clone());
        (0..5).for_each(|_| run.step());
        run.state.set_learning_rate(0.03).unwrap();

        let mut other = Run { kernel: run.kernel.clone(), bias: run.bias.clone(), ..Run::new(optimizer) };
        other.state.build(&*other.optimizer, [("dense/kernel", &[2, 2][..]), ("dense/bias", &[2])]);
        other.state.set_iterations(run.state.iterations());
        other.state.set_variables(run.state.variables().into_iter().map(|(_, tensor)| tensor)).unwrap();
        for _ in 0..5 {
            run.step();
            other.step();
        }
        assert_eq!(run.values(), other.values(), "{}", class.class_name);
        assert_eq!(run.state.variables(), other.state.variables());
    }
}

#[test]
fn foreign_states_are_refused() {
    let mut run = Run::new(Adam::new(0.1));
    run.step();
    let before = run.state.variables();
    let tensors = || before.iter().map(|(_, tensor)| tensor.clone());
    assert!(run.state.set_variables(tensors().skip(1)).unwrap_err().to_string().contains("5 variables"));
    let wrong = tensors().map(|tensor| if tensor.rank() == 2 { Tensor::zeros([3, 3]) } else { tensor });
    let error = run.state.set_variables(wrong).unwrap_err().to_string();
    assert!(error.contains("dense_kernel_momentum") && error.contains("[3, 3]"), "{error}");
    assert_eq!(run.state.variables(), before);
}

#[test]
fn the_factor_of_the_loss_stays_a_number() {
    let optimizer = LossScaleOptimizer::new(Sgd::new(1.0)).dynamic_growth_steps(1);
    let mut state = OptimizerState::new(&optimizer).unwrap();
    let mut weight = Tensor::full([1], 0.0);
    let mut step = |state: &mut OptimizerState, gradient: f32| {
        let before = weight.data()[0];
        state.step(&optimizer, &mut [Update::new("w", &mut weight, &mut [gradient])], None).unwrap();
        weight.data()[0] != before
    };
    // It grows up to where a step is left out, and never to infinity.
    for _ in 0..200 {
        step(&mut state, 1e-3);
    }
    assert!(step(&mut state, 1e-3) || step(&mut state, 1e-3), "{:?}", state.loss_scale());
    for _ in 0..300 {
        assert!(!step(&mut state, f32::NAN));
    }
    assert_eq!(state.loss_scale(), Some(f32::MIN_POSITIVE));
    assert!(step(&mut state, 1e-3));
    assert_eq!(state.loss_scale(), Some(2.0 * f32::MIN_POSITIVE));
    for bad in [f32::INFINITY, f32::NAN, 0.0, -1.0] {
        let before = state.variables();
        let changed = before.iter().map(|(name, tensor)| match name.as_str() {
            "dynamic_scale" => Tensor::full([], bad),
            _ => tensor.clone(),
        });
        let error = state.set_variables(changed).unwrap_err().to_string();
        assert!(error.contains("'dynamic_scale'"), "{error}");
        assert_eq!(state.variables(), before);
    }
    // A gradient of zeros leaves it where it is when it can grow no more.
    let mut most = OptimizerState::new(&optimizer).unwrap();
    for _ in 0..300 {
        step(&mut most, 0.0);
    }
    assert!(most.loss_scale().unwrap().is_finite());
}

#[test]
fn parts_of_a_gradient_of_another_length_are_refused() {
    let optimizers: [Shared<dyn Optimizer>; 2] = [LossScaleOptimizer::new("sgd").into(), Sgd::new(0.1).into()];
    for optimizer in optimizers {
        let mut state = OptimizerState::new(&*optimizer).unwrap();
        let (mut weight, mut gradient, mut other) = (Tensor::full([2], 1.0), [1.0; 2], [1.0; 3]);
        let mut update = Update::new("w", &mut weight, &mut gradient);
        update.others.push(&mut other);
        let error = state.apply(&*optimizer, &mut [update]).unwrap_err();
        assert!(matches!(error, crate::Error::Shape(_)), "{error}");
    }
}

#[test]
fn large_weights_are_cut_without_a_trace() {
    // Over three pieces, and with each way to clip; the halves of the work may lie on any thread.
    const N: usize = 100_000;
    let train = |optimizer: Shared<dyn Optimizer>, threads: usize| {
        crate::runtime::threads::with_num_threads(threads, || {
            let mut state = OptimizerState::new(&*optimizer).unwrap();
            let mut large = Tensor::full([N], 0.5);
            let mut small = Tensor::full([3], 0.5);
            for step in 0..4 {
                let mut g: Vec<f32> = (0..N).map(|i| ((i * 31 + step * 7) % 101) as f32 / 50.0 - 1.0).collect();
                let mut h = vec![0.25; 3];
                let updates = &mut [Update::new("a", &mut large, &mut g), Update::new("b", &mut small, &mut h)];
                state.apply(&*optimizer, updates).unwrap();
            }
            (large, small, state)
        })
    };
    for optimizer in [
        Shared::from(Adam::new(0.01).clipnorm(1.0).use_ema(true)),
        Shared::from(Sgd::new(0.01).momentum(0.9).global_clipnorm(1.0).gradient_accumulation_steps(2)),
        Shared::from(Lamb::new(0.01).weight_decay(0.1)),
    ] {
        let (large, small, state) = train(optimizer.clone(), 1);
        let (large_2, small_2, state_2) = train(optimizer.clone(), 3);
        assert!(large == large_2 && small == small_2 && state.variables() == state_2.variables());
    }
    // Cut or not, each value of an elementwise optimizer moves alike.
    let (large, ..) = train(Adam::new(0.01).into(), 2);
    let mut state = OptimizerState::new(&Adam::new(0.01)).unwrap();
    let mut last = Tensor::full([10], 0.5);
    for step in 0..4 {
        let mut g: Vec<f32> = (N - 10..N).map(|i| ((i * 31 + step * 7) % 101) as f32 / 50.0 - 1.0).collect();
        state.apply(&Adam::new(0.01), &mut [Update::new("a", &mut last, &mut g)]).unwrap();
    }
    assert_eq!(last.data(), &large.data()[N - 10..]);
}

#[test]
fn gradients_that_are_products_move_weights_alike() {
    // Rows that are neither a multiple of those computed at once nor of a piece.
    const SHAPE: [usize; 2] = [601, 130];
    let numbers = |shape: [usize; 2], seed: usize| {
        let values = (0..shape[0] * shape[1]).map(|i| ((i * 31 + seed * 17) % 101) as f32 / 50.0 - 1.0);
        Tensor::new(shape, values.collect()).unwrap()
    };
    let products = |step: usize| -> Products {
        let product = |i: usize| (numbers([5, SHAPE[0]], 3 * step + i), numbers([5, SHAPE[1]], 5 * step + i));
        (0..step % 3).map(product).collect()
    };
    let train = |optimizer: &dyn Optimizer, threads: usize, whole: bool| {
        crate::runtime::threads::with_num_threads(threads, || {
            let mut state = OptimizerState::new(optimizer).unwrap();
            let mut weight = Tensor::full(SHAPE, 0.5);
            for step in 1..=6 {
                let products = products(step);
                let mut sum = vec![f32::NAN; SHAPE[0] * SHAPE[1]];
                products.rows(0, &mut sum);
                let gradient = if whole { &mut sum[..] } else { &mut [] };
                let products = Some(&products).filter(|_| !whole);
                let update = Update { products, ..Update::new("w", &mut weight, gradient) };
                state.apply(optimizer, &mut [update]).unwrap();
            }
            (weight, state.variables())
        })
    };
    let optimizers: [Shared<dyn Optimizer>; 6] = [
        Sgd::new(0.01).into(),
        Sgd::new(0.01).momentum(0.9).nesterov(true).weight_decay(0.1).into(),
        Adam::new(0.01).use_ema(true).ema_overwrite_frequency(4).into(),
        Adam::new(0.01).gradient_accumulation_steps(2).loss_scale_factor(4.0).into(),
        RMSprop::new(0.01).clipvalue(0.5).into(),
        "lion".into(),
    ];
    for optimizer in &optimizers {
        assert!(takes_products(&**optimizer));
        let (weight, variables) = train(&**optimizer, 2, true);
        let (by_rows, variables_by_rows) = train(&**optimizer, 2, false);
        let close = |a: &Tensor, b: &Tensor| a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() <= 1e-5);
        assert!(close(&weight, &by_rows), "{optimizer:?}");
        assert!(variables.iter().zip(&variables_by_rows).all(|((_, a), (_, b))| close(a, b)), "{optimizer:?}");
        assert!(train(&**optimizer, 1, false) == train(&**optimizer, 3, false), "{optimizer:?}");
    }
    let whole: [Shared<dyn Optimizer>; 4] = [
        Sgd::new(0.1).clipnorm(1.0).into(),
        Sgd::new(0.1).global_clipnorm(1.0).into(),
        LossScaleOptimizer::new("sgd").into(),
        Lamb::new(0.1).into(),
    ];
    assert!(whole.iter().all(|optimizer| !takes_products(&**optimizer)));
}

#[test]
fn the_learning_rate_can_be_changed_unless_a_schedule_gives_it() {
    let mut run = Run::new(Sgd::new(0.1));
    run.state.set_learning_rate(0.0).unwrap();
    let before = run.values();
    run.step();
    assert_eq!(run.values(), before);
    assert!(run.state.set_learning_rate(-1.0).is_err());
    let mut run = Run::new(Sgd::new(ExponentialDecay::new(0.1, 2, 0.5)));
    assert!(run.state.set_learning_rate(0.1).unwrap_err().to_string().contains("schedule"));
}

#[test]
fn averages_can_be_swapped_in_and_out() {
    let mut run = Run::new(Sgd::new(0.1).use_ema(true).ema_momentum(0.8));
    (0..3).for_each(|_| run.step());
    let weights = run.values();
    let mut averaged = Run { state: run.state.clone(), ..Run::new(Sgd::new(0.1)) };
    averaged.finish();
    run.state.swap_averages([("dense/kernel", &mut run.kernel), ("dense/bias", &mut run.bias)]);
    assert_eq!(run.values(), averaged.values());
    assert_ne!(run.values(), weights);
    run.state.swap_averages([("dense/kernel", &mut run.kernel), ("dense/bias", &mut run.bias)]);
    assert_eq!(run.values(), weights);
}

#[test]
fn weights_may_be_left_out_but_not_be_new() {
    let optimizer = Sgd::new(0.1);
    let mut run = Run::new(optimizer.clone());
    run.step();
    let (kernel, bias) = (run.kernel.clone(), run.bias.clone());
    run.state.apply(&optimizer, &mut [Update::new("dense/bias", &mut run.bias, &mut [1.0, 1.0])]).unwrap();
    assert_eq!(run.kernel, kernel);
    assert_eq!(run.bias.data()[0], bias.data()[0] - 0.1);

    let bias = run.bias.clone();
    let mut error = |path: &str, gradient: &mut [f32]| {
        run.state.apply(&optimizer, &mut [Update::new(path, &mut run.bias, gradient)]).unwrap_err().to_string()
    };
    assert!(error("dense_1/bias", &mut [1.0, 1.0]).contains("'dense_1/bias'"));
    assert!(error("dense/bias", &mut [1.0; 3]).contains("gradient of 3 values"));
    assert!(error("dense/kernel", &mut [1.0; 2]).contains("[2, 2]"));
    assert_eq!(run.bias, bias, "nothing moved");
}

#[test]
fn wrong_arguments_are_named() {
    let error = |optimizer: Shared<dyn Optimizer>| OptimizerState::new(&*optimizer).unwrap_err().to_string();
    for (optimizer, part) in [
        (Shared::from(Sgd::new(-0.1)), "learning_rate is -0.1"),
        (Sgd::new(f64::NAN).into(), "learning_rate is NaN"),
        (Sgd::new(ExponentialDecay::new(0.1, 0, 0.5)).into(), "decay_steps is 0"),
        (Sgd::new(0.1).momentum(1.5).into(), "momentum is 1.5"),
        (Sgd::new(0.1).clipnorm(1.0).clipvalue(1.0).into(), "clipnorm and clipvalue"),
        (Sgd::new(0.1).clipvalue(-1.0).into(), "clipvalue is -1"),
        (Sgd::new(0.1).ema_momentum(2.0).into(), "ema_momentum is 2"),
        (Sgd::new(0.1).ema_overwrite_frequency(0).into(), "ema_overwrite_frequency"),
        (Sgd::new(0.1).gradient_accumulation_steps(1).into(), "gradient_accumulation_steps is 1"),
        (Sgd::new(0.1).loss_scale_factor(0.0).into(), "loss_scale_factor is 0"),
        (Adam::new(0.1).beta_2(1.0).into(), "below 1"),
        (Adam::new(0.1).epsilon(-1.0).into(), "epsilon is -1"),
        (RMSprop::new(0.1).rho(2.0).into(), "rho is 2"),
        (Adagrad::new(0.1).initial_accumulator_value(-1.0).into(), "initial_accumulator_value is -1"),
        (Adadelta::new(0.1).rho(-0.1).into(), "rho is -0.1"),
        (Ftrl::new(0.1).learning_rate_power(0.5).into(), "learning_rate_power is 0.5"),
        (Ftrl::new(0.1).l1_regularization_strength(-1.0).into(), "l1_regularization_strength is -1"),
        (Lion::new(0.1).beta_1(0.0).into(), "beta_1 is 0"),
        (Adafactor::new(0.1).clip_threshold(0.0).into(), "clip_threshold is 0"),
        (Muon::new(0.1).adam_beta_1(1.0).into(), "Muon's AdamW: beta_1 is 1 and beta_2 0.999; both must be below 1"),
        (Muon::new(0.1).adam_beta_2(1.0).into(), "Muon's AdamW: beta_1 is 0.9 and beta_2 1; both must be below 1"),
        (Muon::new(0.1).adam_beta_2(1.5).into(), "Muon's AdamW: beta_2 is 1.5"),
        (ScheduleFreeAdamW::new(0.1).beta_2(1.0).into(), "beta_2 is 1; it must be below 1"),
        (LossScaleOptimizer::new("sgd").initial_scale(0.0).into(), "initial_scale is 0"),
        (LossScaleOptimizer::new("sgd").dynamic_growth_steps(0).into(), "dynamic_growth_steps is 0"),
        (LossScaleOptimizer::new(Sgd::new(-0.1)).into(), "learning_rate is -0.1"),
        (LossScaleOptimizer::new(LossScaleOptimizer::new("sgd")).into(), "a LossScaleOptimizer itself"),
        (LossScaleOptimizer::new("adma").into(), "did you mean 'adam'"),
        ("adma".into(), "did you mean 'adam'"),
    ] {
        let error = error(optimizer);
        assert!(error.contains(part), "{error} does not say {part}");
    }
}

#[test]
fn what_decays_ends_at_zero_without_subnormal_numbers() {
    // Averages that decay fast: none of them takes thousands of steps.
    let all: [Shared<dyn Optimizer>; 13] = [
        Sgd::new(0.01).momentum(0.5).into(),
        Sgd::new(0.01).momentum(0.5).nesterov(true).into(),
        Adam::new(0.01).beta_1(0.5).beta_2(0.5).into(),
        Adam::new(0.01).beta_1(0.5).beta_2(0.5).amsgrad(true).into(),
        AdamW::new(0.01).beta_1(0.5).beta_2(0.5).into(),
        Adamax::new(0.01).beta_1(0.5).beta_2(0.5).into(),
        Nadam::new(0.01).beta_1(0.5).beta_2(0.5).into(),
        Lamb::new(0.01).beta_1(0.5).beta_2(0.5).into(),
        RMSprop::new(0.01).rho(0.5).into(),
        RMSprop::new(0.01).rho(0.5).momentum(0.5).centered(true).into(),
        Adadelta::new(0.01).rho(0.5).into(),
        Lion::new(0.01).beta_2(0.5).into(),
        Adagrad::new(0.01).into(),
    ];
    for optimizer in all {
        let mut state = OptimizerState::new(&*optimizer).unwrap();
        let mut weight = Tensor::full([40], 0.5);
        for step in 0..300 {
            let value = if step == 0 { 0.25 } else { 0.0 };
            let mut gradient: Vec<f32> = (0..40).map(|i| if i % 2 == 0 { value } else { -value }).collect();
            state.apply(&*optimizer, &mut [Update::new("w", &mut weight, &mut gradient)]).unwrap();
            for (name, slot) in state.variables().iter().filter(|(name, _)| name.starts_with("w_")) {
                assert!(slot.data().iter().all(|v| *v == 0.0 || v.is_normal()), "{optimizer:?} {name} step {step}");
            }
        }
        for (name, slot) in state.variables().iter().filter(|(name, _)| name.starts_with("w_")) {
            // These keep the largest, or the sum.
            let kept = ["w_velocity_hat", "w_accumulator"].contains(&name.as_str());
            assert_eq!(slot.data().iter().all(|v| *v == 0.0), !kept, "{optimizer:?} {name}");
        }
    }
}
