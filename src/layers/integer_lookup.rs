//! Whole numbers as their places in a table.

use super::encoding::Encoding;
use super::hashing::whole;
use crate::config::{self, Config};
use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

/// Whole numbers as their places in a vocabulary (Keras: `IntegerLookup`).
///
/// Place 0 is that of the mask, if there is one; then come those of numbers that the vocabulary does not have, one by
/// default, and then the vocabulary, which is given or [taken from data](Self::adapt). By default the output has the shape
/// of the input; see [`Encoding`] for the others. What stands behind the point is cut off. Values of 32 bits hold whole
/// numbers up to 16,777,216 exactly; larger ones are an error. (A vocabulary may have them, but they are never looked up,
/// and an inverted layer rounds them.)
///
/// ```
/// use cornu::{layers::IntegerLookup, prelude::*};
/// let mut model = Sequential::new();
/// model.add(Input::new([3])).add(IntegerLookup::new([30, 10]));
/// model.build()?;
/// let y = model.predict(&ndarray::array![[10, 20, 30]], Predict::default())?;
/// assert_eq!(y, ndarray::array![[2.0, 0.0, 1.0]].into_dyn());
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct IntegerLookup {
    max_tokens: Option<usize>,
    num_oov_indices: usize,
    mask_token: Option<i64>,
    oov_token: i64,
    vocabulary: Option<Vec<i64>>,
    vocabulary_dtype: String,
    idf_weights: Option<Vec<f64>>,
    invert: bool,
    output_mode: Encoding,
    sparse: bool,
    pad_to_max_tokens: bool,
    /// The place of each number in the vocabulary as it was given; made when it is needed first.
    #[serde(skip)]
    places: OnceLock<HashMap<i64, usize>>,
}

impl Default for IntegerLookup {
    fn default() -> Self {
        IntegerLookup {
            max_tokens: None,
            num_oov_indices: 1,
            mask_token: None,
            oov_token: -1,
            vocabulary: None,
            vocabulary_dtype: "int64".to_owned(),
            idf_weights: None,
            invert: false,
            output_mode: Encoding::Int,
            sparse: false,
            pad_to_max_tokens: false,
            places: OnceLock::new(),
        }
    }
}

impl IntegerLookup {
    /// With this vocabulary, without repetitions.
    pub fn new(vocabulary: impl Into<Vec<i64>>) -> Self {
        IntegerLookup { vocabulary: Some(vocabulary.into()), ..Self::default() }
    }

    /// With a vocabulary that comes from [`adapt`](Self::adapt), of at most so many places in all.
    pub fn with_max_tokens(max_tokens: impl Into<Option<usize>>) -> Self {
        IntegerLookup { max_tokens: max_tokens.into(), ..Self::default() }
    }

    /// How many places numbers have that the vocabulary does not have: with 0 they are an error, with several the
    /// remainder of the division by that number says which. Default 1.
    pub fn num_oov_indices(mut self, num_oov_indices: usize) -> Self {
        self.num_oov_indices = num_oov_indices;
        self
    }

    /// A number that has place 0 for itself, and that vectors leave out. Default: none.
    pub fn mask_token(mut self, mask_token: i64) -> Self {
        self.mask_token = Some(mask_token);
        self
    }

    /// What an inverted layer gives for a place that is none of the vocabulary's. Default -1.
    pub fn oov_token(mut self, oov_token: i64) -> Self {
        self.oov_token = oov_token;
        self
    }

    /// Whether it takes places and gives numbers. Default false.
    pub fn invert(mut self, invert: bool) -> Self {
        self.invert = invert;
        self
    }

    /// What becomes of the places. Default: [`Encoding::Int`].
    pub fn output_mode(mut self, output_mode: Encoding) -> Self {
        self.output_mode = output_mode;
        self
    }

    /// Whether vectors are as long as `max_tokens`, if the vocabulary is smaller. Default false.
    pub fn pad_to_max_tokens(mut self, pad_to_max_tokens: bool) -> Self {
        self.pad_to_max_tokens = pad_to_max_tokens;
        self
    }

