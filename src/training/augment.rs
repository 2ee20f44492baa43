//! Layers as part of a dataset.

use crate::data::{Address, Dataset, Item};
use crate::error::{Error, Result};
use crate::layer::{Effects, Forward, Pass, Saved};
use crate::model::Model;
use crate::runtime::Workspaces;
use std::sync::OnceLock;

impl Dataset {
    /// Runs the first input of each element through layers in training mode (Keras:
    /// `ds.map(lambda x, y: (layers(x, training=True), y))`): a chain of augmentation layers, say, that shall work ahead
    /// on the workers of the dataset and not in the model. Elements may be samples or batches.
    ///
    /// What is random follows from the dataset's seed, the epoch and the sample's place, not from how many workers there
    /// are. The seed of the chain, [`with_seed`](crate::Sequential::with_seed), does not count; a layer's own seed does.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// use cornu::data::Dataset;
    /// let mut noise = Sequential::new();
    /// noise.add(GaussianNoise::new(0.1));
    /// let data = Dataset::from_arrays(ndarray::Array2::<f32>::zeros((6, 3)), vec![0; 6])?.with_seed(1);
    /// let noisy = data.batch(2).augment(noise);
    /// let batch = noisy.iter().next().unwrap()?;
    /// assert!(batch.x[0].data().iter().all(|v| *v != 0.0));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// Mistakes of the layers show as errors of the elements.
    pub fn augment(&self, layers: impl Into<Model>) -> Dataset {
        let layers = Layers { unbuilt: std::sync::Mutex::new(Some(layers.into())), built: OnceLock::new() };
        let (batched, workspaces) = (self.is_batched(), Workspaces::default());
        self.map_addressed(move |item, at| layers.run(item, at, batched, &workspaces))
    }
}

/// Layers that are built when the shape of their input is known.
struct Layers {
    unbuilt: std::sync::Mutex<Option<Model>>,
    built: OnceLock<Result<Model, String>>,
}

impl Layers {
    fn run(&self, item: Item, at: Address, batched: bool, workspaces: &Workspaces) -> Result<Item> {
        item.map_x(|x| {
            let shape = x.shape().to_vec();
            let x = if batched { x } else { x.reshape([&[1], &shape[..]].concat())? };
            let model = self.model(&x.shape()[1..])?;
            let graph = model.built()?;
            let y = workspaces.with(|workspace| {
                let pass = Pass {
                    training: true,
                    seed: at.pass.seed,
                    // What the samples of an element share is drawn anew for each element.
                    step: at.pass.epoch << 32 | at.index as u64,
                    first_sample: 0,
                    share: 1.0,
                    workspace: workspace.clone(),
                };
                let (mut saved, mut effects) = (Saved::default(), Effects::default());
                let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, false);
                graph.forward(x.into(), &mut cx)?.0.one()
            })?;
            match batched {
                true => Ok(y),
                false => {
                    let shape: Vec<usize> = y.shape()[1..].to_vec();
                    y.reshape(shape)
                }
            }
        })
    }

    fn model(&self, sample: &[usize]) -> Result<&Model> {
        let build = || {
            let unbuilt = self.unbuilt.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            let mut model = unbuilt.ok_or_else(|| "the layers could not be built".to_owned())?;
            match model.ensure_built(sample) {
                Ok(()) => Ok(model),
                Err(error) => Err(error.to_string()),
            }
        };
        let built: Result<&Model, &String> = self.built.get_or_init(build).as_ref();
        built.map_err(|reason| Error::State(reason.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Prefetch;
    use crate::layers::{Dense, Dropout, RandomCrop};
    use crate::model::Sequential;

    #[test]
    fn draws_follow_the_place_of_a_sample() {
        let dropped = |batch: Option<usize>, workers: usize, epoch: usize| -> Vec<Vec<f32>> {
            let data = Dataset::from_arrays(ndarray::Array2::<f32>::ones((12, 16)), ()).unwrap().with_seed(3);
            let mut layers = Sequential::new();
            layers.add(Dropout::new(0.5));
            let data = batch.map_or(data.clone(), |n| data.batch(n)).augment(layers);
            let data = data.prefetch(Prefetch::new().ahead(4).workers(workers));
            data.epoch(epoch).map(|item| item.unwrap().x[0].data().to_vec()).collect()
        };
        for batch in [None, Some(5)] {
            let once = dropped(batch, 0, 0);
            assert_eq!(once, dropped(batch, 3, 0));
            assert_ne!(once, dropped(batch, 0, 1));
            assert_ne!(once[0][..16], once[1][..16]);
        }
        // Within a batch too each sample has its own draws.
        let batch = &dropped(Some(5), 2, 0)[0];
        assert_ne!(batch[..16], batch[16..32]);
    }

    #[test]
    fn what_a_batch_shares_is_drawn_for_each_element() {
        let ramp = ndarray::Array4::from_shape_fn((8, 12, 12, 1), |(_, _, j, _)| j as f32);
        let data = Dataset::from_arrays(ramp, ()).unwrap().with_seed(1);
        for data in [data.clone(), data.batch(1)] {
            let mut layers = Sequential::new();
            layers.add(RandomCrop::new(3, 3));
            let data = data.augment(layers);
            let pieces = |epoch: usize| -> Vec<Vec<f32>> {
                data.epoch(epoch).map(|item| item.unwrap().x[0].data().to_vec()).collect()
            };
            let first = pieces(0);
            assert!(first.iter().any(|piece| *piece != first[0]), "{first:?}");
            assert_eq!(first, pieces(0));
            assert_ne!(first, pieces(1));
        }
    }

    #[test]
    fn layers_that_do_not_fit_say_so() {
        let data = Dataset::from_arrays(ndarray::Array2::<f32>::ones((2, 3)), ()).unwrap();
        let mut layers = Sequential::new();
        layers.add(crate::layers::Input::new([4])).add(Dense::new(2));
        for item in &data.augment(layers) {
            let error = item.unwrap_err().to_string();
            assert!(error.contains("map of element"), "{error}");
        }
    }
}
