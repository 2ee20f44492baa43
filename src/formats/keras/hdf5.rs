//! The little of HDF5 that Keras files need: everything of `hdf5-pure` that cornu uses is here.
//!
//! A file may lie about sizes and link in circles, so nothing is listed or walked: members are asked
//! for by name, and an array is read only when the file has the bytes for it.

use crate::error::{Context, Error, Result, ensure};
use crate::formats::StoredArray;
use crate::tensor::Tensor;
use hdf5_pure::{AttrValue, DType, Dataset, File, FileBuilder, FormatError, Group};
use std::cell::Cell;
use std::collections::BTreeMap;

/// A file that is read.
pub(super) struct Hdf5 {
    file: File,
    /// The bytes that have not been read yet, so that many names of one array cannot multiply it.
    left: Cell<u64>,
}

/// What a stored byte of a compressed array can unpack to, at most (deflate's limit).
const MOST_EXPANSION: u64 = 1032;

impl Hdf5 {
    pub fn open(bytes: Vec<u8>) -> Result<Self> {
        let left = Cell::new(bytes.len() as u64);
        let file = File::from_bytes(bytes).map_err(damaged)?;
        Ok(Hdf5 { file, left })
    }

    /// The group at this path, if there is one.
    pub fn group(&self, path: &str) -> Result<Option<Group>> {
        found(self.file.group(path))
    }

    /// The group of this name in another one, if there is one.
    pub fn group_in(&self, group: &Group, name: &str) -> Result<Option<Group>> {
        found(group.group(name))
    }

    pub fn root(&self) -> Group {
        self.file.root()
    }

    /// The arrays `0`, `1`, … of the group at this path; none if there is no such group.
    pub fn arrays(&self, path: &str) -> Result<Vec<Dataset>> {
        let Some(group) = self.group(path)? else { return Ok(Vec::new()) };
        (0..).map_while(|i| found(group.dataset(&format!("{i}"))).transpose()).collect()
    }

    /// The values of the array at this path below a group.
    pub fn array(&self, group: &Group, path: &str) -> Result<Tensor> {
        below(group, path).and_then(|array| self.tensor(&array)).at(|| format!("array '{path}'"))
    }

    /// The array at this path below a group.
    pub fn dataset_at(&self, group: &Group, path: &str) -> Result<Dataset> {
        below(group, path).at(|| format!("array '{path}'"))
    }

    /// The shape of an array.
    pub fn shape(&self, array: &Dataset) -> Result<Vec<usize>> {
        Ok(array.shape().map_err(damaged)?.iter().map(|&d| d as usize).collect())
    }

    /// The values of an array of numbers.
    pub fn tensor(&self, array: &Dataset) -> Result<Tensor> {
        let dtype = array.dtype().map_err(damaged)?;
        // 16-bit floats and the integers that stand for them would be read as something else.
        ensure!(
            matches!(dtype, DType::F32 | DType::F64 | DType::I32 | DType::I64),
            Format,
            "its values are of type {dtype}; only 32 and 64 bit numbers can be read"
        );
        let shape = self.spend(array)?;
        let values = array.read_f32().map_err(damaged)?;
        // The library has given back less than it was asked for before.
        Tensor::new(shape, values)
    }

    /// The only value of an array, as a whole number of at least 0.
    pub fn count(&self, array: &Dataset) -> Result<u64> {
        let shape = self.spend(array)?;
        let value = match array.read_i64().map_err(damaged)?.as_slice() {
            [value] => u64::try_from(*value).ok(),
            _ => None,
        };
        value.ok_or_else(|| Error::Format(format!("an array of shape {shape:?} is no count")))
    }

    /// Whether an array is a single whole number.
    pub fn is_count(&self, array: &Dataset) -> Result<bool> {
        let whole = matches!(array.dtype().map_err(damaged)?, DType::I32 | DType::I64);
        Ok(whole && self.shape(array)?.is_empty())
    }