    /// Takes the vocabulary from these samples: the most frequent number first, of equally frequent ones the largest
    /// (Keras: `adapt`). It is to be called before the layer is added to a model.
    ///
    /// # Errors
    /// When the vocabulary was given, or a value is no whole number of up to 16,777,216.
    pub fn adapt(mut self, data: &dyn Rows) -> Result<Self> {
        let given = "the vocabulary was given; it cannot be taken from data as well";
        ensure!(self.vocabulary.is_none(), State, "{given}");
        let rows: Vec<usize> = (0..data.len()).collect();
        let mut values = vec![0f32; rows.len() * data.sample_shape().iter().product::<usize>()];
        data.gather(&rows, &mut values);
        let mut counts: HashMap<i64, usize> = HashMap::new();
        whole(&Tensor::new([values.len()], values)?)?.into_iter().for_each(|n| *counts.entry(n).or_default() += 1);
        let special = |n: &i64| Some(*n) == self.mask_token || *n == self.oov_token;
        let mut counts: Vec<(usize, i64)> =
            counts.into_iter().filter(|(n, _)| !special(n)).map(|(n, count)| (count, n)).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let most = self.max_tokens.map_or(usize::MAX, |max| max.saturating_sub(self.first()));
        self.vocabulary = Some(counts.into_iter().take(most).map(|(_, n)| n).collect());
        self.places = OnceLock::new();
        Ok(self)
    }

    /// The numbers of all places, those for the mask and for unknown numbers among them.
    pub fn get_vocabulary(&self) -> Vec<i64> {
        self.special().chain(self.known().iter().copied()).collect()
    }

    /// The mask, which has a place among numbers alone, and the places of unknown ones.
    fn special(&self) -> impl Iterator<Item = i64> {
        let mask = self.mask_token.filter(|_| self.output_mode == Encoding::Int);
        mask.into_iter().chain(std::iter::repeat_n(self.oov_token, self.num_oov_indices))
    }

    /// The place of the first number of the vocabulary.
    fn first(&self) -> usize {
        self.special().count()
    }

    /// The vocabulary, without mask and unknown numbers, with which it may begin.
    fn known(&self) -> &[i64] {
        let all = self.vocabulary.as_deref().unwrap_or_default();
        let n = self.first();
        let begins = n > 0 && all.len() >= n && self.special().eq(all[..n].iter().copied());
        if begins { &all[n..] } else { all }
    }

    /// Gives the place of each number of the vocabulary.
    fn place(&self) -> impl Fn(i64) -> Option<usize> {
        let all = self.vocabulary.as_deref().unwrap_or_default();
        let places = self.places.get_or_init(|| all.iter().enumerate().map(|(i, n)| (*n, i)).collect());
        let (first, before) = (self.first(), all.len() - self.known().len());
        move |number| Some(first + places.get(&number)?.checked_sub(before)?)
    }

    /// The length of vectors.
    fn depth(&self) -> usize {
        let all = self.first() + self.known().len();
        self.max_tokens.filter(|_| self.pad_to_max_tokens).map_or(all, |max| max.max(all))
    }
}

