//! Pictures in a Jupyter notebook whose kernel is evcxr.

use super::{Canvas, Drawing};

/// What evcxr shows below a cell: an SVG, or as text why there is none.
pub(super) fn cell(picture: &dyn Drawing) -> String {
    let (kind, content) = match Canvas::of(picture).and_then(|canvas| canvas.svg()) {
        Ok(svg) => ("image/svg+xml", svg),
        Err(error) => ("text/plain", error.to_string()),
    };
    format!("EVCXR_BEGIN_CONTENT {kind}\n{}\nEVCXR_END_CONTENT", content.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::{Curve, Curves};
    use super::*;

    #[test]
    fn a_cell_holds_the_picture() {
        let text = cell(&Curves::new([Curve::new("loss", [0.5, 0.25])]));
        assert!(text.starts_with("EVCXR_BEGIN_CONTENT image/svg+xml\n<svg width=\"640\""), "{}", &text[..80]);
        assert!(text.ends_with("</svg>\nEVCXR_END_CONTENT"));
        let text = cell(&Curves::new([]));
        assert!(text.starts_with("EVCXR_BEGIN_CONTENT text/plain\nthere are no training curves"), "{text}");
        assert!(text.ends_with("\nEVCXR_END_CONTENT"));
    }
}
