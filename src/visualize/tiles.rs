//! Small images side by side.

use super::overlay::scale;
use super::pixels::Pixels;
use super::{Area, Drawn, fit, px, text};
use plotters::style::RGBColor;
use plotters_backend::text_anchor::{HPos, VPos};

const GAP: f64 = 8.0;
const CAPTION: f64 = 16.0;
const NOTE: f64 = 22.0;
const SCALE: f64 = 84.0;
/// The side of a tile in pixels, at least.
const LEAST_SIDE: usize = 56;

/// The colour of a share, from 0 to 1.
pub(super) type Colors = fn(f64) -> RGBColor;

/// Tiles of one size in rows.
pub(super) struct Tiles {
    pub(super) tiles: Vec<(String, Pixels)>,
    /// Height and width of a tile in its own pixels.
    pub(super) of: (usize, usize),
    pub(super) columns: usize,
    /// What stands below them.
    pub(super) note: Option<String>,
    /// The values at the ends and the middle of the colours, where all tiles have the same.
    pub(super) scale: Option<([String; 3], Colors)>,
}

impl Tiles {
    /// About half as many rows as columns, at most sixteen columns.
    pub(super) fn columns(n: usize) -> usize {
        (1..=16).find(|columns| n.div_ceil(*columns) * 2 <= *columns + 1).unwrap_or(16).min(n.max(1))
    }

    /// The size of a tile in pixels: a whole multiple of its own, so that its pixels are squares of one size.
    fn tile(&self) -> (f64, f64) {
        let (height, width) = self.of;
        let by = LEAST_SIDE.div_ceil(height.max(width).max(1));
        ((width * by) as f64, (height * by) as f64)
    }

    pub(super) fn size(&self) -> (u32, u32) {
        let (across, down) = self.tile();
        let rows = self.tiles.len().div_ceil(self.columns) as f64;
        let width = self.columns as f64 * (across + GAP) + GAP + if self.scale.is_some() { SCALE } else { 0.0 };
        let height = rows * (down + CAPTION + GAP) + GAP + if self.note.is_some() { NOTE } else { 0.0 };
        (width.max(240.0) as u32, height.max(if self.scale.is_some() { 110.0 } else { 0.0 }) as u32)
    }

    pub(super) fn draw(&self, area: &Area) -> Drawn {
        let (across, down) = self.tile();
        let style = text(10.0, HPos::Center, VPos::Top);
        for (i, (caption, pixels)) in self.tiles.iter().enumerate() {
            let (row, column) = ((i / self.columns) as f64, (i % self.columns) as f64);
            let (x, y) = (GAP + column * (across + GAP), GAP + row * (down + CAPTION + GAP));
            pixels.draw(area, (px(x), px(y)), (px(across), px(down)))?;
            let caption = fit(area, caption, &style, px(across + GAP - 2.0))?;
            area.draw_text(&caption, &style, (px(x + across / 2.0), px(y + down + 3.0)))?;
        }
        let (width, height) = area.dim_in_pixel();
        if let Some(note) = &self.note {
            let style = text(11.0, HPos::Left, VPos::Center);
            let note = fit(area, note, &style, width as i32 - px(2.0 * GAP))?;
            area.draw_text(&note, &style, (px(GAP), height as i32 - px(NOTE / 2.0)))?;
        }
        if let Some((labels, color)) = &self.scale {
            let left = px(self.columns as f64 * (across + GAP) + GAP + 4.0);
            let rows = self.tiles.len().div_ceil(self.columns) as f64;
            let bottom = (rows * (down + CAPTION + GAP) - CAPTION).clamp(90.0, 300.0);
            let [low, half, high] = [0, 1, 2].map(|i| labels[i].as_str());
            scale(area, left, (px(GAP), px(bottom)), color, [low, half, high])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_stand_in_broad_blocks() {
        let columns = [1, 2, 3, 6, 16, 32, 64, 500].map(Tiles::columns);
        assert_eq!(columns, [1, 2, 3, 3, 6, 8, 11, 16]);
    }
}
