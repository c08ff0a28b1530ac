//! The report as a PDF/A-2b, the format for archives. All pages are laid out before the first is written, since each
//! states the number of pages.

mod font;
mod labels;
mod page;
mod plot;
mod write;

use std::time::Duration;

use clinical::ids::InstrumentId;
use clinical::instruments::Severity;
use records::Compliance;
use records::{AlertStatus, Stay};
use time::OffsetDateTime;
use time::macros::format_description;

use self::font::Face;
use self::labels::Labels;
pub use self::labels::{LANGUAGES, Language};
use self::page::{
    ACCENT, AMBER, Cell, Color, Column, GREY, INK, INNER, MARGIN, Mark, Pages, RED, SHADE, Style, TABLE_START,
};
use crate::period::ReportPeriod;
use crate::statistics::{PatientInstrument, PatientLine, SitePlan, Statistics};

/// The subject of a report, and what it is made for.
#[derive(Clone, Debug)]
pub struct Heading<'a> {
    /// The id of the study, and its title if it has one.
    pub study: &'a str,
    /// The id of the site, and its name if it has one.
    pub site: &'a str,
    /// The instruments and schedules that the study plans for the site.
    pub plan: &'a SitePlan<'a>,
    /// The days that the report covers, in the site's time zone.
    pub period: &'a ReportPeriod,
    /// The time of generation.
    pub generated_at: OffsetDateTime,
    /// The SHA-256 of the data, in hexadecimal. It does not cover the texts of the report.
    pub hash: &'a str,
    /// The language of labels, titles and band names.
    pub language: Language,
}

/// The reason why a report was not rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// The caller's `proceed` returned `false`.
    Stopped,
    /// The PDF writer refused the document.
    Refused,
}

/// An upper bound of the time to render `statistics` on one processor: about twice what was measured. 300 patients with
/// 30 submissions each and 1,500 alerts, 50 pages, took 140 ms.
pub fn expected_duration(statistics: &Statistics<'_>) -> Duration {
    const DOCUMENT: Duration = Duration::from_millis(40);
    const ROW: Duration = Duration::from_micros(40);
    const PLOT: Duration = Duration::from_micros(200);
    const POINT: Duration = Duration::from_micros(8);
    let plots = || statistics.courses.iter().flat_map(|course| &course.patients);
    let rows = statistics.patients.iter().map(|patient| patient.instruments.len().max(1)).sum::<usize>();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    DOCUMENT
        + ROW.saturating_mul(count(rows + statistics.alerts.len()))
        + PLOT.saturating_mul(count(plots().count()))
        + POINT.saturating_mul(count(plots().map(|(_, points)| points.len()).sum()))
}

/// Renders the report as a PDF: the same bytes for the same arguments. `proceed` is called before each page is written.
///
/// # Errors
/// [`RenderError::Stopped`] if `proceed` returned `false`, [`RenderError::Refused`] if the writer failed.
pub fn render(
    heading: &Heading<'_>,
    statistics: &Statistics<'_>,
    proceed: impl Fn() -> bool,
) -> Result<Vec<u8>, RenderError> {
    let pages = lay_out(heading, statistics);
    write::write(heading, pages, proceed)
}

fn lay_out(heading: &Heading<'_>, statistics: &Statistics<'_>) -> Pages {
    let mut pages = Pages::new();
    pages.begin(heading.language.labels().summary);
    summary(&mut pages, heading, statistics);
    compliance(&mut pages, heading, statistics);
    courses(&mut pages, heading, statistics);
    alerts(&mut pages, heading, statistics);
    headers_and_footers(&mut pages, heading);
    pages
}

