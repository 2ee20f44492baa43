//! Layers as tests call them: with masks and arguments.

use crate::error::Result;
use crate::layer::{Arguments, Backward, Build, Call, Forward, Gradients, Layer, Masks, Param, Pass, Values};
use crate::runtime::Workspace;
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde_json::Value;

/// A layer with what it is called with besides inputs.
pub(super) struct Called {
    layer: Box<dyn Layer>,
    masks: Masks,
    arguments: Arguments,
}

impl Called {
    pub fn new(layer: impl Layer) -> Self {
        Called { layer: Box::new(layer), masks: Masks::new(), arguments: Arguments::default() }
    }

    pub fn masks<const N: usize>(mut self, masks: [Option<&Tensor>; N]) -> Self {
        self.masks = masks.into_iter().map(|mask| mask.cloned()).collect();
        self
    }

    /// Gives a plain argument.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.values.insert(name.to_owned(), value.into());
        self
    }

    /// Says that these inputs are given by name.
    pub fn by_name(mut self, name: &str, places: impl Into<Vec<usize>>) -> Self {
        self.arguments.tensors.push((name.to_owned(), places.into()));
        self
    }

    /// The outputs and their masks outside training, with weights that are the [`wave`]s of Keras' numbers.
    pub fn run(mut self, inputs: &[Tensor]) -> Result<(Values, Masks)> {
        let shapes: Vec<Shape> = inputs.iter().map(|x| Shape::batch_of(&x.shape()[1..])).collect();
        self.check()?;
        let promised = self.output_shapes(&shapes)?;
        self.build(&shapes, &mut Build::new(1))?;
        let mut weights = Vec::new();
        self.layer.visit(&mut |weight: &Param| weights.push(weight.clone()));
        for (i, weight) in weights.iter().enumerate() {
            let shape = weight.shape();
            let value = if shape.is_empty() { Tensor::full(shape, 0.7) } else { wave(&shape, i as f32 + 0.5, 0.5) };
            weight.set(value)?;
        }
        let pass = Pass { training: false, seed: 1, step: 0, first_sample: 0, share: 1.0, workspace: Workspace::new() };
        let (mut saved, mut effects) = Default::default();
        let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, false);
        let inputs = inputs.iter().cloned().collect();
        let (outputs, masks) = self.nested(inputs, &mut cx)?;
        assert_eq!(outputs.len(), promised.len());
        for (output, shape) in outputs.iter().zip(&promised) {
            assert!(shape.accepts(output.shape()), "{:?} where {shape} was promised", output.shape());
        }
        Ok((outputs, masks))
    }

    fn nested(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<(Values, Masks)> {
        let call = Call {
            stream: 1,
            masks: self.masks.clone(),
            trainable: cx.trainable(),
            recording: cx.recording(),
            inputs_need_gradient: cx.inputs_need_gradient(),
            arguments: Some(&self.arguments),
            fused: Default::default(),
        };
        cx.nested(call, self.layer.supports_masking(), |cx| self.layer.forward(inputs, cx))
    }
}

impl Layer for Called {
    fn class_name(&self) -> &str {
        self.layer.class_name()
    }
    fn check(&self) -> Result<()> {
        self.layer.check()
    }
    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.layer.call_shapes(inputs, &self.arguments)
    }
    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        self.layer.build(inputs, &mut cx.called_with(&self.arguments))
    }
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        self.nested(inputs, cx).map(|(outputs, _)| outputs)
    }
    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let wanted = cx.wanted.clone();
        cx.nested(cx.trainable(), wanted, |cx| self.layer.backward(gradients, cx))
    }
    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.layer.visit(visit);
    }
}

/// `scale · sin(1.7 i + phase)`, as the numbers of Keras in these tests were made.
pub(super) fn wave(shape: &[usize], phase: f32, scale: f32) -> Tensor {
    let value = |i: usize| f64::from(scale) * (i as f64 * 1.7 + f64::from(phase)).sin();
    Tensor::new(shape, (0..shape.iter().product()).map(|i| value(i) as f32).collect()).unwrap()
}

/// A tensor of these values.
pub(super) fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape, values.to_vec()).unwrap()
}

/// Checks numbers of six digits.
#[track_caller]
pub(super) fn assert_values(got: &Tensor, want: &[f32]) {
    let want = Tensor::new(got.shape(), want.to_vec()).unwrap();
    crate::testing::check_close(got, &want, 1e-5).unwrap();
}
