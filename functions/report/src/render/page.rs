//! Pages before they are written, as marks at positions in points from the top left corner of an A4 page.

use super::font::Face;

pub(super) const WIDTH: f32 = 595.28;
pub(super) const HEIGHT: f32 = 841.89;
/// The margin on the left and on the right.
pub(super) const MARGIN: f32 = 42.0;
/// The top of the content, below the header.
pub(super) const TOP: f32 = 56.0;
/// The bottom of the content, above the footer.
pub(super) const BOTTOM: f32 = 800.0;
/// The width between the margins.
pub(super) const INNER: f32 = WIDTH - 2.0 * MARGIN;

const CELL: f32 = 7.5;
const CELL_LINE: f32 = 10.0;
const CELL_PADDING: f32 = 4.0;
const HEAD: f32 = 7.0;
const HEAD_HEIGHT: f32 = 15.0;

/// Red, green, blue.
pub(super) type Color = (u8, u8, u8);

pub(super) const INK: Color = (26, 26, 26);
pub(super) const GREY: Color = (96, 96, 96);
pub(super) const PALE: Color = (210, 214, 220);
pub(super) const SHADE: Color = (236, 240, 246);
pub(super) const ACCENT: Color = (24, 66, 112);
pub(super) const RED: Color = (168, 16, 32);
pub(super) const AMBER: Color = (150, 84, 0);

/// One drawn element of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mark {
    Text { x: f32, baseline: f32, size: f32, color: Color, bold: bool, text: String },
    Area { x: f32, y: f32, width: f32, height: f32, color: Color },
    Line { points: Vec<(f32, f32)>, width: f32, color: Color },
    Dot { x: f32, y: f32, radius: f32, color: Color },
}

/// The style of a text.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) color: Color,
    pub(super) bold: bool,
}

impl Style {
    pub(super) const fn plain(size: f32, color: Color) -> Self {
        Self { size, color, bold: false }
    }

    pub(super) const fn bold(size: f32, color: Color) -> Self {
        Self { size, color, bold: true }
    }
}

/// The marks of one page, and the section that it begins in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Page {
    pub(super) section: String,
    pub(super) marks: Vec<Mark>,
}

/// The beginning of a section in the outline of the PDF.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bookmark {
    pub(super) title: String,
    pub(super) page: usize,
    pub(super) y: f32,
}

/// Pages that are filled from top to bottom.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) pages: Vec<Page>,
    pub(super) bookmarks: Vec<Bookmark>,
    /// The top of the next element.
    pub(super) y: f32,
    section: String,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self { pages: vec![Page::default()], bookmarks: Vec::new(), y: TOP, section: String::new() }
    }

    /// Begins the first section, on the first page.
    pub(super) fn begin(&mut self, section: &str) {
        self.section = section.to_owned();
        self.pages[0].section = section.to_owned();
        self.bookmarks.push(Bookmark { title: section.to_owned(), page: 0, y: TOP });
    }

    /// Makes sure that `height` is free, and returns whether that took a new page.
    pub(super) fn ensure(&mut self, height: f32) -> bool {
        // At the top of a page there is no more room on the next.
        let full = self.y + height > BOTTOM && self.y > TOP;
        if full {
            self.turn();
        }
        full
    }

    /// Begins a new page.
    pub(super) fn turn(&mut self) {
        self.pages.push(Page { section: self.section.clone(), marks: Vec::new() });
        self.y = TOP;
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.marks.push(mark);
        }
    }

    pub(super) fn text(&mut self, x: f32, baseline: f32, style: Style, text: &str) {
        if !text.is_empty() {
            let Style { size, color, bold } = style;
            self.mark(Mark::Text { x, baseline, size, color, bold, text: Face::shared().drawable(text) });
        }
    }

    /// Draws `text` so that it ends at `right`.
    pub(super) fn text_to(&mut self, right: f32, baseline: f32, style: Style, text: &str) {
        self.text(right - Face::shared().width(text, style.size), baseline, style, text);
    }

    /// Draws `text` in as many lines as it needs.
    pub(super) fn paragraph(&mut self, style: Style, text: &str) {
        let line = style.size * 1.4;
        for part in Face::shared().wrap(text, INNER, style.size) {
            self.ensure(line);
            self.text(MARGIN, self.y + style.size, style, &part);
            self.y += line;
        }
    }

    /// Draws the heading of a section, and keeps at least `follows` free below it on the same page.
    pub(super) fn section(&mut self, title: &str, follows: f32) {
        self.section = title.to_owned();
        self.make_room(18.0, 22.0 + follows);
        if self.y == TOP
            && let Some(page) = self.pages.last_mut()
        {
            page.section = title.to_owned();
        }
        let bookmark = Bookmark { title: title.to_owned(), page: self.pages.len() - 1, y: self.y };
        self.bookmarks.push(bookmark);
        self.text(MARGIN, self.y + 13.0, Style::bold(13.0, ACCENT), title);
        self.y += 22.0;
    }

    /// Draws a heading inside a section.
    pub(super) fn heading(&mut self, title: &str, follows: f32) {
        self.make_room(14.0, 16.0 + follows);
        self.text(MARGIN, self.y + 10.0, Style::bold(10.0, ACCENT), title);
        self.y += 16.0;
    }

    /// Leaves `gap` free and makes sure of `height` below it; there is no gap at the top of a page.
    fn make_room(&mut self, gap: f32, height: f32) {
        if self.y > TOP && !self.ensure(gap + height) {
            self.y += gap;
        }
    }
}

