//! Writes pages that are laid out as a PDF.

use krilla::Document;
use krilla::SerializeSettings;
use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::destination::XyzDestination;
use krilla::geom::{Path, PathBuilder, Point, Rect};
use krilla::metadata::{DateTime, Metadata};
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::{Fill, LineJoin, Stroke};
use krilla::surface::Surface;
use krilla::text::{GlyphId, KrillaGlyph};
use time::OffsetDateTime;

use super::font::Face;
use super::page::{Color, HEIGHT, Mark, Page, Pages, WIDTH};
use super::{Heading, RenderError, days};

/// The stroke that thickens bold letters, as a fraction of their size: the font has one weight.
const BOLD: f32 = 0.028;

pub(super) fn write(heading: &Heading<'_>, pages: Pages, proceed: impl Fn() -> bool) -> Result<Vec<u8>, RenderError> {
    let configuration = ConfigurationBuilder::new().with_archival_validator(Archival::A2_B).finish();
    let configuration = configuration.map_err(|_| RenderError::Refused)?;
    let mut document = Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    for page in &pages.pages {
        if !proceed() {
            return Err(RenderError::Stopped);
        }
        write_page(&mut document, page).ok_or(RenderError::Refused)?;
    }
    if !proceed() {
        return Err(RenderError::Stopped);
    }
    document.set_metadata(metadata(heading));
    let mut outline = Outline::new();
    for bookmark in pages.bookmarks {
        let destination = XyzDestination::new(bookmark.page, Point::from_xy(0.0, bookmark.y));
        outline.push_child(OutlineNode::new(bookmark.title, destination));
    }
    document.set_outline(outline);
    document.finish().map_err(|error| {
        tracing::error!(event = "pdf_refused", ?error);
        RenderError::Refused
    })
}

fn metadata(heading: &Heading<'_>) -> Metadata {
    let labels = heading.language.labels();
    let face = Face::shared();
    let title = format!("{} | {} | {} | {}", labels.title, heading.study, heading.site, days(heading.period));
    Metadata::new()
        .title(face.drawable(&title))
        .language(heading.language.tag().to_owned())
        .creator("ePRO".to_owned())
        .document_id(heading.hash.to_owned())
        .creation_date(date_time(heading.generated_at))
}

fn date_time(instant: OffsetDateTime) -> DateTime {
    let utc = instant.to_offset(time::UtcOffset::UTC);
    DateTime::new(u16::try_from(utc.year()).unwrap_or_default())
        .month(utc.month().into())
        .day(utc.day())
        .hour(utc.hour())
        .minute(utc.minute())
        .second(utc.second())
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

fn write_page(document: &mut Document, page: &Page) -> Option<()> {
    let mut written = document.start_page_with(PageSettings::from_wh(WIDTH, HEIGHT)?);
    let mut surface = written.surface();
    for mark in &page.marks {
        write_mark(&mut surface, mark);
    }
    surface.finish();
    written.finish();
    Some(())
}

fn write_mark(surface: &mut Surface<'_>, mark: &Mark) {
    match mark {
        Mark::Text { x, baseline, size, color, bold, text } => {
            surface.set_fill(Some(fill(*color)));
            surface.set_stroke(bold.then(|| stroke(*color, size * BOLD)));
            let face = Face::shared();
            let glyphs = glyphs(face, text);
            surface.draw_glyphs(Point::from_xy(*x, *baseline), &glyphs, face.font.clone(), text, *size, false);
        }
        Mark::Area { x, y, width, height, color } => {
            surface.set_fill(Some(fill(*color)));
            surface.set_stroke(None);
            // A rectangle without an area has no path.
            if let Some(path) = Rect::from_xywh(*x, *y, *width, *height).and_then(rectangle) {
                surface.draw_path(&path);
            }
        }
        Mark::Line { points, width, color } => {
            surface.set_fill(None);
            surface.set_stroke(Some(stroke(*color, *width)));
            if let Some(path) = polyline(points) {
                surface.draw_path(&path);
            }
        }
        Mark::Dot { x, y, radius, color } => {
            surface.set_fill(Some(fill(*color)));
            surface.set_stroke(None);
            if let Some(path) = dot(*x, *y, *radius) {
                surface.draw_path(&path);
            }
        }
    }
}

fn glyphs(face: &Face, text: &str) -> Vec<KrillaGlyph> {
    let glyph = |(at, character): (usize, char)| {
        let id = GlyphId::new(face.glyph(character).id.into());
        KrillaGlyph::new(id, face.advance(character), 0.0, 0.0, 0.0, at..at + character.len_utf8(), None)
    };
    text.char_indices().map(glyph).collect()
}

fn fill((red, green, blue): Color) -> Fill {
    Fill { paint: rgb::Color::new(red, green, blue).into(), ..Fill::default() }
}

fn stroke((red, green, blue): Color, width: f32) -> Stroke {
    Stroke { paint: rgb::Color::new(red, green, blue).into(), width, line_join: LineJoin::Round, ..Stroke::default() }
}

fn rectangle(rect: Rect) -> Option<Path> {
    let mut path = PathBuilder::new();
    path.push_rect(rect);
    path.finish()
}

fn polyline(points: &[(f32, f32)]) -> Option<Path> {
    let mut path = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    path.move_to(first.0, first.1);
    for (x, y) in rest {
        path.line_to(*x, *y);
    }
    path.finish()
}

/// A circle made of four Bézier curves.
fn dot(x: f32, y: f32, r: f32) -> Option<Path> {
    /// The distance of the control points at which a curve is closest to a quarter of a circle.
    const QUARTER: f32 = 0.552_284_8;
    let k = r * QUARTER;
    let mut path = PathBuilder::new();
    path.move_to(x + r, y);
    path.cubic_to(x + r, y + k, x + k, y + r, x, y + r);
    path.cubic_to(x - k, y + r, x - r, y + k, x - r, y);
    path.cubic_to(x - r, y - k, x - k, y - r, x, y - r);
    path.cubic_to(x + k, y - r, x + r, y - k, x + r, y);
    path.close();
    path.finish()
}
