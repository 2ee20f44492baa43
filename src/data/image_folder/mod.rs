//! Images in a folder as a dataset: Keras' `image_dataset_from_directory`.

mod index;
mod pixels;

use super::image::ColorMode;
use super::{Dataset, Item, Prefetch, RandomState};
use crate::error::{Context, Error, Result, ensure};
use crate::kernels::resize::Interpolation;
use crate::tensor::Tensor;
use pixels::Pixels;
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What the target of an image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelMode {
    /// The number of its class, of shape `(batch,)`: for `sparse_categorical_crossentropy`.
    #[default]
    Int,
    /// A row with a single 1, `(batch, classes)`: for `categorical_crossentropy`.
    Categorical,
    /// 0 or 1, `(batch, 1)`: for `binary_crossentropy`. There must be two classes.
    Binary,
    /// There is none.
    None,
}

/// Which part of a folder is meant, where `validation_split` cuts it in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subset {
    /// The first part.
    Training,
    /// The rest.
    Validation,
}

/// What happens to a file or folder that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// An error that names it.
    #[default]
    Fail,
    /// It is left out and counted: [`ImageDataset::skipped`].
    Skip,
}

/// Describes the images in `directory`; [`load`](ImageFolder::load) or [`load_both`](ImageFolder::load_both) looks for
/// them (Keras: `image_dataset_from_directory`).
///
/// Each folder in it holds the images of one class, in folders of its own if need be:
///
/// ```text
/// photographs/
///   cat/ 1.jpg 2.jpg …
///   dog/ 1.jpg 2.jpg …
/// ```
///
/// Images are read when their batch is needed, on the workers of the dataset's [`prefetch`](Dataset::prefetch), which
/// `fit` adds by itself. Their values are from 0 to 255, of shape `(batch, height, width, channels)`.
///
/// Files are PNG, JPEG or BMP. As in Keras photographs are taken as they lie in the file, however the camera was held;
/// [`load_img`](super::image::load_img) turns them upright.
///
/// ```
/// use cornu::data::{image, image_dataset_from_directory};
/// # let folder = tempfile::tempdir().unwrap();
/// # let photographs = folder.path();
/// # for class in ["cat", "dog"] {
/// #     std::fs::create_dir(photographs.join(class)).unwrap();
/// #     for i in 0..5 {
/// #         let pixels = ndarray::Array3::from_elem((20, 30, 3), i as f32);
/// #         image::save_img(photographs.join(class).join(format!("{i}.png")), &pixels)?;
/// #     }
/// # }
/// let (train, validation) = image_dataset_from_directory(photographs)
///     .image_size(16, 16)
///     .batch_size(4)
///     .validation_split(0.2)
///     .seed(1)
///     .verbose(false)
///     .load_both()?;
/// assert_eq!(train.class_names, ["cat", "dog"]);
/// assert_eq!((train.file_paths.len(), validation.file_paths.len()), (8, 2));
/// let batch = train.iter().next().unwrap()?;
/// assert_eq!((batch.x[0].shape(), batch.y[0].shape()), (&[4, 16, 16, 3][..], &[4][..]));
/// # Ok::<(), cornu::Error>(())
/// ```
pub fn image_dataset_from_directory(directory: impl AsRef<Path>) -> ImageFolder {
    ImageFolder {
        directory: directory.as_ref().to_owned(),
        labels: Labels::Inferred,
        label_mode: LabelMode::default(),
        class_names: None,
        color_mode: ColorMode::default(),
        batch_size: Some(32),
        image_size: [256, 256],
        interpolation: Interpolation::Bilinear,
        crop_to_aspect_ratio: false,
        pad_to_aspect_ratio: false,
        shuffle: true,
        seed: None,
        validation_split: None,
        subset: None,
        follow_links: false,
        verbose: true,
        on_error: OnError::default(),
        max_bytes: 1 << 28,
    }
}

/// A folder of images and how they become a dataset: see [`image_dataset_from_directory`].
#[derive(Clone, Debug)]
pub struct ImageFolder {
    directory: PathBuf,
    labels: Labels,
    label_mode: LabelMode,
    class_names: Option<Vec<String>>,
    color_mode: ColorMode,
    batch_size: Option<usize>,
    image_size: [usize; 2],
    interpolation: Interpolation,
    crop_to_aspect_ratio: bool,
    pad_to_aspect_ratio: bool,
    shuffle: bool,
    seed: Option<u32>,
    validation_split: Option<f64>,
    subset: Option<Subset>,
    follow_links: bool,
    verbose: bool,
    on_error: OnError,
    max_bytes: u64,
}

