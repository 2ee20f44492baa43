//! The step that all optimizers share, and what it remembers.

use super::{LearningRate, LossScaling, Optimizer, Options, Slot, Step, squares};
use crate::config;
use crate::constraints::Constraint;
use crate::error::{Context, Error, Result, ensure};
use crate::kernels::{Scratch, reduce};
use crate::layer::Products;
use crate::runtime::threads;
use crate::tensor::Tensor;
use smallvec::SmallVec;

/// One weight to be moved by [`OptimizerState::apply`].
#[derive(Debug)]
pub struct Update<'a> {
    /// The weight's path, such as `"dense/kernel"`: what its state is known by.
    pub path: &'a str,
    /// The weight.
    pub value: &'a mut Tensor,
    /// The gradient of the loss by it, in the same order of values. The step leaves zeros: a place for the next one.
    pub gradient: &'a mut [f32],
    /// More gradients, to be added to that one in this order: those of other parts of the batch. They become zeros too.
    pub others: SmallVec<[&'a mut [f32]; 8]>,
    /// What the weight is brought back to after the update.
    pub constraint: Option<&'a dyn Constraint>,
    /// The gradient instead, if it has not been computed: see [`takes_products`].
    pub(crate) products: Option<&'a Products>,
}

impl<'a> Update<'a> {
    /// A weight with one gradient and without a constraint.
    pub fn new(path: &'a str, value: &'a mut Tensor, gradient: &'a mut [f32]) -> Self {
        Update { path, value, gradient, others: SmallVec::new(), constraint: None, products: None }
    }

    /// Whether all gradients are there, as long as the weight.
    fn fits(&self) -> bool {
        let len = self.value.len();
        self.gradient.len() == len && self.others.iter().all(|other| other.len() == len)
    }
}

/// Whether a step with this optimizer reads each value of a gradient once, and nothing of all of them: then a gradient
/// can be computed a few rows at a time while the weight moves.
pub(crate) fn takes_products(optimizer: &dyn Optimizer) -> bool {
    let options = optimizer.options();
    let norms = [options.clipnorm, options.global_clipnorm];
    optimizer.elementwise() && optimizer.loss_scaling().is_none() && norms.into_iter().all(|n| positive(n).is_none())
}

/// What an optimizer remembers between steps: their number, the learning rate as it is now, and its
/// slots for each weight.
#[derive(Clone, Debug)]
pub struct OptimizerState {
    iterations: u64,
    /// None when a schedule gives it.
    learning_rate: Option<f32>,
    shared: Option<(&'static str, f32)>,
    scale: Option<Scale>,
    weights: Vec<WeightState>,
}

/// The factor of the loss, where it changes.
#[derive(Clone, Copy, Debug)]
struct Scale {
    rule: LossScaling,
    /// Steps with finite gradients since it last changed.
    steps: u64,
    factor: f32,
}

impl Scale {
    fn new(rule: LossScaling) -> Self {
        Scale { rule, steps: 0, factor: rule.initial_scale as f32 }
    }

    /// After a step, or after one that was left out. Below or above what a float can be it does not go: from there it
    /// would never come back.
    fn next(&mut self, finite: bool) {
        self.steps = self.steps.saturating_add(1);
        if !finite {
            (self.steps, self.factor) = (0, (self.factor * 0.5).max(f32::MIN_POSITIVE));
        } else if self.steps >= self.rule.dynamic_growth_steps {
            let doubled = self.factor * 2.0;
            (self.steps, self.factor) = (0, if doubled.is_finite() { doubled } else { self.factor });
        }
    }
}

/// A variable of the state in the form of Keras' files.
#[derive(Debug)]
#[cfg_attr(not(feature = "keras"), allow(dead_code))]
pub(crate) enum Stored {
    /// The number of steps.
    Iterations(u64),
    /// A number of [`OptimizerState::variables`] that is a count there.
    Count(u64),
    /// One of [`OptimizerState::variables`].
    Value(Tensor),
    /// A count that Keras has, but does not use.
    NoCount,
    /// A learning rate that Keras has, but does not use.
    NoRate,
}

#[derive(Clone, Debug)]
struct WeightState {
    path: String,
    shape: Vec<usize>,
    decay: Option<f32>,
    average: Option<Tensor>,
    accumulator: Option<Tensor>,
    declared: Vec<Slot>,
    slots: Vec<Tensor>,
}

impl OptimizerState {
    /// The state before the first step. Slots are made by [`build`](Self::build) or the first
    /// [`apply`](Self::apply).
    ///
    /// # Errors
    /// When the optimizer's arguments make no sense.
    pub fn new(optimizer: &dyn Optimizer) -> Result<Self> {
        let place = || format!("optimizer {}", optimizer.class_name());
        optimizer.check().at(place)?;
        optimizer.options().check().at(place)?;
        let learning_rate = match &optimizer.options().learning_rate {
            LearningRate::Constant(rate) => Some(*rate as f32),
            LearningRate::Schedule(_) => None,
        };
        Ok(OptimizerState {
            iterations: 0,
            learning_rate,
            shared: optimizer.shared(),
            scale: optimizer.loss_scaling().map(Scale::new),
            weights: Vec::new(),
        })
    }

