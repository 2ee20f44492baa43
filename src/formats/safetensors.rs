//! Weights as `.safetensors`: each under its path, `dense/kernel`. Those of PyTorch have other names and
//! other layouts; [`LoadWeights::pytorch`] says which.

use super::load_weights::{LoadWeights, Skipped, by_path};
use super::{Contents, StoredArray};
use crate::data::npy::{decode, f32_from_f16};
use crate::error::{Context, Error, Result, ensure};
use crate::files::write_whole;
use crate::layer::Param;
use crate::model::Model;
use crate::tensor::Tensor;
use safetensors::{Dtype, SafeTensors, View, serialize, tensor::TensorView};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// What PyTorch calls the weights, and how their values are turned.
#[derive(Clone, Debug, Default)]
pub(super) struct PyTorch {
    names: BTreeMap<String, String>,
    flattened: BTreeMap<String, [usize; 3]>,
}

impl LoadWeights {
    /// The file's weights come from PyTorch: `names` are pairs of a layer's path here and its module's there
    /// (`("conv2d", "features.0")`), and the weights below follow: `kernel` is `weight`, `moving_mean`
    /// `running_mean`, and so on. A pair of two weights' full names goes first. PyTorch's other weights, in
    /// modules that are not named, are unexpected unless [`by_name`](Self::by_name).
    ///
    /// Kernels of convolutions, `(out, in, height, width)` there, become `(height, width, in, out)`, those of
    /// Linear are transposed; grouped and depthwise ones and transposed convolutions are turned as they need.
    /// Recurrent layers and attention keep their weights in parts that do not correspond; they are refused.
    /// Needs the feature `safetensors`.
    ///
    /// ```no_run
    /// use cornu::{formats::LoadWeights, prelude::*};
    /// # let mut model = Sequential::new();
    /// let names = [("conv2d", "features.0"), ("conv2d_1", "features.3"), ("dense", "classifier.0")];
    /// model.load_weights_with(
    ///     "network.safetensors",
    ///     LoadWeights::new().pytorch(names).pytorch_flattened("dense", [512, 7, 7]),
    /// )?;
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn pytorch<A: Into<String>, B: Into<String>>(mut self, names: impl IntoIterator<Item = (A, B)>) -> Self {
        let names = names.into_iter().map(|(ours, theirs)| (ours.into(), theirs.into()));
        self.pytorch.get_or_insert_default().names.extend(names);
        self
    }

    /// The Dense layer at this path follows images that were flattened, of the shape `[channels, height, width]`
    /// in PyTorch: there a row of its kernel stands for another pixel than here, where channels come last.
    /// Belongs to [`pytorch`](Self::pytorch).
    pub fn pytorch_flattened(mut self, layer: impl Into<String>, image: [usize; 3]) -> Self {
        self.pytorch.get_or_insert_default().flattened.insert(layer.into(), image);
        self
    }
}

/// A tensor as the crate wants to see it.
struct Stored(Tensor);

impl View for Stored {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        self.0.shape()
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.0.data().iter().flat_map(|value| value.to_le_bytes()).collect()
    }
    fn data_len(&self) -> usize {
        4 * self.0.len()
    }
}

pub(super) fn save_weights(model: &Model, path: &Path) -> Result<()> {
    model.built()?;
    let weights = model.weights();
    let views = weights.iter().map(|weight| (weight.path(), Stored(weight.value())));
    let writer = [("writer".to_owned(), concat!("cornu ", env!("CARGO_PKG_VERSION")).to_owned())];
    let bytes = serialize(views, Some(writer.into())).map_err(damaged)?;
    write_whole(path, &bytes)
}

pub(super) fn load_weights(model: &mut Model, path: &Path, options: &LoadWeights) -> Result<Vec<Skipped>> {
    model.built()?;
    let bytes = read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let names = file.names();
    let get = |name: &str| tensor(&file.tensor(name).map_err(damaged)?);
    match &options.pytorch {
        None => by_path(model, options, names.into_iter(), |weight| weight.path().to_owned(), |_, name| get(name)),
        Some(pytorch) => {
            // A count of batches that nothing needs.
            let names = names.into_iter().filter(|name| !name.ends_with("num_batches_tracked"));
            let read = |weight: &Param, name: &str| pytorch.turned(weight, get(name)?);
            by_path(model, options, names, |weight| pytorch.name_of(weight.path()), read)
        }
    }
}