fn summary(pages: &mut Pages, heading: &Heading<'_>, statistics: &Statistics<'_>) {
    let labels = heading.language.labels();
    pages.text(MARGIN, pages.y + 20.0, Style::bold(20.0, ACCENT), labels.title);
    pages.y += 32.0;
    for (name, value) in [
        (labels.study, heading.study.to_owned()),
        (labels.site, heading.site.to_owned()),
        (labels.period, days(heading.period)),
        (labels.generated, format!("{} {}", minute(heading, heading.generated_at), heading.period.zone().name())),
    ] {
        pages.text(MARGIN, pages.y + 9.0, Style::plain(9.0, GREY), name);
        for line in Face::shared().wrap(&value, INNER - 80.0, 9.0) {
            pages.text(MARGIN + 80.0, pages.y + 9.0, Style::bold(9.0, INK), &line);
            pages.y += 13.0;
        }
    }
    pages.y += 8.0;
    tiles(pages, labels, statistics);
    pages.heading(labels.instruments, TABLE_START);
    by_instrument(pages, heading, statistics);
    if !statistics.alerts.is_empty() {
        pages.heading(labels.alerts, TABLE_START);
        by_severity(pages, labels, statistics);
    }
    pages.y += 12.0;
    let totals = &statistics.totals;
    let scored = labels
        .scored
        .replace("{scored}", &totals.scored.to_string())
        .replace("{not_scorable}", &totals.not_scorable.to_string())
        .replace("{waiting}", &totals.waiting.to_string())
        .replace("{corrections}", &totals.corrections.to_string());
    let small = Style::plain(7.5, GREY);
    pages.paragraph(small, &scored);
    if totals.clock_corrected > 0 {
        let clocks = labels.clock_corrected.replace("{count}", &totals.clock_corrected.to_string());
        pages.paragraph(small, &clocks);
    }
    for (sentence, count) in [(labels.withdrawn, totals.withdrawn), (labels.moved, totals.moved)] {
        if count > 0 {
            pages.paragraph(small, &sentence.replace("{count}", &count.to_string()));
        }
    }
    if totals.unreadable > 0 {
        pages.paragraph(Style::bold(7.5, RED), &labels.unreadable.replace("{count}", &totals.unreadable.to_string()));
    }
    pages.paragraph(small, labels.how_compliance);
}

/// Four tiles with the main totals.
fn tiles(pages: &mut Pages, labels: &Labels, statistics: &Statistics<'_>) {
    const GAP: f32 = 10.0;
    const HEIGHT: f32 = 46.0;
    let totals = &statistics.totals;
    let all = statistics.instruments.values().filter_map(|line| line.compliance);
    let all = all.reduce(Compliance::and);
    let (percent, of) = match all {
        Some(all) => (percent(all, "–"), format!("{} / {}", all.completed, all.expected)),
        None => ("–".to_owned(), labels.no_schedule.to_owned()),
    };
    let open = statistics.alert_counts.values().map(|by_status| by_status[0] + by_status[1]).sum::<u64>();
    let tiles = [
        (labels.patients, totals.patients.to_string(), format!("{} {}", totals.active, labels.active)),
        (labels.submissions, totals.submissions.to_string(), String::new()),
        (labels.compliance, percent, of),
        (labels.alerts, statistics.alerts.len().to_string(), format!("{open} {}", labels.open_alerts)),
    ];
    let width = (INNER - 3.0 * GAP) / 4.0;
    for (index, (name, number, more)) in tiles.into_iter().enumerate() {
        let x = MARGIN + index as f32 * (width + GAP);
        pages.mark(Mark::Area { x, y: pages.y, width, height: HEIGHT, color: SHADE });
        pages.text(x + 8.0, pages.y + 12.0, Style::plain(7.5, GREY), name);
        pages.text(x + 8.0, pages.y + 29.0, Style::bold(15.0, ACCENT), &number);
        pages.text(x + 8.0, pages.y + 40.0, Style::plain(7.0, GREY), &more);
    }
    pages.y += HEIGHT;
}

fn by_instrument(pages: &mut Pages, heading: &Heading<'_>, statistics: &Statistics<'_>) {
    let labels = heading.language.labels();
    if statistics.instruments.is_empty() {
        pages.paragraph(Style::plain(8.0, GREY), labels.no_scores);
        return;
    }
    let columns = [
        Column::left(labels.instrument, 211.0),
        Column::right(labels.patients, 60.0),
        Column::right(labels.submissions, 60.0),
        Column::right(labels.expected, 60.0),
        Column::right(labels.completed, 50.0),
        Column::left(labels.compliance, 70.0),
    ];
    let rows = statistics.instruments.iter().map(|(instrument, line)| {
        let mut row = vec![
            Cell::new(title(instrument, heading)),
            Cell::new(line.patients.to_string()),
            Cell::new(line.submissions.to_string()),
        ];
        row.extend(compliance_cells(labels, line.compliance));
        row
    });
    pages.table(&columns, rows);
}

fn by_severity(pages: &mut Pages, labels: &Labels, statistics: &Statistics<'_>) {
    let mut columns = vec![Column::left(labels.severity, 111.0)];
    columns.extend(labels.statuses.map(|status| Column::right(status, 80.0)));
    columns.push(Column::right(labels.total, 80.0));
    let rows = statistics.alert_counts.iter().rev().map(|(severity, by_status)| {
        let mut row = vec![Cell::colored(labels.severity(*severity), color(*severity))];
        row.extend(by_status.map(|count| Cell::new(count.to_string())));
        row.push(Cell::new(by_status.iter().sum::<u64>().to_string()));
        row
    });
    pages.table(&columns, rows);
}