    /// Makes the slots for these weights, given by path and shape, in this order. Does nothing when
    /// they are there already.
    pub fn build<'a>(&mut self, optimizer: &dyn Optimizer, weights: impl IntoIterator<Item = (&'a str, &'a [usize])>) {
        if self.is_built() {
            return;
        }
        let options = optimizer.options();
        self.weights = weights
            .into_iter()
            .map(|(path, shape)| {
                let declared = optimizer.slots_of(path, shape);
                WeightState {
                    path: path.to_owned(),
                    shape: shape.to_vec(),
                    decay: optimizer.decay(path, shape).filter(|_| options.decays(path)).map(|decay| decay as f32),
                    average: options.use_ema.then(|| Tensor::zeros(shape)),
                    accumulator: options.gradient_accumulation_steps.map(|_| Tensor::zeros(shape)),
                    slots: declared.iter().map(|slot| Tensor::full(&slot.shape, slot.first)).collect(),
                    declared,
                }
            })
            .collect();
    }

    /// Whether the slots have been made.
    pub fn is_built(&self) -> bool {
        !self.weights.is_empty()
    }

    /// How many times [`apply`](Self::apply) has been called (Keras: `optimizer.iterations`, but with
    /// gradient accumulation each batch counts).
    pub fn iterations(&self) -> u64 {
        self.iterations
    }

    /// Sets the number of steps that are done.
    pub fn set_iterations(&mut self, iterations: u64) {
        self.iterations = iterations;
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self, optimizer: &dyn Optimizer) -> f32 {
        match (self.learning_rate, &optimizer.options().learning_rate) {
            (Some(rate), _) => rate,
            (None, LearningRate::Schedule(schedule)) => schedule.rate(self.iterations) as f32,
            (None, LearningRate::Constant(rate)) => *rate as f32,
        }
    }