    /// All arrays of the file with their types and shapes, those of a group before those below it.
    pub fn list(&self) -> Result<Vec<StoredArray>> {
        // A file may link in circles: then it seems to have endless arrays at endless depth.
        const MOST: usize = 20_000;
        const DEEPEST: usize = 40;
        let mut arrays = Vec::new();
        let mut groups = vec![(String::new(), self.root(), 0)];
        let mut seen = 0;
        while let Some((above, group, depth)) = groups.pop() {
            seen += 1;
            ensure!(depth <= DEEPEST && seen <= MOST, Format, "its groups have no end; they link in circles");
            let mut names = group.datasets().map_err(damaged)?;
            names.sort_by_key(|name| (name.len(), name.clone()));
            ensure!(arrays.len() + names.len() <= MOST, Format, "it has more than {MOST} arrays");
            for name in names {
                let array = below(&group, &name)?;
                arrays.push(StoredArray {
                    path: format!("{above}{name}"),
                    dtype: array.dtype().map_err(damaged)?.to_string(),
                    shape: self.shape(&array)?,
                });
            }
            let mut names = group.groups().map_err(damaged)?;
            // Taken from the end.
            names.sort_by(|a, b| b.cmp(a));
            for name in names {
                if let Some(group) = found(group.group(&name))? {
                    groups.push((format!("{above}{name}/"), group, depth + 1));
                }
            }
        }
        Ok(arrays)
    }

    /// The shape of an array that is about to be read, once the file is known to hold its values.
    fn spend(&self, array: &Dataset) -> Result<Vec<usize>> {
        let shape = self.shape(array)?;
        let size = array.element_size().map_err(damaged)?;
        let bytes = shape.iter().try_fold(size, |bytes, &d| bytes.checked_mul(d as u64));
        let stored = bytes.map(|bytes| if array.filters().is_empty() { bytes } else { bytes / MOST_EXPANSION });
        match stored.and_then(|stored| self.left.get().checked_sub(stored)) {
            Some(left) => self.left.set(left),
            None => {
                return Err(Error::Format(format!(
                    "an array of shape {shape:?} is larger than the file that claims it"
                )));
            }
        }
        Ok(shape)
    }
}

fn below(group: &Group, path: &str) -> Result<Dataset> {
    found(group.dataset(path))?.ok_or_else(|| Error::Format("the file does not have it".to_owned()))
}

/// An attribute that is text, or a list of texts. An empty list is stored as an empty list of numbers.
pub(super) fn strings(group: &Group, name: &str) -> Result<Option<Vec<String>>> {
    let attributes = group.attrs().map_err(damaged)?;
    match attributes.get(name) {
        None => Ok(None),
        Some(AttrValue::F64Array(empty)) if empty.is_empty() => Ok(Some(Vec::new())),
        Some(value) => match value.as_strings() {
            Some(strings) => Ok(Some(strings.to_vec())),
            None => Err(Error::Format(format!("the attribute '{name}' is no text"))),
        },
    }
}

fn damaged(error: hdf5_pure::Error) -> Error {
    Error::Format(format!("the HDF5 data cannot be read: {error}"))
}

fn found<T>(result: Result<T, hdf5_pure::Error>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(hdf5_pure::Error::Format(FormatError::PathNotFound(_))) => Ok(None),
        Err(error) => Err(damaged(error)),
    }
}

/// A file that is written: groups, and in each of them the arrays `0`, `1`, ….
#[derive(Default)]
pub(super) struct Tree {
    groups: BTreeMap<String, Tree>,
    arrays: Vec<Array>,
}

pub(super) enum Array {
    Floats(Tensor),
    Count(i32),
}

impl Tree {
    /// Adds an array to the group at this path.
    pub fn push(&mut self, path: &str, array: Array) {
        let group = path.split('/').fold(self, |tree, name| tree.groups.entry(name.to_owned()).or_default());
        group.arrays.push(array);
    }

    /// The bytes of the file.
    pub fn finish(self) -> Result<Vec<u8>> {
        let mut file = FileBuilder::new();
        for (name, tree) in self.groups {
            let mut group = file.create_group(&name);
            tree.fill(&mut group);
            file.add_group(group.finish());
        }
        file.finish().map_err(|error| Error::Format(format!("the HDF5 data cannot be written: {error}")))
    }

    fn fill(self, group: &mut hdf5_pure::GroupBuilder) {
        for (i, array) in self.arrays.into_iter().enumerate() {
            let set = group.create_dataset(&i.to_string());
            match array {
                Array::Floats(tensor) => {
                    let shape: Vec<u64> = tensor.shape().iter().map(|&d| d as u64).collect();
                    set.with_f32_data(tensor.data()).with_shape(&shape);
                }
                Array::Count(count) => {
                    set.with_i32_data(&[count]).with_shape(&[]);
                }
            }
        }
        for (name, tree) in self.groups {
            let mut inner = group.create_group(&name);
            tree.fill(&mut inner);
            group.add_group(inner.finish());
        }
    }
}