/// A column of a table.
pub(super) struct Column<'a> {
    pub(super) title: &'a str,
    pub(super) width: f32,
    pub(super) right: bool,
}

impl<'a> Column<'a> {
    pub(super) const fn left(title: &'a str, width: f32) -> Self {
        Self { title, width, right: false }
    }

    pub(super) const fn right(title: &'a str, width: f32) -> Self {
        Self { title, width, right: true }
    }
}

/// A cell of a table.
pub(super) struct Cell {
    text: String,
    color: Color,
    /// The fraction of the cell that a bar behind the text fills.
    bar: Option<f32>,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), color: INK, bar: None }
    }

    pub(super) fn colored(text: impl Into<String>, color: Color) -> Self {
        Self { color, ..Self::new(text) }
    }

    /// A text in front of a bar that fills the fraction `part` of the cell.
    pub(super) fn bar(text: impl Into<String>, part: f32) -> Self {
        Self { bar: Some(part), ..Self::new(text) }
    }
}

/// The height of a table's head and its first row.
pub(super) const TABLE_START: f32 = HEAD_HEIGHT + CELL_LINE + 2.0 * CELL_PADDING;

impl Pages {
    /// Draws a table, and repeats its head on each page.
    pub(super) fn table(&mut self, columns: &[Column<'_>], rows: impl IntoIterator<Item = Vec<Cell>>) {
        self.ensure(TABLE_START);
        self.head(columns);
        for row in rows {
            let face = Face::shared();
            let lines: Vec<Vec<String>> = row
                .iter()
                .zip(columns)
                .map(|(cell, column)| face.wrap(&cell.text, column.width - 2.0 * CELL_PADDING, CELL))
                .collect();
            let height = lines.iter().map(Vec::len).max().unwrap_or(1) as f32 * CELL_LINE + 4.0;
            if self.ensure(height) {
                self.head(columns);
            }
            self.row(columns, &row, &lines);
            self.y += height;
            self.rule(self.y, PALE);
        }
    }

    fn head(&mut self, columns: &[Column<'_>]) {
        let width = columns.iter().map(|column| column.width).sum();
        self.mark(Mark::Area { x: MARGIN, y: self.y, width, height: HEAD_HEIGHT, color: SHADE });
        let mut x = MARGIN;
        for column in columns {
            let (style, baseline) = (Style::bold(HEAD, ACCENT), self.y + 10.0);
            match column.right {
                true => self.text_to(x + column.width - CELL_PADDING, baseline, style, column.title),
                false => self.text(x + CELL_PADDING, baseline, style, column.title),
            }
            x += column.width;
        }
        self.y += HEAD_HEIGHT;
    }

    fn row(&mut self, columns: &[Column<'_>], row: &[Cell], lines: &[Vec<String>]) {
        let mut x = MARGIN;
        for ((cell, column), lines) in row.iter().zip(columns).zip(lines) {
            if let Some(part) = cell.bar {
                let (full, height) = (column.width - 2.0 * CELL_PADDING, CELL_LINE - 1.0);
                let (x, y) = (x + CELL_PADDING, self.y + 2.5);
                self.mark(Mark::Area { x, y, width: full, height, color: SHADE });
                self.mark(Mark::Area { x, y, width: full * part.clamp(0.0, 1.0), height, color: (176, 198, 224) });
            }
            for (index, line) in lines.iter().enumerate() {
                let (style, baseline) = (Style::plain(CELL, cell.color), self.y + 10.0 + index as f32 * CELL_LINE);
                match column.right {
                    true => self.text_to(x + column.width - CELL_PADDING, baseline, style, line),
                    false => self.text(x + CELL_PADDING, baseline, style, line),
                }
            }
            x += column.width;
        }
    }

    fn rule(&mut self, y: f32, color: Color) {
        self.mark(Mark::Line { points: vec![(MARGIN, y), (MARGIN + INNER, y)], width: 0.4, color });
    }
}
