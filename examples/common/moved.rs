//! Images that are shifted and mirrored at random, for several examples.

use cornu::random;
use ndarray::{Array4, Axis, s};
use ndarray_rand::rand::Rng;

/// The images `(samples, height, width, channels)`, each shifted by up to `most` pixels along both axes, and every second
/// one mirrored, at random; what moves in from outside is 0, black.
pub fn shifted_and_mirrored<T: Copy + Default>(images: &Array4<T>, most: i32, seed: u64) -> Array4<T> {
    let mut rng = random::stream(seed, random::stream_of("moved"), 0, 0);
    let (_, height, width, _) = images.dim();
    // Where the part of an axis that stays inside lies before and after.
    let part = |size: usize, by: i32| {
        let by = (by as isize).clamp(-(size as isize), size as isize);
        ((-by).max(0)..size as isize - by.max(0), by.max(0)..size as isize + by.min(0))
    };
    let mut all = Array4::from_elem(images.raw_dim(), T::default());
    for (image, mut moved) in images.axis_iter(Axis(0)).zip(all.axis_iter_mut(Axis(0))) {
        let (rows, rows_to) = part(height, rng.random_range(-most..=most));
        let (columns, columns_to) = part(width, rng.random_range(-most..=most));
        moved.slice_mut(s![rows_to, columns_to, ..]).assign(&image.slice(s![rows, columns, ..]));
        if rng.random() {
            let mirrored = moved.slice(s![.., ..;-1, ..]).to_owned();
            moved.assign(&mirrored);
        }
    }
    all
}
