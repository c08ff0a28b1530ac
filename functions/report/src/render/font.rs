//! The font of a report: its characters and their widths.

use std::sync::OnceLock;

use krilla::text::Font;
use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

/// See `font/README.md`.
static FONT: &[u8] = include_bytes!("../../font/NotoSansSC-Regular.subset.ttf");
/// The first character of the scripts in which a line may be broken between any two characters.
const IDEOGRAPHS: char = '\u{2E80}';
/// The character that is drawn in place of one that the font lacks.
const REPLACEMENT: char = '□';
const UNITS_PER_EM: f32 = 1000.0;

/// The font, parsed once per process.
pub(super) struct Face {
    pub(super) font: Font,
    /// Indexed by character: all that the font has are in the Basic Multilingual Plane.
    glyphs: Vec<Glyph>,
}

/// A glyph of the font.
#[derive(Clone, Copy, Default)]
pub(super) struct Glyph {
    /// The index in the font; zero for a character that the font lacks.
    pub(super) id: u16,
    /// The advance width in thousandths of the font size.
    advance: u16,
}

impl Face {
    pub(super) fn shared() -> &'static Self {
        static FACE: OnceLock<Face> = OnceLock::new();
        FACE.get_or_init(Self::read)
    }

    fn read() -> Self {
        let file = FontRef::new(FONT).expect("the font is part of the program, and tests read it");
        let metrics = file.glyph_metrics(Size::unscaled(), LocationRef::default());
        let mut glyphs = vec![Glyph::default(); usize::from(u16::MAX) + 1];
        for (character, id) in file.charmap().mappings() {
            let entry = glyphs.get_mut(character as usize);
            if let (Some(glyph), Ok(id)) = (entry, u16::try_from(id.to_u32())) {
                *glyph = Glyph { id, advance: metrics.advance_width(id.into()).unwrap_or_default() as u16 };
            }
        }
        let font = Font::new(FONT.into(), 0).expect("the font is part of the program, and tests read it");
        Self { font, glyphs }
    }

    /// `text` with a visible replacement for each character that cannot be drawn.
    pub(super) fn drawable(&self, text: &str) -> String {
        text.chars().map(|character| if self.has(character) { character } else { REPLACEMENT }).collect()
    }

    fn has(&self, character: char) -> bool {
        self.glyph(character).id != 0
    }

    pub(super) fn glyph(&self, character: char) -> Glyph {
        self.glyphs.get(character as usize).copied().unwrap_or_default()
    }

    /// The width of `text` at the font size `size`.
    pub(super) fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|character| self.advance(character)).sum::<f32>() * size
    }

    /// The advance width of `character` at size 1.
    pub(super) fn advance(&self, character: char) -> f32 {
        let glyph = if self.has(character) { self.glyph(character) } else { self.glyph(REPLACEMENT) };
        f32::from(glyph.advance) / UNITS_PER_EM
    }

    /// Breaks `text` into lines of at most `width`, at spaces and hyphens where there are some, and anywhere otherwise:
    /// an id is never cut off.
    pub(super) fn wrap(&self, text: &str, width: f32, size: f32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        let mut used = 0.0;
        for character in text.chars() {
            let advance = self.advance(character) * size;
            if used + advance > width && !line.is_empty() {
                let rest = match line.rfind([' ', '-']).filter(|_| character < IDEOGRAPHS) {
                    Some(at) => line.split_off(at + 1),
                    None => String::new(),
                };
                lines.push(std::mem::replace(&mut line, rest));
                used = self.width(&line, size);
            }
            if line.is_empty() && character == ' ' && !lines.is_empty() {
                continue;
            }
            line.push(character);
            used += advance;
        }
        lines.push(line);
        lines
    }

    /// `text`, shortened with `…` if it is wider than `width`.
    pub(super) fn cut(&self, text: &str, width: f32, size: f32) -> String {
        if self.width(text, size) <= width {
            return text.to_owned();
        }
        let mut used = self.width("…", size);
        let fits = text.chars().take_while(|character| {
            used += self.advance(*character) * size;
            used <= width
        });
        fits.chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_the_characters_of_both_languages() {
        let face = Face::shared();
        for character in "Compliance 0–27 依从性 患者健康问卷-9 总分 严重 ÄÖÜß±≥≤·…□%".chars()
        {
            assert!(face.has(character), "{character}");
        }
    }

    #[test]
    fn a_character_that_the_font_lacks_is_replaced_visibly() {
        let face = Face::shared();
        assert_eq!(face.drawable("a\u{1F600}b\n\u{0}ก"), "a□b□□□");
        assert_eq!(face.width("\u{1F600}", 10.0), face.width("□", 10.0));
    }

    #[test]
    fn wrapped_lines_fit_and_lose_no_character() {
        let face = Face::shared();
        for text in [
            "a report of the site in Hamburg",
            &"P-".repeat(32),
            &"X".repeat(64),
            "中文的研究中心名称很长很长",
            "a naïve café – naïve",
            "",
        ] {
            let lines = face.wrap(text, 40.0, 8.0);
            assert!(lines.iter().all(|line| face.width(line.trim_end(), 8.0) <= 40.0), "{lines:?}");
            // A word is not broken at an accent.
            assert!(lines.iter().all(|line| !line.ends_with("na") && !line.ends_with("caf")), "{lines:?}");
            let without_spaces = |text: &str| text.replace(' ', "");
            assert_eq!(without_spaces(&lines.concat()), without_spaces(text));
        }
    }

    #[test]
    fn a_shortened_text_ends_in_an_ellipsis_and_fits() {
        let face = Face::shared();
        let cut = face.cut(&"W".repeat(100), 50.0, 8.0);
        assert!(cut.ends_with('…') && face.width(&cut, 8.0) <= 50.0, "{cut}");
        assert_eq!(face.cut("short", 50.0, 8.0), "short");
    }
}
