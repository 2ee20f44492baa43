//! Weights, and the context in which a layer makes them.

use super::Arguments;
use crate::config::Shared;
use crate::constraints::Constraint;
use crate::error::{Context, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::{Layout, Packed};
use crate::random;
use crate::regularizers::Regularizer;
use crate::runtime::Share;
use crate::tensor::Tensor;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

/// A weight of a layer, learned or tracked. A clone is another handle to the same weight.
#[derive(Clone, Default)]
pub struct Param(Arc<ParamInner>);

#[derive(Default)]
struct ParamInner {
    id: u64,
    path: String,
    learned: bool,
    regularizer: Option<Shared<dyn Regularizer>>,
    constraint: Option<Shared<dyn Constraint>>,
    /// Shared with its aliases.
    stored: Arc<Stored>,
}

#[derive(Default)]
struct Stored {
    value: RwLock<Tensor>,
    /// How often it was opened for writing.
    version: AtomicU64,
    /// Copies as products read them.
    packed: Mutex<Vec<Kept>>,
}

/// A copy of a weight.
struct Kept {
    /// The version of the weight that it was made from.
    version: u64,
    packed: Arc<Packed>,
    /// What it takes of the memory for such copies.
    _share: Share,
}

impl Param {
    /// Where it stands in its model: `"conv2d/kernel"`.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The last part of its path: `"kernel"`.
    pub fn name(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is learned by gradient (a kernel) rather than tracked (a moving average).
    pub fn is_learned(&self) -> bool {
        self.0.learned
    }

    /// Its value. The tensor shares the weight's memory until one of them is written.
    pub fn value(&self) -> Tensor {
        self.0.stored.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its shape.
    pub fn shape(&self) -> Vec<usize> {
        self.0.stored.value.read().unwrap_or_else(PoisonError::into_inner).shape().to_vec()
    }

    /// The number of its values.
    pub(crate) fn len(&self) -> usize {
        self.0.stored.value.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Sets its value.
    ///
    /// # Errors
    /// When the shape is another one.
    pub fn set(&self, value: impl Into<Tensor>) -> Result<()> {
        let value = value.into();
        let mut old = self.write();
        ensure!(
            old.shape() == value.shape(),
            Shape,
            "weight '{}' has shape {:?}, cannot be set to one of shape {:?}",
            self.path(),
            old.shape(),
            value.shape()
        );
        // Copied in, so that a weight never keeps memory of some step's workspace.
        old.data_mut().copy_from_slice(value.data());
        Ok(())
    }

    /// Opens its value for writing, as long as the guard lives.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Tensor> {
        let guard = self.0.stored.value.write().unwrap_or_else(PoisonError::into_inner);
        self.0.stored.version.fetch_add(1, Ordering::Relaxed);
        guard
    }

    /// Its value as a product reads it, copied when it has changed since the last time; none where no copy is kept, or
    /// the [memory for copies](crate::runtime::set_weight_copies) is used up.
    pub(crate) fn packed(&self, layout: Layout) -> Option<Arc<Packed>> {
        if !layout.is_kept() {
            return None;
        }
        let stored = &*self.0.stored;
        // Nothing in here waits for another thread of the pool, so those who wait for this one go on soon.
        let mut all = stored.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let value = stored.value.read().unwrap_or_else(PoisonError::into_inner);
        // It changes only while the value is open for writing.
        let version = stored.version.load(Ordering::Relaxed);
        if Share::is_too_much() {
            all.clear();
        }
        if let Some(kept) = all.iter_mut().find(|kept| kept.packed.layout() == layout) {
            if kept.version != version {
                match Arc::get_mut(&mut kept.packed) {
                    Some(packed) => packed.renew(value.data()),
                    None => kept.packed = Arc::new(Packed::new(layout, value.data())),
                }
                kept.version = version;
            }
            return Some(kept.packed.clone());
        }
        let _share = Share::take(layout.bytes())?;
        let packed = Arc::new(Packed::new(layout, value.data()));
        all.push(Kept { version, packed: packed.clone(), _share });
        Some(packed)
    }

    /// What is added to the loss for its size.
    pub fn regularizer(&self) -> Option<&Shared<dyn Regularizer>> {
        self.0.regularizer.as_ref()
    }

    /// What it is brought back to after each step.
    pub fn constraint(&self) -> Option<&Shared<dyn Constraint>> {
        self.0.constraint.as_ref()
    }

    /// A number that changes with its value.
    pub(crate) fn version(&self) -> u64 {
        self.0.stored.version.load(Ordering::Relaxed)
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// What identifies its value, which a weight and its aliases share.
    #[cfg(feature = "keras")]
    pub(crate) fn value_id(&self) -> usize {
        Arc::as_ptr(&self.0.stored) as usize
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.path(), self.shape())
    }
}

/// The context in which a layer makes its weights.
#[derive(Clone, Debug)]
pub struct Build {
    seed: u64,
    path: String,
    /// How many more values may be made, when they are zeros that those of a file will replace.
    room: Option<Arc<AtomicUsize>>,
    /// What the call that the layer is built for is given.
    arguments: Arguments,
}

impl Build {
    /// Weights start as their initializers say.
    pub(crate) fn new(seed: u64) -> Self {
        Build { seed, path: String::new(), room: None, arguments: Arguments::default() }
    }

    /// Weights start as zeros, since a file has the values: so many, and no more can be made, so that
    /// a damaged file cannot ask for more memory than it fills.
    pub(crate) fn to_load(seed: u64, values: usize) -> Self {
        Build { room: Some(Arc::new(AtomicUsize::new(values))), ..Build::new(seed) }
    }

    /// What the paths of weights begin with here.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The same, for what stands below `name`.
    pub(crate) fn below(&self, name: &str) -> Self {
        Build { path: join(&self.path, name), ..self.clone() }
    }

    /// The same, for a layer that is built for a call with these arguments.
    pub(crate) fn called_with(&self, arguments: &Arguments) -> Self {
        Build { arguments: arguments.clone(), ..self.clone() }
    }

    /// What the call that the layer is built for is given besides its inputs: it says which inputs come by name.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Makes a learned weight. Its first values depend on the model's seed and on its path alone.
    ///
    /// # Errors
    /// When an argument is wrong or the weight is too large.
    pub fn weight(
        &mut self,
        name: &str,
        shape: &[usize],
        initializer: &Shared<dyn Initializer>,
        regularizer: &Option<Shared<dyn Regularizer>>,
        constraint: &Option<Shared<dyn Constraint>>,
    ) -> Result<Param> {
        let make = || {
            regularizer.as_ref().map_or(Ok(()), |r| r.check()).at(|| format!("{name}_regularizer"))?;
            constraint.as_ref().map_or(Ok(()), |c| c.check()).at(|| format!("{name}_constraint"))?;
            let mut inner = self.make(name, shape, initializer)?;
            inner.learned = true;
            inner.regularizer = regularizer.clone();
            inner.constraint = constraint.clone();
            Ok(Param(Arc::new(inner)))
        };
        make()
    }

    /// Makes a weight that is tracked, not learned: a moving average, a count.
    ///
    /// # Errors
    /// As [`weight`](Self::weight).
    pub fn state(&mut self, name: &str, shape: &[usize], initializer: &Shared<dyn Initializer>) -> Result<Param> {
        Ok(Param(Arc::new(self.make(name, shape, initializer)?)))
    }

    /// Another name, for files, of a weight that a layer inside has: the same value, which is not learned twice.
    pub(crate) fn alias(&self, name: &str, param: &Param) -> Param {
        let (id, stored) = (next_id(), param.0.stored.clone());
        Param(Arc::new(ParamInner { id, path: join(&self.path, name), stored, ..ParamInner::default() }))
    }

    /// Builds a child layer, whose weights' paths go through `name`.
    ///
    /// # Errors
    /// Those of `build`, with the child's name.
    pub fn child<T>(&mut self, name: &str, build: impl FnOnce(&mut Build) -> Result<T>) -> Result<T> {
        build(&mut self.below(name)).at(|| format!("'{name}'"))
    }

    /// The seed of the model.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn make(&self, name: &str, shape: &[usize], initializer: &Shared<dyn Initializer>) -> Result<ParamInner> {
        let path = join(&self.path, name);
        let bytes = shape.iter().try_fold(4usize, |n, &d| n.checked_mul(d));
        ensure!(
            bytes.is_some_and(|b| b <= isize::MAX as usize / 2),
            Shape,
            "weight '{path}' of shape {shape:?} is too large"
        );
        initializer.check().at(|| format!("{name}_initializer"))?;
        let value = match &self.room {
            None => {
                let mut rng = random::stream(self.seed, random::stream_of(&path), 0, 0);
                initializer.initialize(shape, &mut rng).at(|| format!("{name}_initializer"))?
            }
            Some(room) => {
                let values = shape.iter().product();
                let take = |left: usize| left.checked_sub(values);
                let taken = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
                ensure!(taken.is_ok(), Format, "the file has no values for weight '{path}' of shape {shape:?}");
                Tensor::zeros(shape)
            }
        };
        ensure!(
            value.shape() == shape,
            Shape,
            "{name}_initializer made values of shape {:?} for weight '{path}' of shape {shape:?}",
            value.shape()
        );
        let stored = Arc::new(Stored { value: RwLock::new(value), ..Stored::default() });
        Ok(ParamInner { id: next_id(), path, stored, ..ParamInner::default() })
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}