    /// Changes the learning rate from here on.
    ///
    /// # Errors
    /// When it is negative or not finite, or a schedule gives the learning rate.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        config::check_non_negative("learning_rate", learning_rate)?;
        ensure!(
            self.learning_rate.is_some(),
            State,
            "the learning rate comes from a schedule and cannot be set; compile with a number to change it later"
        );
        self.learning_rate = Some(learning_rate as f32);
        Ok(())
    }

    /// What the loss is to be multiplied by before its gradient is taken for [`apply`](Self::apply): the factor of a
    /// [`LossScaleOptimizer`](super::LossScaleOptimizer) as it is now. None: the optimizer does not keep one.
    pub fn loss_scale(&self) -> Option<f32> {
        self.scale.map(|scale| scale.factor)
    }

    /// Takes this learning rate from here on, whatever a schedule says.
    pub(crate) fn force_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = Some(learning_rate as f32);
    }

    /// Moves the weights by one step. They are those of [`build`](Self::build) in the same order, of
    /// which some may be left out; the first call builds.
    ///
    /// Keras' order: divide by the loss scale, accumulate, clip, decay, update, average, constrain,
    /// count. Between the updates of an accumulating optimizer only averages and constraints act. With a
    /// [`loss_scale`](Self::loss_scale) nothing of it happens where a gradient is not finite.
    ///
    /// # Errors
    /// When a weight is unknown or a shape has changed: then nothing is moved. When the optimizer or a
    /// constraint cannot serve a weight.
    pub fn apply(&mut self, optimizer: &dyn Optimizer, updates: &mut [Update<'_>]) -> Result<()> {
        let scale = self.loss_scale().map(f64::from).or(optimizer.options().loss_scale_factor);
        self.step(optimizer, updates, scale)
    }

    /// As [`apply`](Self::apply), for gradients of a loss that was multiplied by `loss_scale`.
    pub(crate) fn step(
        &mut self,
        optimizer: &dyn Optimizer,
        updates: &mut [Update<'_>],
        loss_scale: Option<f64>,
    ) -> Result<()> {
        self.build(optimizer, updates.iter().map(|update| (update.path, update.value.shape())));
        if let Some(scale) = &mut self.scale {
            // What was not multiplied is looked at as if it had been.
            let factor = if loss_scale.is_some() { 1.0 } else { scale.factor };
            let finite = finite(updates, factor);
            scale.next(finite);
            if !finite {
                for update in updates {
                    update.gradient.fill(0.0);
                    update.others.iter_mut().for_each(|other| other.fill(0.0));
                }
                return Ok(());
            }
        }
        if self.iterations == 0 {
            for (weight, update) in self.weights.iter_mut().zip(updates.iter()) {
                let slots = weight.declared.iter().zip(&mut weight.slots).filter(|(slot, _)| slot.of_weight);
                slots.for_each(|(_, slot)| slot.data_mut().copy_from_slice(update.value.data()));
            }
        }
        let options = optimizer.options();
        let learning_rate = self.learning_rate(optimizer);
        let steps = options.gradient_accumulation_steps.unwrap_or(1).max(1);
        let moves = (self.iterations + 1).is_multiple_of(steps);
        let done = self.iterations / steps;
        let shared = match self.shared {
            Some((name, last)) if moves => Some((name, optimizer.next_shared(last, done + 1))),
            other => other,
        };
        let step = SharedStep {
            optimizer,
            options,
            loss_scale,
            moves,
            done,
            learning_rate,
            shared: shared.map_or(1.0, |(_, value)| value),
        };

        let mut pieces = pieces(&mut self.weights, updates, optimizer.elementwise())?;
        self.shared = shared;
        let (clip, clip_all) = (positive(options.clipnorm), positive(options.global_clipnorm));
        match clip_all.or(clip).filter(|_| moves) {
            Some(limit) => {
                for_each(&mut pieces, |piece| {
                    step.gather(piece);
                    piece.squares = squares(piece.gradient);
                });
                // Folded in the order of the weights: the sum is the same on any number of threads.
                let together = |a: &Piece, b: &Piece| clip_all.is_some() || a.path == b.path;
                for group in pieces.chunk_by_mut(together) {
                    let norm = group.iter().map(|piece| piece.squares).sum::<f64>().sqrt();
                    group.iter_mut().for_each(|piece| piece.scale = shortening(norm, limit));
                }
                for_each(&mut pieces, |piece| piece.result = step.finish(piece));
            }
            None => for_each(&mut pieces, |piece| piece.result = step.all(piece)),
        }
        self.iterations += 1;
        for piece in pieces {
            piece.result.at(|| format!("weight '{}'", piece.path))?;
        }
        for update in updates {
            if let Some(constraint) = update.constraint {
                constraint.apply(update.value).at(|| format!("weight '{}'", update.path))?;
            }
        }
        Ok(())
    }

    /// Puts the averages in the weights' place if the optimizer keeps averages (`use_ema`): what
    /// training ends with. Weights are given by path.
    pub fn finish<'a>(&self, weights: impl IntoIterator<Item = (&'a str, &'a mut Tensor)>) {
        for (path, weight) in weights {
            if let Some(average) = self.weights.iter().find(|w| w.path == path).and_then(|w| w.average.as_ref()) {
                weight.data_mut().copy_from_slice(average.data());
            }
        }
    }

    /// Exchanges weights and averages, to evaluate with the averages; a second call undoes it.
    pub fn swap_averages<'a>(&mut self, weights: impl IntoIterator<Item = (&'a str, &'a mut Tensor)>) {
        for (path, weight) in weights {
            if let Some(average) = self.weights.iter_mut().find(|w| w.path == path).and_then(|w| w.average.as_mut()) {
                std::mem::swap(average, weight);
            }
        }
    }

    /// Everything but the number of [`iterations`](Self::iterations), named, in the order of Keras'
    /// files, where `iterations` is variable 0 and these follow: the learning rate (unless a schedule
    /// gives it), averages, accumulators, and the slots. A [`loss_scale`](Self::loss_scale) and the steps since it
    /// changed come before all.
    pub fn variables(&self) -> Vec<(String, Tensor)> {
        let mut variables = Vec::new();
        if let Some(scale) = self.scale.filter(|_| self.is_built()) {
            variables.push(("step_counter".to_owned(), Tensor::full([], scale.steps as f32)));
            variables.push(("dynamic_scale".to_owned(), Tensor::full([], scale.factor)));
        }
        if let Some(rate) = self.learning_rate {
            variables.push(("learning_rate".to_owned(), Tensor::full([], rate)));
        }
        for (name, place) in self.places() {
            let tensor = match place {
                Place::Average(weight) => self.weights[weight].average.clone().unwrap_or_default(),
                Place::Accumulator(weight) => self.weights[weight].accumulator.clone().unwrap_or_default(),
                Place::Slot(weight, slot) => self.weights[weight].slots[slot].clone(),
            };
            variables.push((name, tensor));
        }
        if let Some((name, value)) = self.shared.filter(|_| self.is_built()) {
            variables.push((name.to_owned(), Tensor::full([], value)));
        }
        variables
    }

    /// Takes back what [`variables`](Self::variables) gave, in the same order.
    ///
    /// # Errors
    /// When there are more or fewer, a shape differs, or a [`loss_scale`](Self::loss_scale) is not finite and above zero:
    /// then nothing is changed.
    pub fn set_variables(&mut self, variables: impl IntoIterator<Item = Tensor>) -> Result<()> {
        let variables: Vec<Tensor> = variables.into_iter().collect();
        let now = self.variables();
        ensure!(
            variables.len() == now.len(),
            Data,
            "the optimizer's state has {} variables, but {} were given; they belong to another optimizer or model",
            now.len(),
            variables.len()
        );
        for ((name, now), new) in now.iter().zip(&variables) {
            ensure!(
                now.shape() == new.shape(),
                Shape,
                "the optimizer variable '{name}' has shape {:?}, but {:?} was given",
                now.shape(),
                new.shape()
            );
            let usable = |factor: f32| factor.is_finite() && factor > 0.0;
            ensure!(
                name != "dynamic_scale" || self.scale.is_none() || new.data().iter().all(|factor| usable(*factor)),
                Data,
                "the optimizer variable 'dynamic_scale' is {:?}; it must be finite and above 0",
                new.data()
            );
        }
        let places: Vec<Place> = self.places().into_iter().map(|(_, place)| place).collect();
        let mut variables = variables.into_iter();
        let built = self.is_built();
        if let Some(scale) = self.scale.as_mut().filter(|_| built) {
            scale.steps = scalar(variables.next()).map_or(scale.steps, |steps| steps as u64);
            scale.factor = scalar(variables.next()).unwrap_or(scale.factor);
        }
        if let Some(rate) = &mut self.learning_rate {
            *rate = scalar(variables.next()).unwrap_or(*rate);
        }
        for (place, tensor) in places.into_iter().zip(variables.by_ref()) {
            match place {
                Place::Average(weight) => self.weights[weight].average = Some(tensor),
                Place::Accumulator(weight) => self.weights[weight].accumulator = Some(tensor),
                Place::Slot(weight, slot) => self.weights[weight].slots[slot] = tensor,
            }
        }
        if let Some((_, value)) = &mut self.shared {
            *value = scalar(variables.next()).unwrap_or(*value);
        }
        Ok(())
    }

    /// All variables in the form of Keras' files: those that [`Stored`] calls unused stand there too, since
    /// Keras has them for each optimizer around another. It leaves out a [shared number](Optimizer::shared) there.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        let mut variables = self.variables();
        if self.lacks_shared() {
            variables.pop();
        }
        let mut values = variables.into_iter().map(|(_, value)| value);
        let mut stored = Vec::new();
        if let Some(scale) = self.scale {
            stored.extend([Stored::NoCount, Stored::NoRate]);
            if self.is_built() {
                values.next();
                stored.push(Stored::Count(scale.steps));
                stored.extend(values.next().map(Stored::Value));
            }
        }
        stored.push(Stored::Iterations(self.iterations));
        stored.extend(values.map(Stored::Value));
        stored
    }

    /// Whether [`stored`](Self::stored) leaves the shared number out.
    fn lacks_shared(&self) -> bool {
        self.scale.is_some() && self.shared.is_some() && self.is_built()
    }

    /// The shared number after so many steps, if [`stored`](Self::stored) leaves it out.
    pub(crate) fn lacking_shared(&self, optimizer: &dyn Optimizer, iterations: u64) -> Option<Tensor> {
        let (_, mut value) = optimizer.shared().filter(|_| self.lacks_shared())?;
        for t in 1..=iterations / optimizer.options().gradient_accumulation_steps.unwrap_or(1).max(1) {
            let next = optimizer.next_shared(value, t);
            // It ends at zero, and a file may name any number of steps.
            if next == value {
                break;
            }
            value = next;
        }
        Some(Tensor::full([], value))
    }

    /// The tensors by name, in the order of Keras' files.
    fn places(&self) -> Vec<(String, Place)> {
        let mut places = Vec::new();
        let mut add = |weight: &WeightState, name: &str, place| {
            places.push((format!("{}_{name}", weight.path.replace('/', "_")), place));
        };
        let weights = || self.weights.iter().enumerate();
        for (i, weight) in weights().filter(|(_, weight)| weight.average.is_some()) {
            add(weight, "average", Place::Average(i));
        }
        for (i, weight) in weights().filter(|(_, weight)| weight.accumulator.is_some()) {
            add(weight, "gradient_accumulator", Place::Accumulator(i));
        }
        let blocks = weights().flat_map(|(_, weight)| &weight.declared).map(|slot| slot.block + 1).max();
        for block in 0..blocks.unwrap_or(0) {
            for (i, weight) in weights() {
                for (j, slot) in weight.declared.iter().enumerate().filter(|(_, slot)| slot.block == block) {
                    add(weight, slot.name, Place::Slot(i, j));
                }
            }
        }
        places
    }
}

