//! Boxes in layers: each below all that it reads, neighbours close to each other (after Sugiyama, Tagawa and Toda, 1981).

/// Between boxes of a layer, and between layers, in pixels.
const BESIDE: f64 = 26.0;
const BELOW: f64 = 34.0;
/// The room of an arrow that passes a layer.
const PASSING: f64 = 10.0;

/// The last piece of an arrow, which is upright.
const HEAD: f64 = 10.0;

/// Width and height of each box.
pub(super) type Sizes = Vec<(f64, f64)>;

/// A box in its place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// All boxes and arrows, from top to bottom.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) boxes: Vec<Place>,
    /// The bends of each arrow, its ends among them.
    pub(super) edges: Vec<Vec<(f64, f64)>>,
    pub(super) size: (f64, f64),
}

/// A box, or the place where an arrow passes a layer.
struct Item {
    width: f64,
    /// The middle.
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

impl Layout {
    /// Boxes of these sizes; each arrow leads to a box of a larger number.
    pub(super) fn new(sizes: &Sizes, edges: &[(usize, usize)]) -> Self {
        // The layer of a box is the length of the longest way to it.
        let mut layer = vec![0usize; sizes.len()];
        for to in 0..sizes.len() {
            let before = edges.iter().filter(|(_, t)| *t == to).map(|&(from, _)| layer[from] + 1);
            layer[to] = before.max().unwrap_or(0);
        }
        let mut items: Vec<Item> =
            sizes.iter().map(|&(width, _)| Item { width, x: 0.0, above: Vec::new(), below: Vec::new() }).collect();
        let mut layers: Vec<Vec<usize>> = vec![Vec::new(); layer.iter().max().map_or(0, |last| last + 1)];
        (0..sizes.len()).for_each(|i| layers[layer[i]].push(i));
        // An arrow over several layers has an item in each that it passes.
        let mut paths: Vec<Vec<usize>> = Vec::with_capacity(edges.len());
        for &(from, to) in edges {
            let mut path = vec![from];
            for passed in &mut layers[layer[from] + 1..layer[to]] {
                items.push(Item { width: PASSING, x: 0.0, above: Vec::new(), below: Vec::new() });
                passed.push(items.len() - 1);
                path.push(items.len() - 1);
            }
            path.push(to);
            for ends in path.windows(2) {
                items[ends[0]].below.push(ends[1]);
                items[ends[1]].above.push(ends[0]);
            }
            paths.push(path);
        }
        order(&mut layers, &items);
        place(&layers, &mut items);

        let left = |item: &Item| item.x - item.width / 2.0;
        let first = items.iter().map(left).fold(f64::INFINITY, f64::min);
        let last = items.iter().map(|item| item.x + item.width / 2.0).fold(f64::NEG_INFINITY, f64::max);
        let mut tops = Vec::with_capacity(layers.len());
        let mut y = 0.0;
        for layer in &layers {
            let height = layer.iter().filter_map(|&i| sizes.get(i)).map(|size| size.1).fold(0.0, f64::max);
            tops.push((y, height));
            y += height + BELOW;
        }
        let boxes: Vec<Place> = sizes
            .iter()
            .enumerate()
            .map(|(i, &(width, height))| {
                let (top, tallest) = tops[layer[i]];
                Place { left: left(&items[i]) - first, top: top + (tallest - height) / 2.0, width, height }
            })
            .collect();
        let bends = |path: &Vec<usize>| {
            let (from, to) = (boxes[path[0]], boxes[path[path.len() - 1]]);
            let mut points = vec![(from.left + from.width / 2.0, from.top + from.height)];
            for (step, &item) in path[1..path.len() - 1].iter().enumerate() {
                let (top, height) = tops[layer[path[0]] + 1 + step];
                let x = items[item].x - first;
                points.extend([(x, top), (x, top + height)]);
            }
            // The head points down, however flat the way to it is.
            let end = to.left + to.width / 2.0;
            points.extend([(end, to.top - HEAD), (end, to.top)]);
            points
        };
        let edges = paths.iter().map(bends).collect();
        let size = if sizes.is_empty() { (0.0, 0.0) } else { (last - first, y - BELOW) };
        Layout { boxes, edges, size }
    }

