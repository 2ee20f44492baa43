//! What goes into networks that were trained on ImageNet, and what their answers mean.

use crate::data::Element;
use crate::error::{Context, Error, Result, ensure};
use ndarray::{Array, ArrayBase, Axis, Data, Dimension, IxDyn, RemoveAxis};
use std::collections::BTreeMap;
use std::path::Path;

/// How images of RGB from 0 to 255 are made what a network was trained on (Keras: the `mode` of `preprocess_input`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preprocessing {
    /// RGB becomes BGR, and the means of ImageNet's channels, (103.939, 116.779, 123.68), are taken off: VGG, ResNet.
    Caffe,
    /// From 0 to 1, then less the means (0.485, 0.456, 0.406), divided by the deviations (0.229, 0.224, 0.225): what
    /// PyTorch's networks want.
    Torch,
    /// From -1 to 1: MobileNetV2.
    Tf,
}

/// Images of RGB from 0 to 255, channels last, as a network was trained on them (Keras:
/// `imagenet_utils.preprocess_input`). The modules of the networks have it with the right mode.
///
/// ```
/// use cornu::applications::{Preprocessing, preprocess_input};
/// let pixel = ndarray::array![[255.0, 127.5, 0.0]];
/// assert_eq!(preprocess_input(&pixel, Preprocessing::Tf)?, ndarray::array![[1.0, 0.0, -1.0]]);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When the last axis is not 3 channels; [`Preprocessing::Tf`] takes any.
pub fn preprocess_input<A: Element, D: RemoveAxis>(
    images: &ArrayBase<impl Data<Elem = A>, D>,
    mode: Preprocessing,
) -> Result<Array<f32, D>> {
    let mut x = images.map(|value| value.to_f32());
    let (means, deviations) = match mode {
        Preprocessing::Tf => {
            x.mapv_inplace(|value| value / 127.5 - 1.0);
            return Ok(x);
        }
        Preprocessing::Caffe => ([103.939, 116.779, 123.68], [1.0; 3]),
        Preprocessing::Torch => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    };
    ensure!(
        x.shape().last() == Some(&3),
        Shape,
        "images of shape {:?}: the last axis must be the 3 channels red, green and blue",
        x.shape()
    );
    let channels = Axis(x.ndim() - 1);
    match mode {
        Preprocessing::Caffe => x.invert_axis(channels),
        _ => x.mapv_inplace(|value| value / 255.0),
    }
    for ((mut channel, mean), deviation) in x.axis_iter_mut(channels).zip(means).zip(deviations) {
        channel.mapv_inplace(|value| (value - mean) / deviation);
    }
    Ok(x.as_standard_layout().into_owned())
}

/// The names of classes, from a file as Keras' `imagenet_class_index.json`:
/// `{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"], …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassIndex(Vec<(String, String)>);

impl ClassIndex {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, is not of this form, or leaves a number out.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
        Self::parse(&text).in_file(path)
    }

    /// From the text of such a file.
    ///
    /// ```
    /// use cornu::applications::ClassIndex;
    /// let index = ClassIndex::parse(r#"{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}"#)?;
    /// assert_eq!(index.len(), 2);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When it is not of this form, or leaves a number out.
    pub fn parse(text: &str) -> Result<Self> {
        let classes: BTreeMap<usize, (String, String)> = serde_json::from_str(text).map_err(|error| {
            Error::Format(format!("it is no index of classes, {{\"0\": [\"id\", \"name\"], ...}}: {error}"))
        })?;
        ensure!(!classes.is_empty(), Format, "the index names no class");
        if let Some((missing, _)) = classes.keys().enumerate().find(|(i, number)| i != *number) {
            return Err(Error::Format(format!("the index leaves out class {missing}; it must name all, from 0")));
        }
        Ok(ClassIndex(classes.into_values().collect()))
    }

    /// The number of classes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it names no class; it always names one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A class that a network sees in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognised {
    /// Its identifier in the index: `"n01440764"`.
    pub id: String,
    /// Its name: `"tench"`.
    pub description: String,
    /// What the network gave for it.
    pub score: f32,
}

/// The `top` classes of each image, best first (Keras: `decode_predictions`, there `top` is 5). Of equal scores the
/// class with the smaller number comes first; fewer classes than `top` are all listed.
///
/// `predictions` are a network's `(batch, classes)`.
///
/// ```
/// use cornu::applications::{ClassIndex, decode_predictions};
/// let index = ClassIndex::parse(r#"{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}"#)?;
/// let best = decode_predictions(&ndarray::array![[0.2, 0.8]], &index, 1)?;
/// assert_eq!(best[0][0].description, "goldfish");
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When the predictions are of another shape than the index.
pub fn decode_predictions<D: Dimension>(
    predictions: &ArrayBase<impl Data<Elem = f32>, D>,
    index: &ClassIndex,
    top: usize,
) -> Result<Vec<Vec<Recognised>>> {
    ensure!(
        predictions.ndim() == 2 && predictions.shape()[1] == index.len(),
        Shape,
        "predictions of shape {:?}; for an index of {} classes they must be (batch, {1})",
        predictions.shape(),
        index.len()
    );
    let predictions =
        predictions.view().into_dimensionality::<IxDyn>().map_err(|error| Error::Shape(error.to_string()))?;
    let decode = |scores: Vec<f32>| {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let recognised = |&class: &usize| {
            let (id, description) = index.0[class].clone();
            Recognised { id, description, score: scores[class] }
        };
        order.iter().take(top).map(recognised).collect()
    };
    Ok(predictions.outer_iter().map(|row| decode(row.iter().copied().collect())).collect())
}