fn compliance(pages: &mut Pages, heading: &Heading<'_>, statistics: &Statistics<'_>) {
    let labels = heading.language.labels();
    pages.section(&format!("{} – {}", labels.compliance, labels.patients), TABLE_START);
    if statistics.patients.is_empty() {
        pages.paragraph(Style::plain(8.0, GREY), labels.no_patients);
        return;
    }
    let columns = [
        Column::left(labels.patient, 111.0),
        Column::left(labels.instrument, 100.0),
        Column::right(labels.submissions, 55.0),
        Column::right(labels.expected, 52.0),
        Column::right(labels.completed, 48.0),
        Column::left(labels.compliance, 65.0),
        Column::left(labels.last_submission, 80.0),
    ];
    let rows = statistics.patients.iter().flat_map(|patient| patient_rows(heading, patient));
    pages.table(&columns, rows);
}

/// The mark of a patient's times of which at least one was corrected.
const CLOCK_MARK: &str = " *";
/// The mark of a patient who has withdrawn from the study.
const WITHDRAWN_MARK: &str = " (w)";
/// The mark of a patient who has moved to another site.
const MOVED_MARK: &str = " (m)";

fn patient_rows(heading: &Heading<'_>, line: &PatientLine<'_>) -> Vec<Vec<Cell>> {
    let labels = heading.language.labels();
    let mark = match line.stay {
        Stay { withdrawal: Some(_), .. } => WITHDRAWN_MARK,
        Stay { is_current: false, .. } => MOVED_MARK,
        Stay { .. } => "",
    };
    let patient = || Cell::new(format!("{}{mark}", line.patient));
    if line.instruments.is_empty() {
        let mut row = vec![patient(), Cell::colored(labels.no_submissions, GREY), Cell::new("0")];
        row.extend(["", "", "", ""].map(Cell::new));
        return vec![row];
    }
    let row = |(instrument, of_patient): (&&InstrumentId, &PatientInstrument)| {
        let submissions = Cell::new(of_patient.submissions.to_string());
        let mut row = vec![patient(), Cell::new(instrument.as_str()), submissions];
        row.extend(compliance_cells(labels, of_patient.compliance));
        let mark = if of_patient.clock_corrected { CLOCK_MARK } else { "" };
        let last = of_patient.last.map(|last| format!("{}{mark}", minute(heading, last)));
        row.push(Cell::new(last.unwrap_or_default()));
        row
    };
    line.instruments.iter().map(row).collect()
}

/// The cells for expected and completed windows, and the percentage as a bar.
fn compliance_cells(labels: &Labels, compliance: Option<Compliance>) -> [Cell; 3] {
    let Some(compliance) = compliance else {
        return [Cell::colored(labels.no_schedule, GREY), Cell::new(""), Cell::new("")];
    };
    let bar = match compliance.percent() {
        Some(percent) => Cell::bar(format!("{percent} %"), percent as f32 / 100.0),
        None => Cell::colored(labels.nothing_due, GREY),
    };
    let mut completed = compliance.completed.to_string();
    if compliance.late > 0 {
        completed.push_str(&labels.of_these_late.replace("{count}", &compliance.late.to_string()));
    }
    [Cell::new(compliance.expected.to_string()), Cell::new(completed), bar]
}

fn courses(pages: &mut Pages, heading: &Heading<'_>, statistics: &Statistics<'_>) {
    let labels = heading.language.labels();
    let follows = if statistics.courses.is_empty() { 14.0 } else { plot::COURSE_START + 24.0 };
    pages.section(labels.courses, follows);
    let small = Style::plain(7.5, GREY);
    if statistics.courses.is_empty() {
        pages.paragraph(small, labels.no_scores);
        return;
    }
    pages.paragraph(small, labels.how_courses);
    pages.y += 6.0;
    for course in &statistics.courses {
        let score = course.definition.and_then(|definition| definition.title.as_ref());
        let score = score.and_then(|texts| heading.language.choose(texts)).unwrap_or(course.score.as_str());
        let (low, high) = (course.range.0.normalize(), course.range.1.normalize());
        let zone = heading.period.zone().name();
        let title = format!(
            "{} – {score} ({} {low}–{high}, {} {}; {} {zone})",
            title(course.instrument, heading),
            labels.points,
            labels.version,
            course.version.as_str(),
            labels.date,
        );
        plot::score_courses(pages, course, &title, heading.period, heading.language);
    }
}

