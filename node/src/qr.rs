//! QR codes as SVG: one path of squares, black on white whatever the page's colours, because cameras read nothing else well.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

use crate::api::ApiError;

/// Modules of the white edge (ISO/IEC 18004, 9.1).
const EDGE: usize = 4;

/// `text` as a picture without a size of its own.
///
/// # Errors
/// When the text is longer than a QR code can be.
pub(crate) fn svg(text: &str) -> Result<String, ApiError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(ApiError::internal)?;
    let (width, side) = (code.width(), code.width() + 2 * EDGE);
    let mut path = String::new();
    for (row, modules) in code.to_colors().chunks(width).enumerate() {
        let mut column = 0;
        // Neighbours become one stroke: a third of the text.
        for run in modules.chunk_by(|one, next| one == next) {
            if run.first() == Some(&Color::Dark) {
                let (x, y, length) = (column + EDGE, row + EDGE, run.len());
                // Writing to a string does not fail.
                let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
            }
            column += run.len();
        }
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" role=\"img\" aria-label=\"QR code\" \
         shape-rendering=\"crispEdges\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\
         <path d=\"{path}\" fill=\"#000\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_whole_and_a_text_too_long_is_refused() {
        let svg = svg("otpauth://totp/TwinMCP:ada%40example.org?secret=GEZDGNBVGY3TQOJQ").unwrap();
        // The three corners: a stroke of seven at the top left, and one at the top right.
        assert!(svg.contains("d=\"M4 4h7v1h-7z"), "{svg}");
        let side: usize =
            svg.split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(svg.contains(&format!("M{} 4h7v1h-7z", side - EDGE - 7)), "{svg}");
        assert!(super::svg(&"x".repeat(5_000)).is_err());
    }
}
