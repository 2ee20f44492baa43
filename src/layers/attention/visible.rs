//! Which keys a query sees.

use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward};
use crate::tensor::Tensor;

/// What limits the keys that a query sees; by default it sees all. A place is visible where no limit hides it.
#[derive(Clone, Debug, Default)]
pub(super) struct Visible {
    /// `(batch, queries)`: a query that does not count sees nothing.
    pub query: Option<Tensor>,
    /// `(batch, keys)`: keys that do not count are not seen; two such masks.
    pub keys: [Option<Tensor>; 2],
    /// `(batch, heads, queries, keys)`, each but the last one or 1.
    pub pairs: Option<Tensor>,
    /// Whether query `i` sees no key after `i`.
    pub causal: bool,
    /// Query `i` sees only keys that are less than this far from `i`.
    pub window: Option<usize>,
}

impl Visible {
    /// Whether all is seen.
    pub fn all(&self) -> bool {
        let masks = [&self.query, &self.keys[0], &self.keys[1], &self.pairs];
        masks.iter().all(|mask| mask.is_none()) && !self.causal && self.window.is_none()
    }

    /// Whether the masks are those of scores of these sizes.
    pub fn check(&self, [batch, heads, queries, keys]: [usize; 4]) -> Result<()> {
        let fits = |name: &str, mask: &Option<Tensor>, want: &[usize]| match mask {
            Some(mask) if mask.shape() != want => {
                Err(Error::Shape(format!("the mask of the {name} has shape {:?}, expected {want:?}", mask.shape())))
            }
            _ => Ok(()),
        };
        fits("query", &self.query, &[batch, queries])?;
        fits("value", &self.keys[0], &[batch, keys])?;
        fits("key", &self.keys[1], &[batch, keys])?;
        if let Some(pairs) = &self.pairs {
            let sizes = [batch, heads, queries, keys];
            let fits = pairs.rank() == 4 && pairs.shape().iter().zip(sizes).all(|(&own, size)| own == 1 || own == size);
            ensure!(
                fits,
                Shape,
                "attention_mask has shape {:?}; it must be (batch, queries, keys) or (batch, heads, queries, keys), \
                 here {sizes:?}, each size or 1",
                pairs.shape()
            );
        }
        Ok(())
    }

    /// Calls `hide` with each value of a row of scores, one for each key, that is not visible.
    pub fn hide(&self, [batch, head, query]: [usize; 3], row: &mut [f32], hide: impl Fn(&mut f32)) {
        let keys = row.len();
        let masked = self.query.as_ref().is_some_and(|mask| mask.row(batch)[query] == 0.0);
        if masked {
            return row.iter_mut().for_each(hide);
        }
        let [first, second] = [0, 1].map(|i| self.keys[i].as_ref().map(|mask| mask.row(batch)));
        // One value for all keys, or one for each.
        let pairs = self.pairs.as_ref().map(|mask| {
            let place = |axis: usize, i: usize| if mask.shape()[axis] == 1 { 0 } else { i };
            let row = (place(0, batch) * mask.shape()[1] + place(1, head)) * mask.shape()[2] + place(2, query);
            &mask.data()[row * mask.last()..][..mask.last()]
        });
        let first_key = self.window.map_or(0, |window| (query + 1).saturating_sub(window));
        let end = self.window.map_or(keys, |window| query.saturating_add(window).min(keys));
        let end = if self.causal { end.min(query + 1) } else { end };
        for (key, score) in row.iter_mut().enumerate() {
            let counts = |mask: Option<&[f32]>| mask.is_none_or(|mask| mask[key] != 0.0);
            let paired = pairs.is_none_or(|pairs| pairs[key.min(pairs.len() - 1)] != 0.0);
            let visible = key >= first_key && key < end && counts(first) && counts(second) && paired;
            if !visible {
                hide(score);
            }
        }
    }

    pub fn save(&self, cx: &mut Forward<'_>) {
        let masks = [&self.query, &self.keys[0], &self.keys[1], &self.pairs];
        for mask in masks.into_iter().flatten() {
            cx.save(mask.clone());
        }
        let [query, first, second, pairs] = masks.map(|mask| usize::from(mask.is_some()));
        let window = self.window.map_or(0, |window| window.saturating_add(1));
        cx.save_shape(&[query, first, second, pairs, usize::from(self.causal), window]);
    }

    pub fn restore(cx: &mut Backward<'_>) -> Result<Self> {
        let saved = cx.restore_shape()?;
        let mut mask = |i: usize| (saved[i] == 1).then(|| cx.restore()).transpose();
        let pairs = mask(3)?;
        let second = mask(2)?;
        let first = mask(1)?;
        let query = mask(0)?;
        let window = saved[5].checked_sub(1);
        Ok(Visible { query, keys: [first, second], pairs, causal: saved[4] == 1, window })
    }
}