fn alerts(pages: &mut Pages, heading: &Heading<'_>, statistics: &Statistics<'_>) {
    let labels = heading.language.labels();
    pages.section(labels.alerts, TABLE_START);
    if statistics.alerts.is_empty() {
        pages.paragraph(Style::plain(8.0, GREY), labels.no_alerts);
        return;
    }
    let columns = [
        Column::left(labels.raised, 72.0),
        Column::left(labels.severity, 42.0),
        Column::left(labels.patient, 82.0),
        Column::left(labels.instrument, 58.0),
        Column::left(labels.rule, 50.0),
        Column::left(labels.status, 62.0),
        Column::left(labels.sent, 52.0),
        Column::left(labels.acknowledged, 93.0),
    ];
    let rows = statistics.alerts.iter().map(|line| {
        let alert = line.alert;
        let acknowledged = alert.acknowledged.as_ref();
        let acknowledged = acknowledged.map(|(at, by)| format!("{} {by}", minute(heading, *at)));
        let sent = alert.sent_at.map(|sent_at| short(heading, sent_at, alert.raised_at));
        let mut status = labels.status(alert.status).to_owned();
        if alert.escalation > 0 {
            status = format!("{status}, {} ({})", labels.escalated, alert.escalation);
        }
        let alarming = if alert.status == AlertStatus::Pending { RED } else { INK };
        vec![
            Cell::new(minute(heading, alert.raised_at)),
            Cell::colored(labels.severity(alert.severity), color(alert.severity)),
            Cell::new(line.patient.as_str()),
            Cell::new(line.instrument.map_or("", InstrumentId::as_str)),
            Cell::new(alert.rule.as_str()),
            Cell::colored(status, alarming),
            Cell::new(sent.unwrap_or_default()),
            Cell::new(acknowledged.unwrap_or_default()),
        ]
    });
    pages.table(&columns, rows);
}

/// Adds the header and the footer of every page.
fn headers_and_footers(pages: &mut Pages, heading: &Heading<'_>) {
    let labels = heading.language.labels();
    let face = Face::shared();
    let count = pages.pages.len();
    let style = Style::plain(7.0, GREY);
    let mut done = std::mem::replace(pages, Pages::new());
    for (index, page) in done.pages.iter_mut().enumerate() {
        let right = MARGIN + INNER;
        let section = face.drawable(&page.section);
        let room = INNER - face.width(&section, style.size) - 12.0;
        let of = format!("{} | {} | {} | {}", labels.title, days(heading.period), heading.site, heading.study);
        let number = labels.page.replace("{page}", &(index + 1).to_string()).replace("{pages}", &count.to_string());
        pages.pages[0].marks.clear();
        pages.text(MARGIN, 34.0, style, &face.cut(&face.drawable(&of), room, style.size));
        pages.text_to(right, 34.0, style, &section);
        pages.mark(Mark::Line { points: vec![(MARGIN, 40.0), (right, 40.0)], width: 0.5, color: ACCENT });
        pages.text(MARGIN, 822.0, Style::plain(6.0, GREY), &format!("{}: {}", labels.hash, heading.hash));
        pages.text_to(right, 822.0, style, &number);
        page.marks.append(&mut pages.pages[0].marks);
    }
    *pages = done;
}

fn color(severity: Severity) -> Color {
    match severity {
        Severity::Critical => RED,
        Severity::Warning => AMBER,
        Severity::Info => INK,
    }
}

/// The title of an instrument, or its id if it has none.
fn title(instrument: &InstrumentId, heading: &Heading<'_>) -> String {
    let texts = heading.plan.title(instrument);
    texts.and_then(|texts| heading.language.choose(texts)).unwrap_or(instrument.as_str()).to_owned()
}

fn percent(compliance: Compliance, none_expected: &str) -> String {
    compliance.percent().map_or_else(|| none_expected.to_owned(), |percent| format!("{percent} %"))
}

fn days(period: &ReportPeriod) -> String {
    format!("{} – {} ({})", period.from(), period.to(), period.zone().name())
}

/// `instant` in the site's time zone, to the minute.
fn minute(heading: &Heading<'_>, instant: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    heading.period.zone().local(instant).format(format).unwrap_or_default()
}

/// `instant` in minutes, without its date if that is the date of `reference`.
fn short(heading: &Heading<'_>, instant: OffsetDateTime, reference: OffsetDateTime) -> String {
    let zone = heading.period.zone();
    let full = minute(heading, instant);
    match full.split_once(' ') {
        Some((_, time)) if zone.local(instant).date() == zone.local(reference).date() => time.to_owned(),
        _ => full,
    }
}