#[derive(Clone, Debug)]
enum Labels {
    Inferred,
    None,
    Given(Vec<usize>),
}

/// The images of a folder: a [`Dataset`], to which it dereferences, and where they come from.
#[derive(Clone, Debug)]
pub struct ImageDataset {
    /// Images and labels.
    pub dataset: Dataset,
    /// The classes in the order of their numbers.
    pub class_names: Vec<String>,
    /// The files, in the order before each epoch's shuffling.
    pub file_paths: Vec<PathBuf>,
    skipped: Arc<Mutex<Vec<String>>>,
}

impl ImageDataset {
    /// What was left out so far, with the reasons, each file once. A damaged file shows only when it is read.
    pub fn skipped(&self) -> Vec<String> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Deref for ImageDataset {
    type Target = Dataset;
    fn deref(&self) -> &Dataset {
        &self.dataset
    }
}

impl ImageFolder {
    /// The class number of each image, in the alphabetical order of their paths; then folders mean nothing, and the
    /// names of the classes are the numbers.
    pub fn labels(mut self, labels: impl IntoIterator<Item = usize>) -> Self {
        self.labels = Labels::Given(labels.into_iter().collect());
        self
    }

    /// Images without targets, in whatever folders they lie (Keras: `labels=None`).
    pub fn without_labels(mut self) -> Self {
        self.labels = Labels::None;
        self
    }

    /// What the target of an image is. Default: the number of its class.
    pub fn label_mode(mut self, label_mode: LabelMode) -> Self {
        self.label_mode = label_mode;
        self
    }

    /// The classes to take, in the order of their numbers. Default: all folders, in alphabetical order.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.class_names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The channels. Default: red, green and blue.
    pub fn color_mode(mut self, color_mode: ColorMode) -> Self {
        self.color_mode = color_mode;
        self
    }

    /// Images in a batch; without (`batch_size(None)`) the elements are single images. Default: 32.
    pub fn batch_size(mut self, batch_size: impl Into<Option<usize>>) -> Self {
        self.batch_size = batch_size.into();
        self
    }

    /// The size that all images are brought to. Default: 256 by 256.
    pub fn image_size(mut self, height: usize, width: usize) -> Self {
        self.image_size = [height, width];
        self
    }

    /// How values between those of an image are found. Default: bilinear. As in Keras nothing is averaged when an image
    /// becomes smaller, but for [`Interpolation::Area`].
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }

    /// Cuts the largest middle part with the new proportions out first. Default: no, the image is stretched.
    pub fn crop_to_aspect_ratio(mut self, crop: bool) -> Self {
        self.crop_to_aspect_ratio = crop;
        self
    }

    /// Keeps the proportions and fills up with zeros. Default: no, the image is stretched.
    pub fn pad_to_aspect_ratio(mut self, pad: bool) -> Self {
        self.pad_to_aspect_ratio = pad;
        self
    }

    /// Whether the files are mixed before they are split, and again in each epoch. Default: yes. Otherwise they come
    /// class by class in alphabetical order.
    ///
    /// With the same seed the same files go into the same part as in Keras. Each epoch's order then is another one than
    /// Keras', and any order of all files is possible, while Keras mixes within eight batches.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// The seed of that order. Default: a fresh one.
    pub fn seed(mut self, seed: u32) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The part of the files that is for validation: 0.2 is a fifth.
    pub fn validation_split(mut self, fraction: f64) -> Self {
        self.validation_split = Some(fraction);
        self
    }

    /// The part that [`load`](Self::load) takes.
    pub fn subset(mut self, subset: Subset) -> Self {
        self.subset = Some(subset);
        self
    }

    /// Whether links to folders are followed within a class. Default: no.
    pub fn follow_links(mut self, follow: bool) -> Self {
        self.follow_links = follow;
        self
    }

