//! The courses of a score as small plots, several on a page, all on the same axes.

use clinical::instruments::definition::Band;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use time::OffsetDateTime;

use super::font::Face;
use super::labels::Language;
use super::page::{BOTTOM, Color, GREY, INK, INNER, MARGIN, Mark, PALE, Pages, Style};
use crate::period::ReportPeriod;
use crate::statistics::ScoreCourses;

const ACROSS: usize = 3;
const GAP: f32 = 12.0;
const WIDTH: f32 = (INNER - GAP * (ACROSS - 1) as f32) / ACROSS as f32;
/// Six rows and the heading fill a page.
const HEIGHT: f32 = 118.0;
/// The space of the axes' labels on each side of a plot.
const LEFT: f32 = 22.0;
const RIGHT: f32 = 18.0;
const ABOVE: f32 = 15.0;
const BELOW: f32 = 16.0;
const LABEL: Style = Style::plain(5.5, GREY);
const CAPTION: f32 = 7.5;
const SMALLEST_CAPTION: f32 = 4.5;
const LINE: Color = (20, 58, 100);
/// The tints of the lowest and the highest band; those between are interpolated. They differ in print without colour
/// too.
const LOWEST: Color = (247, 249, 252);
const HIGHEST: Color = (186, 203, 226);

/// The height of a heading and a first row of plots.
pub(super) const COURSE_START: f32 = 30.0 + HEIGHT;

/// Draws all plots of a score, and repeats the legend on each page.
pub(super) fn score_courses(
    pages: &mut Pages,
    course: &ScoreCourses<'_>,
    title: &str,
    period: &ReportPeriod,
    language: Language,
) {
    let axes = Axes::of(course, period);
    if pages.y + COURSE_START > BOTTOM {
        pages.turn();
    }
    heading(pages, course, title, language);
    for (row, patients) in course.patients.chunks(ACROSS).enumerate() {
        if pages.y + HEIGHT > BOTTOM {
            pages.turn();
            let continued = format!("{title} {}", language.labels().continued);
            heading(pages, course, if row > 0 { &continued } else { title }, language);
        }
        for (index, (patient, points)) in patients.iter().enumerate() {
            let left = MARGIN + index as f32 * (WIDTH + GAP);
            axes.draw(pages, left, patient.as_str(), points, course);
        }
        pages.y += HEIGHT;
    }
}

/// Draws the title of the score and the legend of its bands.
fn heading(pages: &mut Pages, course: &ScoreCourses<'_>, title: &str, language: Language) {
    let labels = language.labels();
    for part in Face::shared().wrap(title, INNER, 9.5) {
        pages.text(MARGIN, pages.y + 10.0, Style::bold(9.5, INK), &part);
        pages.y += 13.0;
    }
    let bands = bands(course);
    let style = Style::plain(7.0, GREY);
    if bands.is_empty() {
        pages.text(MARGIN, pages.y + 7.0, style, labels.no_bands);
    } else {
        legend(pages, bands, style, language);
    }
    pages.y += 14.0;
}

fn legend(pages: &mut Pages, bands: &[Band], style: Style, language: Language) {
    let face = Face::shared();
    let bands_label = language.labels().bands;
    pages.text(MARGIN, pages.y + 7.0, style, bands_label);
    let mut x = MARGIN + face.width(bands_label, style.size) + 6.0;
    for (index, band) in bands.iter().enumerate() {
        let name = band.title.as_ref().and_then(|title| language.choose(title));
        let name = name.unwrap_or_else(|| language.band(&band.id));
        let text = format!("{}–{} {name}", band.from.0.normalize(), band.to.0.normalize());
        let width = face.width(&text, style.size) + 14.0;
        if x + width > MARGIN + INNER && x > MARGIN {
            x = MARGIN;
            pages.y += 10.0;
        }
        let y = pages.y + 1.0;
        pages.mark(Mark::Area { x: x - 0.4, y: y - 0.4, width: 9.8, height: 6.8, color: GREY });
        pages.mark(Mark::Area { x, y, width: 9.0, height: 6.0, color: tint(index, bands.len()) });
        pages.text(x + 11.5, pages.y + 7.0, style, &text);
        x += width + 6.0;
    }
}

fn bands<'a>(course: &ScoreCourses<'a>) -> &'a [Band] {
    course.definition.map_or(&[], |definition| &definition.bands)
}

/// The tint of the band with the index `index` of `count` bands.
fn tint(index: usize, count: usize) -> Color {
    let part = if count > 1 { index as f32 / (count - 1) as f32 } else { 0.0 };
    let mix = |low: u8, high: u8| (f32::from(low) + (f32::from(high) - f32::from(low)) * part).round() as u8;
    (mix(LOWEST.0, HIGHEST.0), mix(LOWEST.1, HIGHEST.1), mix(LOWEST.2, HIGHEST.2))
}

/// What all plots of a score share.
struct Axes {
    start: OffsetDateTime,
    end: OffsetDateTime,
    low: f32,
    high: f32,
    /// Dates along the bottom, with their position as a fraction of the width.
    dates: Vec<(f32, String)>,
    /// Values along the left side, in ascending order.
    values: Vec<Decimal>,
    /// Lower bound, upper bound and tint of each band. Neighbouring bands meet half-way between their values.
    bands: Vec<(f32, f32, Color)>,
}