/// Where a tensor of the state stands: by weight, and by slot.
enum Place {
    Average(usize),
    Accumulator(usize),
    Slot(usize, usize),
}

fn scalar(tensor: Option<Tensor>) -> Option<f32> {
    tensor?.data().first().copied()
}

/// Adds up the gradients of each weight, and says whether all are finite after multiplication by `factor`.
fn finite(updates: &mut [Update<'_>], factor: f32) -> bool {
    updates.iter_mut().all(|update| {
        // That is an error, which is told where the weights are looked at.
        if !update.fits() {
            return true;
        }
        for other in &mut update.others {
            reduce::add(update.gradient, other);
            other.fill(0.0);
        }
        update.gradient.iter().all(|g| (g * factor).is_finite())
    })
}

/// The values of a piece of a weight: together with their slots they fit a first-level cache, ...
const PIECE: usize = 1 << 12;
/// ... and a weight has not more pieces than this: in larger ones a thread goes on by steps of that size.
const MAX_PIECES: usize = 64;

/// Where the gradient is yet to be computed, as many rows as make an efficient product ...
const PRODUCT_ROWS: usize = 14;
/// ... and have at most about so many values, which fit a second-level cache.
const PRODUCT_PIECE: usize = 1 << 16;

/// A weight with its state, or a part of it, on its way through a step.
struct Piece<'a> {
    path: &'a str,
    shape: &'a [usize],
    decay: Option<f32>,
    value: &'a mut [f32],
    gradient: &'a mut [f32],
    others: SmallVec<[&'a mut [f32]; 8]>,
    accumulator: Option<&'a mut [f32]>,
    average: Option<&'a mut [f32]>,
    slots: SmallVec<[&'a mut [f32]; 3]>,
    /// Whether its parts may be updated one after another.
    divisible: bool,
    /// What the gradient is to be computed from, if it is empty, from this row of the weight on.
    products: Option<&'a Products>,
    row: usize,
    squares: f64,
    scale: f32,
    result: Result<()>,
}

impl<'a> Piece<'a> {
    /// Values in a row of the weight.
    fn row_len(&self) -> usize {
        self.shape.last().copied().unwrap_or(1).max(1)
    }

    /// Cuts the first `n` values off; of a piece with products whole rows.
    fn cut<'b>(&mut self, n: usize) -> Piece<'b>
    where
        'a: 'b,
    {
        fn cut<'a>(values: &mut &'a mut [f32], n: usize) -> &'a mut [f32] {
            values.split_off_mut(..n).unwrap_or_default()
        }
        let row = self.row;
        self.row += n / self.row_len();
        Piece {
            path: self.path,
            shape: self.shape,
            decay: self.decay,
            value: cut(&mut self.value, n),
            gradient: cut(&mut self.gradient, n),
            others: self.others.iter_mut().map(|values| cut(values, n)).collect(),
            accumulator: self.accumulator.as_mut().map(|values| cut(values, n)),
            average: self.average.as_mut().map(|values| cut(values, n)),
            slots: self.slots.iter_mut().map(|values| cut(values, n)).collect(),
            divisible: self.divisible,
            products: self.products,
            row,
            squares: self.squares,
            scale: self.scale,
            result: Ok(()),
        }
    }
}