    /// The same from left to right.
    pub(super) fn turned(mut self) -> Self {
        for Place { left, top, width, height } in &mut self.boxes {
            (*left, *top, *width, *height) = (*top, *left, *height, *width);
        }
        self.edges.iter_mut().flatten().for_each(|(x, y)| (*x, *y) = (*y, *x));
        self.size = (self.size.1, self.size.0);
        self
    }
}

/// Sorts each layer by the mean place of the neighbours, down and up again, so that few arrows cross.
fn order(layers: &mut [Vec<usize>], items: &[Item]) {
    let mut rank = vec![0.0f64; items.len()];
    let number = |layer: &[usize], rank: &mut [f64]| layer.iter().enumerate().for_each(|(k, &i)| rank[i] = k as f64);
    layers.iter().for_each(|layer| number(layer, &mut rank));
    for sweep in 0..8 {
        let down = sweep % 2 == 0;
        let count = layers.len();
        for k in 0..count {
            let layer = &mut layers[if down { k } else { count - 1 - k }];
            let mean = |i: usize| {
                let near = if down { &items[i].above } else { &items[i].below };
                match near.len() {
                    0 => rank[i],
                    n => near.iter().map(|&j| rank[j]).sum::<f64>() / n as f64,
                }
            };
            let keys: Vec<(f64, usize)> = layer.iter().map(|&i| (mean(i), i)).collect();
            let mut sorted = keys;
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            *layer = sorted.into_iter().map(|(_, i)| i).collect();
            number(layer, &mut rank);
        }
    }
}

/// Moves the items of each layer as near to the middle of their neighbours as the order and the room let them.
fn place(layers: &[Vec<usize>], items: &mut [Item]) {
    for layer in layers {
        let mut x = 0.0;
        for &i in layer {
            items[i].x = x + items[i].width / 2.0;
            x += items[i].width + BESIDE;
        }
        layer.iter().for_each(|&i| items[i].x -= (x - BESIDE) / 2.0);
    }
    for sweep in 0..24 {
        let down = sweep % 2 == 0;
        for k in 0..layers.len() {
            let layer = &layers[if down { k } else { layers.len() - 1 - k }];
            let wanted: Vec<f64> = layer
                .iter()
                .map(|&i| {
                    let near = if down { &items[i].above } else { &items[i].below };
                    match near.len() {
                        0 => items[i].x,
                        n => near.iter().map(|&j| items[j].x).sum::<f64>() / n as f64,
                    }
                })
                .collect();
            let widths: Vec<f64> = layer.iter().map(|&i| items[i].width).collect();
            for (&i, x) in layer.iter().zip(nearest(&wanted, &widths)) {
                items[i].x = x;
            }
        }
    }
}

/// The places nearest to the wanted ones (by the sum of squares) at which neighbours do not overlap: without the room that
/// each needs, places that must not fall, which is solved by pooling those that do.
fn nearest(wanted: &[f64], widths: &[f64]) -> Vec<f64> {
    let mut offsets = vec![0.0];
    for pair in widths.windows(2) {
        offsets.push(offsets.last().copied().unwrap_or(0.0) + (pair[0] + pair[1]) / 2.0 + BESIDE);
    }
    // (sum, number) of each pool.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (w, offset) in wanted.iter().zip(&offsets) {
        pools.push((w - offset, 1));
        while let [.., (a, n), (b, m)] = pools[..] {
            if a / n as f64 <= b / m as f64 {
                break;
            }
            pools.truncate(pools.len() - 2);
            pools.push((a + b, n + m));
        }
    }
    let means = pools.iter().flat_map(|&(sum, n)| std::iter::repeat_n(sum / n as f64, n));
    means.zip(&offsets).map(|(mean, offset)| mean + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_keep_apart_and_near_their_wishes() {
        assert_eq!(nearest(&[0.0, 500.0], &[10.0, 10.0]), [0.0, 500.0]);
        // Both want the same place: it is in their middle.
        assert_eq!(nearest(&[100.0, 100.0], &[10.0, 10.0]), [100.0 - 18.0, 100.0 + 18.0]);
        assert_eq!(nearest(&[], &[]), [0.0; 0]);
    }

    #[test]
    fn a_chain_is_straight_and_a_way_around_passes_beside() {
        let sizes = vec![(100.0, 30.0), (60.0, 40.0), (80.0, 30.0)];
        let chain = Layout::new(&sizes, &[(0, 1), (1, 2)]);
        let middles: Vec<f64> = chain.boxes.iter().map(|b| b.left + b.width / 2.0).collect();
        assert!(middles.iter().all(|m| (m - 50.0).abs() < 1e-9), "{middles:?}");
        assert_eq!(chain.boxes.iter().map(|b| b.top).collect::<Vec<_>>(), [0.0, 64.0, 138.0]);
        assert_eq!(chain.size, (100.0, 168.0));
        let around = Layout::new(&sizes, &[(0, 1), (1, 2), (0, 2)]);
        let (path, inner) = (&around.edges[2], around.boxes[1]);
        assert_eq!(path.len(), 5);
        let x = path[1].0;
        assert!(x <= inner.left || x >= inner.left + inner.width, "{x} {inner:?}");
        assert!(Layout::new(&vec![], &[]).boxes.is_empty());
    }
}