impl Layer for IntegerLookup {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        // First of all: what follows takes as long as there are places.
        for (name, n) in [("num_oov_indices", self.num_oov_indices), ("max_tokens", self.max_tokens.unwrap_or(0))] {
            ensure!(n <= 1 << 24, Argument, "{name} is {n}; it must be at most 16777216");
        }
        let depth = self.first() + self.known().len();
        if let Some(max) = self.max_tokens {
            ensure!(
                max > self.first() && depth <= max,
                Argument,
                "max_tokens is {max}, but there are {depth} places, of which the vocabulary needs at least one"
            );
        }
        let mut seen = HashSet::new();
        let again = self.known().iter().find(|n| !seen.insert(**n));
        ensure!(again.is_none(), Argument, "the vocabulary has {} twice", again.copied().unwrap_or_default());
        let special = self.known().iter().find(|n| Some(**n) == self.mask_token);
        ensure!(special.is_none(), Argument, "the vocabulary has {:?}, the mask", special);
        ensure!(
            !self.invert || self.output_mode == Encoding::Int && self.num_oov_indices <= 1,
            Argument,
            "an inverted layer has output_mode 'int' and at most one place for unknown numbers"
        );
        ensure!(!self.sparse, Argument, "sparse is true; there are no sparse tensors here");
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        ensure!(self.vocabulary.is_some(), State, "it has no vocabulary; give one, or call adapt");
        Ok(vec![self.output_mode.shape(one_shape(inputs)?, self.depth())?])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let numbers = whole(&x)?;
        if self.invert {
            let all = self.get_vocabulary();
            let number = |place: i64| usize::try_from(place).ok().and_then(|place| all.get(place));
            let found = numbers.into_iter().map(|place| number(place).copied().unwrap_or(self.oov_token) as f32);
            return Ok(Tensor::new(x.shape(), found.collect())?.into());
        }
        let unknown = (self.first() - self.num_oov_indices) as f32;
        let known = self.place();
        let place = |n: i64| match (known(n), self.num_oov_indices) {
            // Vectors leave the mask out, as they do what is below 0.
            _ if Some(n) == self.mask_token => Ok(if self.output_mode == Encoding::Int { 0.0 } else { -1.0 }),
            (Some(place), _) => Ok(place as f32),
            (None, 0) => Err(Error::Data(format!(
                "{n} is not in the vocabulary, and num_oov_indices is 0: there is no place for it"
            ))),
            (None, several) => Ok(unknown + n.rem_euclid(several as i64) as f32),
        };
        let found = numbers.into_iter().map(place).collect::<Result<_>>()?;
        Ok(self.output_mode.encode(&Tensor::new(x.shape(), found)?, self.depth())?.into())
    }

    fn backward(&self, _: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(None.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::called::{Called, tensor};
    use super::*;

    /// Keras 3.15.1.
    #[test]
    fn places_are_those_of_keras() {
        let x = tensor(&[2, 4], &[5.0, 7.0, -12.0, 3.0, 0.0, 1234567.0, -9007199.0, 1234.0]);
        let run = |layer: IntegerLookup| Called::new(layer).run(std::slice::from_ref(&x)).unwrap().0.one().unwrap();
        let new = || IntegerLookup::new([4, 5, 1234]);
        assert_eq!(run(new()).into_vec(), [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]);
        assert_eq!(run(new().mask_token(0).num_oov_indices(2)).into_vec(), [4.0, 2.0, 1.0, 2.0, 0.0, 2.0, 2.0, 5.0]);
        assert_eq!(run(new().num_oov_indices(3)).into_vec(), [4.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 5.0]);
        assert_eq!(run(new().output_mode(Encoding::MultiHot)).into_vec(), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(
            run(IntegerLookup { max_tokens: Some(7), ..new() }.pad_to_max_tokens(true).output_mode(Encoding::Count))
                .into_vec(),
            [3.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(run(new().invert(true)).into_vec(), [-1.0, -1.0, -1.0, 1234.0, -1.0, -1.0, -1.0, -1.0]);
        assert_eq!(
            run(new().output_mode(Encoding::OneHot)).into_vec(),
            [
                0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0,
                1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0
            ]
        );
        let data = ndarray::array![[5, 7, 7], [3, 7, 3], [9, -1, 0]];
        let adapted = IntegerLookup::with_max_tokens(None).adapt(&data).unwrap();
        assert_eq!(adapted.get_vocabulary(), [-1, 7, 3, 9, 5, 0]);
        let adapted = IntegerLookup::with_max_tokens(4).mask_token(0).adapt(&data).unwrap();
        assert_eq!(adapted.get_vocabulary(), [0, -1, 7, 3]);
        assert!(adapted.adapt(&data).is_err());
        // What was looked up by a copy does not stick to it.
        let mut called = IntegerLookup::new([-1, -1, 7]);
        assert_eq!([7, -1, 9].map(called.place()), [Some(2), Some(1), None]);
        called.num_oov_indices = 2;
        assert_eq!([7, -1, 9].map(called.place()), [Some(2), None, None]);
        // With the places before it.
        assert_eq!(IntegerLookup::new([0, -1, 7]).mask_token(0).get_vocabulary(), [0, -1, 7]);
        for (layer, told) in [
            (new().num_oov_indices(0), "-12 is not in the vocabulary"),
            (IntegerLookup::new([1, 2, 1]), "has 1 twice"),
            (new().mask_token(4), "the mask"),
            (IntegerLookup { max_tokens: Some(3), ..new() }, "max_tokens is 3"),
            (new().invert(true).num_oov_indices(2), "inverted"),
            (IntegerLookup::default(), "no vocabulary"),
            (new().num_oov_indices(usize::MAX), "num_oov_indices is 18446744073709551615; it must be at most"),
            (IntegerLookup { max_tokens: Some(usize::MAX), ..new() }, "max_tokens is 18446744073709551615; it must be"),
        ] {
            let x = tensor(&[1, 1], &[-12.0]);
            let error = Called::new(layer).run(&[x]).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