/// The updates with their states, in pieces if that changes nothing.
fn pieces<'a>(weights: &'a mut [WeightState], updates: &'a mut [Update<'_>], cut: bool) -> Result<Vec<Piece<'a>>> {
    // Both come in the same order, so one walk along both finds each update's state.
    let mut states = weights.iter_mut();
    let mut pieces = Vec::with_capacity(updates.len());
    for update in updates {
        let Some(state) = states.find(|state| state.path == update.path) else {
            return Err(Error::State(format!(
                "the optimizer does not know the weight '{}', or not at this place; compile again after layers were \
                 added, frozen or unfrozen",
                update.path
            )));
        };
        ensure!(
            state.shape == update.value.shape() && (update.products.is_some() || update.fits()),
            Shape,
            "weight '{}' has shape {:?} and a gradient of {} values; the optimizer was built for shape {:?}",
            update.path,
            update.value.shape(),
            update.gradient.len(),
            state.shape
        );
        let mut rest = Piece {
            path: update.path,
            shape: &state.shape,
            decay: state.decay,
            value: update.value.data_mut(),
            gradient: if update.products.is_some() { &mut [] } else { update.gradient },
            others: update.others.iter_mut().map(|other| &mut **other).collect(),
            accumulator: state.accumulator.as_mut().map(Tensor::data_mut),
            average: state.average.as_mut().map(Tensor::data_mut),
            slots: state.slots.iter_mut().map(Tensor::data_mut).collect(),
            divisible: false,
            products: update.products,
            row: 0,
            squares: 0.0,
            scale: 1.0,
            result: Ok(()),
        };
        let cut = cut && rest.slots.iter().all(|slot| slot.len() == rest.value.len());
        rest.divisible = cut;
        ensure!(cut || rest.products.is_none(), State, "weight '{}' needs its whole gradient", rest.path);
        let len = rest.value.len().div_ceil(MAX_PIECES).max(PIECE);
        let len = if rest.products.is_some() { len.next_multiple_of(rest.row_len()) } else { len };
        while cut && rest.value.len() > len {
            pieces.push(rest.cut(len));
        }
        pieces.push(rest);
    }
    Ok(pieces)
}