#[cfg(test)]
mod tests {
    use super::page::{BOTTOM, HEIGHT, Page, WIDTH};
    use super::*;
    use crate::period::Zone;
    use crate::sample;
    use crate::statistics::statistics;
    use clinical::studies::Protocol;
    use records::SitePeriod;
    use time::macros::datetime;

    const LONGEST_ID: &str = "WWWWWWWW-MMMMMMMM-WWWWWWWW-MMMMMMMM-WWWWWWWW-MMMMMMMM-WWWWWWWW-M";

    fn laid_out(data: &SitePeriod, name: &str, zone: &str, language: Language) -> Vec<Page> {
        let now = datetime!(2026-11-24 07:58 UTC);
        let period =
            ReportPeriod::parse(Some("2026-10-25"), Some("2026-11-23"), now, Zone::named(zone).unwrap()).unwrap();
        let (protocol, phq_9) = (Protocol::of_no_study(), "phq-9".parse().unwrap());
        let plan = SitePlan { protocol: &protocol, intervals: [(&phq_9, 1)].into(), scheduled: [].into() };
        let hash = &"0123456789abcdef".repeat(4);
        let heading =
            Heading { study: name, site: name, plan: &plan, period: &period, generated_at: now, hash, language };
        lay_out(&heading, &statistics(data, &plan, &period, now.date())).pages
    }

    /// Left, top, right and bottom of the texts of a page.
    fn boxes(page: &Page) -> Vec<(f32, f32, f32, f32, &str)> {
        let text = |mark| match mark {
            &Mark::Text { x, baseline, size, ref text, .. } => {
                let right = x + Face::shared().width(text.trim_end(), size);
                Some((x, baseline - 0.7 * size, right, baseline + 0.1 * size, text.as_str()))
            }
            _ => None,
        };
        page.marks.iter().filter_map(text).collect()
    }

    fn sites() -> Vec<(SitePeriod, &'static str)> {
        let patients = sample::site(60, 30, &["phq-9", "who-5"]).patients;
        let mut long = patients.into_iter().max_by_key(|patient| patient.alerts.len()).unwrap();
        long.patient = LONGEST_ID.parse().unwrap();
        assert!(!long.alerts.is_empty());
        let mut second = long.clone();
        second.patient = "P-2".parse().unwrap();
        let name = "中国医学科学院北京协和医院神经科学与精神卫生临床研究中心 – Klinikum der Universität, Standort Mitte (Haus 4)";
        vec![
            (SitePeriod { patients: Vec::new(), unreadable: 0 }, "S01"),
            (sample::site(1, 1, &["gad-7"]), "S01"),
            (sample::site(3, 30, &["phq-9"]), "S01 – Hamburg"),
            (sample::site(50, 30, &["phq-9", "rand-36", "pcl-5", "promis-global-10", "eortc-qlq-c30"]), "S01"),
            (SitePeriod { patients: vec![long.clone(), long, second], unreadable: 7 }, name),
        ]
    }

    #[test]
    fn texts_neither_leave_the_page_nor_overlap() {
        for (data, name) in sites() {
            for (language, zone) in
                [(Language::English, "UTC"), (Language::Chinese, "America/Argentina/ComodRivadavia")]
            {
                for (number, page) in laid_out(&data, name, zone, language).iter().enumerate() {
                    let boxes = boxes(page);
                    for (index, &(left, top, right, bottom, text)) in boxes.iter().enumerate() {
                        let inside = left >= MARGIN - 4.0
                            && right <= WIDTH - MARGIN + 4.0
                            && top > 20.0
                            && bottom < HEIGHT - 15.0;
                        assert!(inside, "page {number}: {text} at {left}–{right}, {top}–{bottom}");
                        for other in &boxes[index + 1..] {
                            let apart = right <= other.0 || other.2 <= left || bottom <= other.1 || other.3 <= top;
                            assert!(apart, "page {number}: {text} and {} overlap", other.4);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_page_is_empty_and_no_heading_is_the_last_line_of_a_page() {
        for (data, name) in sites() {
            for page in laid_out(&data, name, "UTC", Language::English) {
                let boxes = boxes(&page);
                assert!(boxes.len() > 4 + 3, "{boxes:?}");
                let last = page.marks.iter().filter_map(|mark| match mark {
                    Mark::Text { baseline, size, .. } if *baseline < BOTTOM => Some((*baseline, *size)),
                    _ => None,
                });
                let (_, size) = last.max_by(|one, other| one.0.total_cmp(&other.0)).unwrap();
                assert!(size < 9.0, "a heading is the last thing on a page: {boxes:?}");
            }
        }
    }
}