impl Axes {
    fn of(course: &ScoreCourses<'_>, period: &ReportPeriod) -> Self {
        let (low, high) = course.range;
        let bands = bands(course);
        let mut values: Vec<Decimal> = [low, high].into_iter().chain(bands.iter().map(|band| band.from.0)).collect();
        if bands.is_empty() {
            values.push((low + high) / Decimal::TWO);
        }
        values.sort();
        values.dedup();
        let number = |value: Decimal| value.to_f32().unwrap_or_default();
        let shaded = bands.iter().enumerate().map(|(index, band)| {
            let from = index
                .checked_sub(1)
                .map_or(number(low), |before| (number(bands[before].to.0) + number(band.from.0)) / 2.0);
            let to = bands.get(index + 1).map_or(number(high), |next| (number(band.to.0) + number(next.from.0)) / 2.0);
            (from, to, tint(index, bands.len()))
        });
        let days = period.days();
        let mut dates = vec![(0.0, period.from().to_string())];
        if days > 1 {
            dates.push((1.0, period.to().to_string()));
        }
        if days > 4 {
            let middle = period.from() + time::Duration::days(days / 2);
            dates.insert(1, ((days / 2) as f32 / days as f32, middle.to_string()));
        }
        Self {
            start: period.start(),
            end: period.end(),
            low: number(low),
            high: number(high),
            dates,
            values,
            bands: shaded.collect(),
        }
    }

    fn draw(
        &self,
        pages: &mut Pages,
        left: f32,
        patient: &str,
        points: &[(OffsetDateTime, Decimal)],
        course: &ScoreCourses<'_>,
    ) {
        let face = Face::shared();
        // An id is never shortened: a long one gets smaller letters, a very long one two lines.
        let size = (CAPTION * WIDTH / face.width(patient, CAPTION)).clamp(SMALLEST_CAPTION, CAPTION);
        let lines = face.wrap(patient, WIDTH, size);
        for (index, line) in lines.iter().rev().enumerate() {
            pages.text(left, pages.y + 9.5 - index as f32 * (size + 0.5), Style::bold(size, INK), line);
        }
        let (x, y) = (left + LEFT, pages.y + ABOVE);
        let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - ABOVE - BELOW - 6.0);
        let at = |value: f32| {
            let part = if self.high > self.low { (value - self.low) / (self.high - self.low) } else { 0.5 };
            y + height * (1.0 - part.clamp(0.0, 1.0))
        };
        for (from, to, color) in &self.bands {
            let (top, bottom) = (at(*to), at(*from));
            pages.mark(Mark::Area { x, y: top, width, height: bottom - top, color: *color });
        }
        let frame = vec![(x, y), (x, y + height), (x + width, y + height)];
        pages.mark(Mark::Line { points: frame, width: 0.5, color: GREY });
        self.label(pages, (x, y), (width, height), &at);

        let span = (self.end - self.start).as_seconds_f32();
        let position = |(time, value): &(OffsetDateTime, Decimal)| {
            let part = (*time - self.start).as_seconds_f32() / span;
            (x + width * part.clamp(0.0, 1.0), at(value.to_f32().unwrap_or_default()))
        };
        let positions: Vec<(f32, f32)> = points.iter().map(position).collect();
        if positions.len() > 1 {
            pages.mark(Mark::Line { points: positions.clone(), width: 0.9, color: LINE });
        }
        let radius = if positions.len() > 60 { 0.8 } else { 1.4 };
        for (x, y) in &positions {
            pages.mark(Mark::Dot { x: *x, y: *y, radius, color: LINE });
        }
        if let (Some((dot, height)), Some((_, value))) = (positions.last(), points.last()) {
            let decimals = course.definition.map_or(2, |definition| definition.decimals);
            let value = value.round_dp(decimals).normalize().to_string();
            pages.text(dot + 3.0, height + 2.0, Style::bold(6.0, LINE), &value);
        }
    }

    /// Draws the values and dates along the axes. A value too close to the one before it is left out, unless it is an
    /// end.
    fn label(&self, pages: &mut Pages, (x, y): (f32, f32), (width, height): (f32, f32), at: &impl Fn(f32) -> f32) {
        let mut last: Option<f32> = None;
        for (index, value) in self.values.iter().enumerate() {
            let middle = at(value.to_f32().unwrap_or_default());
            let is_end = index == 0 || index + 1 == self.values.len();
            if !is_end && (last.is_some_and(|last| last - middle < LABEL.size + 0.5) || middle - y < LABEL.size + 0.5) {
                continue;
            }
            last = Some(middle);
            pages.mark(Mark::Line { points: vec![(x - 2.0, middle), (x, middle)], width: 0.4, color: GREY });
            pages.text_to(x - 3.5, middle + 2.0, LABEL, &value.normalize().to_string());
        }
        let bottom = y + height;
        for (part, date) in &self.dates {
            let middle = x + width * part;
            pages.mark(Mark::Line { points: vec![(middle, bottom), (middle, bottom + 2.0)], width: 0.4, color: GREY });
            let half = Face::shared().width(date, LABEL.size) / 2.0;
            pages.text((middle - half).max(x - LEFT), bottom + 8.5, LABEL, date);
        }
        pages.mark(Mark::Line { points: vec![(x + width, bottom), (x + width, y)], width: 0.3, color: PALE });
    }
}