    /// Whether a line says how many files were found. Default: yes.
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.verbose = verbose;
        self
    }

    /// What happens to files that are damaged, too large or no images, to links that lead in a circle and to classes
    /// without images. Default: an error that names them.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// The most bytes that an image may take, as a file and decoded (height x width x channels, those of the file or
    /// those that are asked for). Default: 256 MiB. While it decodes, each worker can need a few times as much memory.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Looks for the images and makes a dataset of them, or of the [`subset`](Self::subset).
    ///
    /// # Errors
    /// When the folder cannot be read or holds no images, and when options do not go together.
    pub fn load(&self) -> Result<ImageDataset> {
        ensure!(
            self.subset.is_some() == self.validation_split.is_some(),
            Argument,
            "validation_split and subset belong together: subset says which part is meant, load_both takes both"
        );
        self.at_folder(|| {
            let found = self.find()?;
            let part = self.part(&found, self.subset)?;
            self.dataset(&found, part, self.subset != Some(Subset::Validation))
        })
    }

    /// Looks for the images and makes two datasets of them, for training and validation (Keras: `subset="both"`).
    ///
    /// # Errors
    /// As [`load`](Self::load); when there is no `validation_split`.
    pub fn load_both(&self) -> Result<(ImageDataset, ImageDataset)> {
        ensure!(self.validation_split.is_some(), Argument, "load_both needs a validation_split");
        ensure!(self.subset.is_none(), Argument, "load_both takes both subsets; leave subset out");
        self.at_folder(|| {
            let found = self.find()?;
            let part = |subset, shuffle| self.dataset(&found, self.part(&found, Some(subset))?, shuffle);
            // As in Keras, the order of what is for validation never changes.
            Ok((part(Subset::Training, true)?, part(Subset::Validation, false)?))
        })
    }

    fn at_folder<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        work().at(|| format!("images in '{}'", self.directory.display()))
    }

    /// The files and the class of each, in the order in which they are split.
    fn find(&self) -> Result<Found> {
        ensure!(
            self.validation_split.is_none_or(|fraction| fraction > 0.0 && fraction < 1.0),
            Argument,
            "validation_split is {}; it must be above 0 and below 1",
            self.validation_split.unwrap_or_default()
        );
        ensure!(
            self.validation_split.is_none() || !self.shuffle || self.seed.is_some(),
            Argument,
            "with validation_split give a seed, or shuffle(false), so that both parts have no image in common"
        );
        ensure!(
            !(self.crop_to_aspect_ratio && self.pad_to_aspect_ratio),
            Argument,
            "crop_to_aspect_ratio and pad_to_aspect_ratio are both set; choose one"
        );
        let [height, width] = self.image_size;
        let bytes = height.checked_mul(width).and_then(|n| n.checked_mul(16));
        ensure!(bytes.is_some_and(|n| n > 0 && n <= 1 << 32), Argument, "images of {height} by {width} cannot be made");

        let mut skipped = Vec::new();
        let mut files = Vec::new();
        let mut class_names = Vec::new();
        if let Labels::Inferred = self.labels {
            let there = index::classes(&self.directory)?;
            class_names = self.class_names.clone().unwrap_or_else(|| there.clone());
            if let Some(name) = class_names.iter().find(|name| !there.contains(name)) {
                return Err(Error::unknown_name("class", name, there.iter().map(String::as_str)));
            }
            for (class, name) in class_names.iter().enumerate() {
                let folder = self.directory.join(name);
                let images = index::images(&folder, self.follow_links, self.on_error, &mut skipped)?;
                if images.is_empty() {
                    let error = Error::Data(format!("the class '{name}' has no images"));
                    match self.on_error {
                        OnError::Fail => return Err(error),
                        OnError::Skip => skipped.push(error),
                    }
                }
                files.extend(images.into_iter().map(|path| (path, class)));
            }
        } else {
            ensure!(
                self.class_names.is_none(),
                Argument,
                "class_names goes with labels that are inferred from folders"
            );
            let images = index::images(&self.directory, self.follow_links, self.on_error, &mut skipped)?;
            files = images.into_iter().map(|path| (path, 0)).collect();
            if let Labels::Given(labels) = &self.labels {
                ensure!(
                    labels.len() == files.len(),
                    Data,
                    "there are {} labels and {} images; each image needs one",
                    labels.len(),
                    files.len()
                );
                files.iter_mut().zip(labels).for_each(|((_, class), label)| *class = *label);
                let distinct: std::collections::BTreeSet<_> = labels.iter().collect();
                class_names = distinct.into_iter().map(usize::to_string).collect();
            }
        }
        ensure!(!files.is_empty(), Data, "there are no images: files named .png, .jpg, .jpeg or .bmp");
        ensure!(
            !self.labelled() || self.label_mode != LabelMode::Binary || class_names.len() == 2,
            Argument,
            "binary labels are for two classes; here are {}: {class_names:?}",
            class_names.len()
        );
        if self.verbose {
            match self.labelled() {
                true => say(&format!("Found {} files belonging to {} classes.", files.len(), class_names.len())),
                false => say(&format!("Found {} files.", files.len())),
            }
        }
        let seed = self.seed.unwrap_or_else(|| crate::random::fresh_seed() as u32);
        if self.shuffle {
            RandomState::new(seed).shuffle(&mut files);
        }
        let skipped = skipped.iter().map(Error::to_string).collect();
        Ok(Found { files, class_names, seed, skipped })
    }

    fn labelled(&self) -> bool {
        !matches!(self.labels, Labels::None) && self.label_mode != LabelMode::None
    }

    /// The files of a subset.
    fn part<'f>(&self, found: &'f Found, subset: Option<Subset>) -> Result<&'f [(PathBuf, usize)]> {
        let files = &found.files[..];
        let validation = (self.validation_split.unwrap_or_default() * files.len() as f64) as usize;
        let Some(subset) = subset else { return Ok(files) };
        let (training, validation) = files.split_at(files.len() - validation);
        let (part, name) = match subset {
            Subset::Training => (training, "training"),
            Subset::Validation => (validation, "validation"),
        };
        if self.verbose {
            say(&format!("Using {} files for {name}.", part.len()));
        }
        ensure!(!part.is_empty(), Data, "of {} images none is left for {name}", files.len());
        Ok(part)
    }

    fn dataset(&self, found: &Found, files: &[(PathBuf, usize)], shuffle: bool) -> Result<ImageDataset> {
        let settings = self.clone();
        let classes = match &self.labels {
            Labels::Given(labels) => labels.iter().max().map_or(0, |largest| largest + 1).max(found.class_names.len()),
            _ => found.class_names.len(),
        };
        let shared: Arc<[(PathBuf, usize)]> = files.into();
        let paths = shared.clone();
        let read = move |i: usize| -> Result<Item> {
            let (path, class) = &paths[i];
            let x = settings.read(path)?;
            let y = settings.labelled().then(|| settings.target(*class, classes)).transpose()?;
            Ok(Item { x: vec![x], y: y.into_iter().collect(), weights: Vec::new() })
        };
        let mut dataset = Dataset::from_fn(files.len(), read);
        if self.shuffle && shuffle {
            dataset = dataset.shuffle(files.len());
        }
        let skipped = Arc::new(Mutex::new(found.skipped.clone()));
        if self.on_error == OnError::Skip {
            let list = skipped.clone();
            dataset = dataset.prefetch(Prefetch::new()).ignore_errors(move |error| {
                let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
                let reason = error.to_string();
                if !list.contains(&reason) {
                    list.push(reason);
                }
            });
        }
        if let Some(size) = self.batch_size {
            dataset = dataset.batch(size);
        }
        if self.seed.is_some() {
            dataset = dataset.with_seed(u64::from(found.seed));
        }
        let file_paths = files.iter().map(|(path, _)| path.clone()).collect();
        Ok(ImageDataset { dataset, class_names: found.class_names.clone(), file_paths, skipped })
    }

    /// The image of a file, of shape `(height, width, channels)`.
    fn read(&self, path: &Path) -> Result<Tensor> {
        let pixels = Pixels::read(path, self.color_mode, self.max_bytes)?;
        match (self.crop_to_aspect_ratio, self.pad_to_aspect_ratio) {
            (true, _) => pixels.cropped(self.image_size, self.interpolation),
            (_, true) => pixels.padded(self.image_size, self.interpolation),
            _ => pixels.resized(self.image_size, self.interpolation),
        }
    }

    fn target(&self, class: usize, classes: usize) -> Result<Tensor> {
        match self.label_mode {
            LabelMode::Categorical => {
                let row = (0..classes).map(|i| if i == class { 1.0 } else { 0.0 }).collect();
                Tensor::new([classes], row)
            }
            LabelMode::Binary => Tensor::new([1], vec![class as f32]),
            LabelMode::Int | LabelMode::None => Tensor::new([], vec![class as f32]),
        }
    }
}

/// Prints a line for the user. A closed output is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What lies in a folder.
struct Found {
    /// The images and their classes, shuffled if that is wanted.
    files: Vec<(PathBuf, usize)>,
    class_names: Vec<String>,
    seed: u32,
    skipped: Vec<String>,
}