pub(super) fn inspect(path: &Path) -> Result<Contents> {
    let bytes = read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let mut arrays: Vec<StoredArray> = file
        .iter()
        .map(|(path, view)| StoredArray {
            path: path.to_owned(),
            dtype: view.dtype().to_string(),
            shape: view.shape().to_vec(),
        })
        .collect();
    arrays.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Contents { format: "safetensors, weights alone".to_owned(), config: None, compile: None, arrays })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::io(path, source))
}

fn damaged(error: safetensors::SafeTensorError) -> Error {
    Error::Format(format!("the safetensors data cannot be used: {error}"))
}

/// The crate has checked that the bytes are as many as type and shape ask for.
fn tensor(view: &TensorView<'_>) -> Result<Tensor> {
    let bytes = view.data();
    let values = match view.dtype() {
        Dtype::F32 => decode(bytes, false, f32::from_le_bytes),
        Dtype::F64 => decode(bytes, false, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => decode(bytes, false, |b| f32_from_f16(u16::from_le_bytes(b))),
        Dtype::BF16 => decode(bytes, false, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
        Dtype::I32 => decode(bytes, false, |b| i32::from_le_bytes(b) as f32),
        Dtype::I64 => decode(bytes, false, |b| i64::from_le_bytes(b) as f32),
        other => {
            return Err(Error::Format(format!(
                "its values are of type {other}; floats of 16 to 64 bits and integers of 32 and 64 can be read"
            )));
        }
    };
    Tensor::new(view.shape(), values)
}

impl PyTorch {
    /// What PyTorch calls this weight; a name that no file has where none is given.
    fn name_of(&self, path: &str) -> String {
        if let Some(name) = self.names.get(path) {
            return name.clone();
        }
        let (layer, weight) = path.rsplit_once('/').unwrap_or(("", path));
        let weight = match weight {
            "kernel" | "depthwise_kernel" | "pointwise_kernel" | "embeddings" | "gamma" | "scale" | "alpha" => "weight",
            "beta" => "bias",
            "moving_mean" => "running_mean",
            "moving_variance" => "running_var",
            other => other,
        };
        match self.names.get(layer) {
            Some(module) => format!("{module}.{weight}"),
            None => format!("(no module named for layer {layer}).{weight}"),
        }
    }

    /// A value as it lies here.
    fn turned(&self, weight: &Param, value: Tensor) -> Result<Tensor> {
        let (layer, name) = weight.path().rsplit_once('/').unwrap_or(("", weight.path()));
        let above = layer.rsplit('/').next().unwrap_or_default();
        ensure!(
            above != "cell" && !above.ends_with("_cell") && !name.starts_with("recurrent"),
            Argument,
            "PyTorch keeps the weights of recurrent layers in other parts and orders; set them with set_weights"
        );
        let want = weight.shape();
        if !name.ends_with("kernel") {
            // PReLU's have axes of length 1 here.
            let same = value.rank() == 1 && want.last() == Some(&value.len()) && value.len() == weight.value().len();
            return if same { value.reshape(&want) } else { Ok(value) };
        }
        if let Some(&[channels, height, width]) = self.flattened.get(layer) {
            let outputs = value.shape().first().copied().unwrap_or(0);
            let image =
                value.reshape([outputs, channels, height, width]).at(|| format!("flattened layer '{layer}'"))?;
            return channels_last(image)?.reshape([height * width * channels, outputs]);
        }
        let turned = channels_last(value)?;
        let n = want.len();
        // One input a group: there (…, 1, in * multiplier), here (…, in, multiplier).
        let depthwise = n > 2
            && turned.rank() == n
            && turned.shape()[..n - 2] == want[..n - 2]
            && turned.shape()[n - 2] == 1
            && turned.shape()[n - 1] == want[n - 2] * want[n - 1];
        if depthwise { turned.reshape(&want) } else { Ok(turned) }
    }
}

/// `(out, in, …)` as `(…, in, out)`.
fn channels_last(value: Tensor) -> Result<Tensor> {
    let rank = value.rank();
    ensure!(rank >= 2, Shape, "a kernel has at least two axes, this one has shape {:?}", value.shape());
    let axes: Vec<usize> = (2..rank).chain([1, 0]).collect();
    let turned = value.into_array().permuted_axes(axes);
    let shape = turned.shape().to_vec();
    Tensor::new(shape, turned.iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn network() -> Sequential {
        let mut model = Sequential::new().with_seed(3);
        model
            .add(Input::new([3, 4, 2]))
            .add(Conv2D::new(3, 2).name("conv"))
            .add(BatchNormalization::new().name("norm"))
            .add(Flatten::new())
            .add(Dense::new(5).name("head"));
        model.build().unwrap();
        model
    }

    fn write(path: &Path, tensors: &[(&str, &[usize], Vec<f32>)]) {
        let views =
            tensors.iter().map(|(name, shape, values)| (*name, Stored(Tensor::new(shape, values.clone()).unwrap())));
        std::fs::write(path, serialize(views, None).unwrap()).unwrap();
    }

    fn count(n: usize) -> Vec<f32> {
        (0..n).map(|v| v as f32).collect()
    }

    #[test]
    fn weights_come_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let model = network();
        model.save_weights(&path).unwrap();
        let mut other = network();
        other.set_weights(&model.get_weights().iter().map(|w| w.mapv(|_| 7.0)).collect::<Vec<_>>()).unwrap();
        other.load_weights(&path).unwrap();
        assert_eq!(other.get_weights(), model.get_weights());
        let contents = crate::formats::inspect(&path).unwrap();
        assert_eq!(contents.arrays[0].path, "conv/bias");
        assert!(Model::load(&path).unwrap_err().to_string().contains("weights alone"));
        assert!(model.save(&path).unwrap_err().to_string().contains("weights alone"));
    }

    /// PyTorch 2: `Conv2d(2, 3, 2)`, `BatchNorm2d(3)`, `Linear(18, 5)` after `flatten` of `(3, 2, 3)`.
    #[test]
    fn pytorch_has_other_names_and_layouts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let mut tensors = vec![
            ("net.0.weight", &[3, 2, 2, 2][..], count(24)),
            ("net.0.bias", &[3][..], count(3)),
            ("net.1.weight", &[3], vec![1.0; 3]),
            ("net.1.bias", &[3], vec![2.0; 3]),
            ("net.1.running_mean", &[3], vec![3.0; 3]),
            ("net.1.running_var", &[3], vec![4.0; 3]),
            ("net.1.num_batches_tracked", &[1], vec![9.0]),
            ("fc.weight", &[5, 18], count(90)),
            ("fc.bias", &[5], count(5)),
        ];
        write(&path, &tensors);
        let options = LoadWeights::new().pytorch([("conv", "net.0"), ("norm", "net.1"), ("head", "fc")]);
        let mut model = network();
        let skipped = model.load_weights_with(&path, options.clone().pytorch_flattened("head", [3, 2, 3])).unwrap();
        assert!(skipped.is_empty());
        let weights = model.get_weights();
        for (h, w, i, o) in [(0, 0, 0, 0), (1, 0, 1, 2), (0, 1, 0, 1)] {
            assert_eq!(weights[0][[h, w, i, o]], (o * 8 + i * 4 + h * 2 + w) as f32);
        }
        assert_eq!([2, 3, 4, 5].map(|i| weights[i][[0]]), [1.0, 2.0, 3.0, 4.0]);
        for (h, w, c, o) in [(0, 0, 0, 0), (1, 2, 1, 4), (0, 1, 2, 3)] {
            assert_eq!(weights[6][[(h * 3 + w) * 3 + c, o]], (o * 18 + c * 6 + h * 3 + w) as f32);
        }
        // Without the hint it is a plain transpose.
        model.load_weights_with(&path, options.clone()).unwrap();
        assert_eq!(model.get_weights()[6][[3, 2]], 39.0);
        let wrong = options.clone().pytorch_flattened("head", [4, 4, 4]);
        assert!(model.load_weights_with(&path, wrong).unwrap_err().to_string().contains("flattened layer 'head'"));
        // What is not named is told.
        let part = LoadWeights::new().pytorch([("conv", "net.0")]);
        let error = model.load_weights_with(&path, part.clone()).unwrap_err().to_string();
        assert!(error.contains("no module named for layer norm") && error.contains("'fc.weight'"), "{error}");
        let skipped = model.load_weights_with(&path, part.by_name(true)).unwrap();
        assert_eq!(skipped.len(), 12, "{skipped:?}");
        tensors[0] = ("net.0.weight", &[3, 2, 1, 4], count(24));
        write(&path, &tensors);
        let before = model.get_weights();
        let error = model.load_weights_with(&path, options.clone()).unwrap_err().to_string();
        assert!(error.contains("'conv/kernel' has shape [2, 2, 2, 3], got a value of shape [1, 4, 2, 3]"), "{error}");
        assert_eq!(model.get_weights(), before);
        let skipped = model.load_weights_with(&path, options.skip_mismatch(true)).unwrap();
        assert_eq!(skipped.iter().map(|s| s.place.as_str()).collect::<Vec<_>>(), ["conv/kernel"]);
    }

    /// PyTorch 2 and Keras 3 agree to rounding with kernels turned so.
    #[test]
    fn depthwise_and_transposed_kernels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, &[("a.weight", &[6, 1, 2, 2], count(24)), ("b.weight", &[6, 5, 3, 3], count(270))]);
        let mut model = Sequential::new();
        model
            .add(Input::new([4, 4, 3]))
            .add(DepthwiseConv2D::new(2).depth_multiplier(2).use_bias(false).name("depthwise"))
            .add(Conv2DTranspose::new(5, 3).use_bias(false).name("transposed"));
        model.build().unwrap();
        let options = LoadWeights::new().pytorch([("depthwise", "a"), ("transposed/kernel", "b.weight")]);
        assert_eq!(model.load_weights_with(&path, options).unwrap(), []);
        let weights = model.get_weights();
        assert_eq!(weights[0].shape(), [2, 2, 3, 2]);
        for (h, w, i, m) in [(0, 1, 0, 1), (1, 0, 2, 0), (1, 1, 1, 1)] {
            assert_eq!(weights[0][[h, w, i, m]], ((i * 2 + m) * 4 + h * 2 + w) as f32);
        }
        for (h, w, o, i) in [(0, 0, 1, 0), (2, 1, 4, 5), (1, 2, 0, 3)] {
            assert_eq!(weights[1][[h, w, o, i]], (i * 45 + o * 9 + h * 3 + w) as f32);
        }
    }

    #[test]
    fn recurrent_weights_are_refused() {
        let gru = crate::layer::Build::new(1)
            .below("gru")
            .child("cell", |cx| cx.weight("kernel", &[2, 6], &"zeros".into(), &None, &None));
        let error = PyTorch::default().turned(&gru.unwrap(), Tensor::zeros([6, 2])).unwrap_err();
        assert!(error.to_string().contains("recurrent"), "{error}");
    }

    #[test]
    fn halves_are_read() {
        let bytes: Vec<u8> = [0x3f80u16, 0xc020].iter().flat_map(|v| v.to_le_bytes()).collect();
        let bfloat = TensorView::new(Dtype::BF16, vec![2], &bytes).unwrap();
        assert_eq!(tensor(&bfloat).unwrap().data(), [1.0, -2.5]);
        let half = TensorView::new(Dtype::F16, vec![1, 2], &bytes).unwrap();
        assert_eq!(tensor(&half).unwrap().shape(), [1, 2]);
        let boolean = TensorView::new(Dtype::BOOL, vec![4], &bytes).unwrap();
        assert!(tensor(&boolean).unwrap_err().to_string().contains("BOOL"));
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let mut model = network();
        model.save_weights(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let before = model.get_weights();
        for cut in [0, 5, 8, 9, 20, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(model.load_weights(&path).is_err(), "{cut}");
        }
        // A damaged header is refused, or names another weight or shape.
        for i in 0..whole.len().min(600) {
            let mut damaged = whole.clone();
            damaged[i] ^= 0x11;
            std::fs::write(&path, &damaged).unwrap();
            let _ = model.load_weights(&path);
        }
        model.set_weights(&before).unwrap();
        let huge = br#"{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#;
        std::fs::write(&path, [&(huge.len() as u64).to_le_bytes(), huge.as_slice(), &[0; 4]].concat()).unwrap();
        assert!(model.load_weights(&path).is_err());
        assert_eq!(model.get_weights(), before);
    }
}