/// Up to so many values to be read, some 10 µs of work, it is done here.
const ALONE: usize = 1 << 16;

/// Works on all pieces, on all threads if there is enough to do.
fn for_each(pieces: &mut [Piece<'_>], work: impl Fn(&mut Piece<'_>) + Sync) {
    let values = |piece: &Piece<'_>| piece.value.len() * (2 + piece.others.len());
    if pieces.iter().map(values).sum::<usize>() <= ALONE {
        pieces.iter_mut().for_each(work);
    } else {
        threads::for_each(pieces, |_, piece| work(piece));
    }
}

/// What is the same for all weights in one step.
struct SharedStep<'a> {
    optimizer: &'a dyn Optimizer,
    options: &'a Options,
    /// What the loss was multiplied by.
    loss_scale: Option<f64>,
    /// Whether weights are updated, not only gradients gathered.
    moves: bool,
    /// The number of updates before this one.
    done: u64,
    learning_rate: f32,
    shared: f32,
}

impl SharedStep<'_> {
    /// Turns the gradient of this batch into that of the update.
    fn gather(&self, piece: &mut Piece<'_>) {
        let gradient = &mut *piece.gradient;
        for other in &mut piece.others {
            reduce::add(gradient, other);
            other.fill(0.0);
        }
        if let Some(scale) = self.loss_scale {
            gradient.iter_mut().for_each(|g| *g /= scale as f32);
        }
        let (Some(sum), Some(steps)) = (&mut piece.accumulator, self.options.gradient_accumulation_steps) else {
            return;
        };
        let values = gradient.iter_mut().zip(sum.iter_mut());
        if self.moves {
            values.for_each(|(g, sum)| {
                *g = (*g + *sum) / steps as f32;
                *sum = 0.0;
            });
        } else {
            values.for_each(|(g, sum)| *sum += *g);
        }
    }

    /// All of it, by parts that stay in the cache from the first pass to the last.
    fn all(&self, piece: &mut Piece<'_>) -> Result<()> {
        if let Some(products) = piece.products {
            return self.all_of_products(products, piece);
        }
        while piece.divisible && piece.value.len() > PIECE {
            let part = &mut piece.cut(PIECE);
            self.gather(part);
            self.finish(part)?;
        }
        self.gather(piece);
        self.finish(piece)
    }

    /// All of it where the gradient is yet to be computed: in memory that stays in the cache.
    fn all_of_products(&self, products: &Products, piece: &mut Piece<'_>) -> Result<()> {
        let most = (PRODUCT_PIECE / piece.row_len()).clamp(1, PRODUCT_ROWS) * piece.row_len();
        let mut gradient = Scratch::take(most.min(piece.value.len()));
        while !piece.value.is_empty() {
            let (row, len) = (piece.row, most.min(piece.value.len()));
            let mut part = piece.cut(len);
            part.gradient = &mut gradient[..len];
            products.rows(row, part.gradient);
            self.gather(&mut part);
            self.finish(&mut part)?;
        }
        Ok(())
    }

    /// All that follows once the gradient is known, up to the constraint.
    fn finish(&self, piece: &mut Piece<'_>) -> Result<()> {
        let Piece { path, shape, value, gradient, slots, .. } = piece;
        if self.moves {
            if piece.scale != 1.0 {
                gradient.iter_mut().for_each(|g| *g *= piece.scale);
            }
            if let Some(limit) = positive(self.options.clipvalue) {
                gradient.iter_mut().for_each(|g| *g = g.clamp(-limit as f32, limit as f32));
            }
            if let Some(decay) = piece.decay {
                value.iter_mut().for_each(|w| *w -= *w * decay * self.learning_rate);
            }
            let step = Step { learning_rate: self.learning_rate, t: self.done + 1, path, shape, shared: self.shared };
            self.optimizer.update(&step, value, gradient, slots)?;
        }
        if let Some(average) = &mut piece.average {
            let kept = if self.done == 0 { 0.0 } else { self.options.ema_momentum as f32 };
            let values = average.iter_mut().zip(value.iter());
            values.for_each(|(average, w)| *average = kept * *average + (1.0 - kept) * w);
            if self.options.ema_overwrite_frequency.is_some_and(|every| (self.done + 1).is_multiple_of(every)) {
                value.copy_from_slice(average);
            }
        }
        if piece.products.is_none() {
            // Here it is in the cache.
            gradient.fill(0.0);
        }
        Ok(())
    }
}

/// A limit that is set and above zero: zero means no clipping, as in Keras.
fn positive(limit: Option<f64>) -> Option<f64> {
    limit.filter(|&limit| limit > 0.0)
}

/// What a gradient of this norm is multiplied by, so that it becomes at most `limit`. A norm that is
/// not finite spoils all of it, so that divergence shows.
fn shortening(norm: f64, limit: f64) -> f32 {
    if norm.is_finite() { (limit / norm.max(limit)) as f32 } else { f32::NAN }
}
