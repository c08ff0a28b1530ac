//! The content of the rendered PDF.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

mod sample;

use std::collections::BTreeMap;

use clinical::studies::Protocol;
use lopdf::Document;
use records::{PatientPeriod, SitePeriod, Stay};
use report::period::{ReportPeriod, Zone};
use report::render::{Heading, Language, RenderError, render};
use report::statistics::{SitePlan, statistics};
use sample::Random;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-24 07:58 UTC);
const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The report of `data` for the site `site` of a study with a daily PHQ-9.
fn report(data: &SitePeriod, site: &str, language: Language) -> Vec<u8> {
    try_render(data, site, language, || true).unwrap()
}

fn try_render(
    data: &SitePeriod,
    site: &str,
    language: Language,
    proceed: impl Fn() -> bool,
) -> Result<Vec<u8>, RenderError> {
    let (protocol, phq_9) = (Protocol::of_no_study(), "phq-9".parse().unwrap());
    let plan = SitePlan { protocol: &protocol, intervals: BTreeMap::from([(&phq_9, 1)]), scheduled: [].into() };
    let period = ReportPeriod::parse(Some("2026-10-25"), Some("2026-11-23"), NOW, Zone::utc()).unwrap();
    let heading =
        Heading { study: "DEMO", site, plan: &plan, period: &period, generated_at: NOW, hash: HASH, language };
    render(&heading, &statistics(data, &plan, &period, NOW.date()), proceed)
}

/// The text of each page.
fn texts(pdf: &[u8]) -> Vec<String> {
    let document = Document::load_mem(pdf).unwrap();
    document.get_pages().keys().map(|page| document.extract_text(&[*page]).unwrap().replace('\n', " ")).collect()
}

/// Whether a page contains `text`.
fn holds(texts: &[String], text: &str) -> bool {
    texts.iter().any(|page| page.contains(text))
}

#[test]
fn the_totals_of_a_site_are_labelled_in_the_language_of_the_report() {
    let mut data = sample::site(3, 30, &["phq-9", "gad-7"]);
    data.unreadable = 2;
    let waiting = data.patients[0].submissions.last_mut().unwrap();
    waiting.scores = None;
    let submissions: usize = data.patients.iter().map(|patient| patient.submissions.len()).sum();
    assert_eq!(submissions, 160, "the sample is the same each time");

    let english = texts(&report(&data, "S01", Language::English)).join(" ");
    for expected in [
        "Patients  3 3 with submissions",
        "Submissions  160",
        "Compliance  89 %  80 / 90",
        "Patient Health Questionnaire-9 (PHQ-9)  3 80  90  80  89 %",
        "Generalized Anxiety Disorder-7 (GAD-7)  3 80  no schedule",
        "P-0002  phq-9  28  30  28  93 %  2026-11-23 09:45",
        "P-0003  gad-7  24  no schedule  2026-11-23 09:07",
        "Submissions by state: 159 scored, 0 not scorable, 1 not yet scored",
        "records that could not be read and are not included in this report: 2.",
        "0–4 minimal  5–9 mild  10–14 moderate  15–19 moderately severe  20–27 severe",
        " Period  2026-",
        "Generated  2026-11-24 07:58 UTC",
        "Alerts  17  9 not acknowledged",
        "critical  1 2 1 2 6 warning  1 2 2 1 6 info  2 1 1 1 5",
    ] {
        assert!(english.contains(expected), "{expected}: {english}");
    }
    let chinese = texts(&report(&data, "S01", Language::Chinese)).join(" ");
    for expected in [
        "研究中心报告",
        "患者健康问卷-9 (PHQ-9)  3 80  90  80  89 %",
        "159 份已有评分，0 份无法评分，1 份等待评分",
        "有 2 条存储记录无法读取",
        "0–4 极轻  5–9 轻度  10–14 中度  15–19 中重度  20–27 重度",
        "第 1 页，共 2 页",
        "警报  17  9 条未确认",
    ] {
        assert!(chinese.contains(expected), "{expected}: {chinese}");
    }
}

#[test]
fn every_alert_is_listed_with_its_handling() {
    let data = SitePeriod { patients: vec![sample::patient("P-0007", 30, &["phq-9"], &mut Random(5))], unreadable: 0 };
    let alerts = &data.patients[0].alerts;
    assert!(alerts.len() > 3, "{}", alerts.len());
    let text = texts(&report(&data, "S01", Language::English)).join(" ");
    assert!(text.contains(&format!("Alerts  {} ", alerts.len())), "{text}");
    for (index, alert) in alerts.iter().enumerate() {
        let status = ["sent", "acknowledged", "pending", "quiet"][index % 4];
        let status = if index.is_multiple_of(8) { format!("{status},   escalated (2)") } else { status.to_owned() };
        let minute = |at: OffsetDateTime| format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute());
        let row = format!(
            "{}  {}  P-0007  phq-9  {}  {status}",
            minute(alert.raised_at),
            ["critical", "warning", "info"][index % 3],
            ["safety", "threshold"][index % 2],
        );
        assert!(text.contains(&row), "{row}: {text}");
        if let Some((at, by)) = &alert.acknowledged {
            let (minute, by) = (minute(*at), by.split('-').next().unwrap());
            assert!(text.contains(&minute) && text.contains(by), "{minute} {by}: {text}");
        }
    }
}

#[test]
fn a_corrected_submission_is_drawn_with_its_corrected_score() {
    let mut data = sample::site(1, 2, &["phq-9"]);
    let submissions = &mut data.patients[0].submissions;
    submissions.truncate(1);
    let mut correction = submissions[0].clone();
    correction.id = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e".parse().unwrap();
    correction.amends = Some(submissions[0].id);
    correction.clock_corrected = true;
    submissions[0].amended_by = Some(correction.id);
    correction.scores.as_mut().unwrap()[0].value = 26.into();
    // It is drawn whatever the order of the two.
    submissions.insert(0, correction);
    let text = texts(&report(&data, "S01", Language::English)).join(" ");
    assert!(text.contains("2026-11-23  26  Alerts") && text.contains("Corrections of other submissions: 1."), "{text}");
    assert!(text.contains("because the device's clock was wrong: 1.") && text.contains(" *  Score courses"), "{text}");
}

#[test]
fn a_site_of_300_patients_lists_each_of_them_with_heads_on_every_page() {
    let data = sample::site(300, 30, &["phq-9"]);
    let texts = texts(&report(&data, "S01", Language::English));
    let pages = texts.len();
    assert!(pages > 20, "{pages}");
    for (index, page) in texts.iter().enumerate() {
        assert!(page.contains(&format!("Page {} of {pages}", index + 1)), "{page}");
        assert!(
            page.contains(HASH) && page.contains("Site report | 2026-10-25 – 2026-11-23 (UTC) | S01 | DEMO"),
            "{page}"
        );
        let row_of_compliance = page.contains("  phq-9  2") && !page.contains("critical") && !page.contains("warning");
        assert!(!row_of_compliance || page.contains("Expected  Completed  Compliance  Last submission"), "{page}");
        assert!(
            !page.contains("2026-10-25  2026-11-09") || page.contains("20–27 severe"),
            "the legend is on each page: {page}"
        );
    }
    for patient in &data.patients {
        let of = texts.iter().map(|page| page.matches(patient.patient.as_str()).count()).sum::<usize>();
        assert_eq!(of, 2 + patient.alerts.len(), "a row, a plot, and the alerts of {:?}", patient.patient.as_str());
    }
}

#[test]
fn the_same_report_has_the_same_bytes() {
    let data = sample::site(5, 30, &["phq-9", "gad-7"]);
    let make = |language| report(&data, "S01", language);
    assert_eq!(make(Language::English), make(Language::English));
    assert_ne!(make(Language::English), make(Language::Chinese));
}

#[test]
fn a_site_without_patients_or_without_submissions_has_a_report() {
    let nothing = SitePeriod { patients: Vec::new(), unreadable: 0 };
    let texts_of_nothing = texts(&report(&nothing, "S01", Language::English));
    assert_eq!(texts_of_nothing.len(), 1);
    assert!(holds(&texts_of_nothing, "The site has no patients yet."), "{texts_of_nothing:?}");
    assert!(holds(&texts_of_nothing, "No scores in this period."), "{texts_of_nothing:?}");

    let silent = PatientPeriod {
        patient: "P-1".parse().unwrap(),
        first_submission: Some(sample::START - time::Duration::days(40)),
        stay: Stay::default(),
        submissions: Vec::new(),
        alerts: Vec::new(),
        compliance: [].into(),
    };
    let silent = texts(&report(&SitePeriod { patients: vec![silent], unreadable: 0 }, "S01", Language::English));
    assert!(holds(&silent, "P-1  phq-9  0 30  0 0 %"), "due from the first day on, and never answered: {silent:?}");
}

#[test]
fn characters_that_the_font_lacks_are_replaced_visibly() {
    let data = sample::site(1, 3, &["phq-9"]);
    let texts = texts(&report(&data, "S01 – Klinik \u{1F3E5} \u{7}北京", Language::English));
    assert!(holds(&texts, "S01 – Klinik □ □北京"), "{texts:?}");
}

#[test]
fn the_file_declares_its_title_and_language() {
    let pdf = report(&sample::site(1, 3, &["phq-9"]), "S01", Language::Chinese);
    let document = Document::load_mem(&pdf).unwrap();
    let language = document.catalog().unwrap().get(b"Lang").unwrap();
    assert_eq!(language.as_str().unwrap(), b"zh-Hans");
    let info = document.trailer.get(b"Info").and_then(|info| document.dereference(info)).unwrap().1;
    let title = lopdf::decode_text_string(info.as_dict().unwrap().get(b"Title").unwrap()).unwrap();
    assert_eq!(title, "研究中心报告 | DEMO | S01 | 2026-10-25 – 2026-11-23 (UTC)");
    assert!(String::from_utf8_lossy(&pdf).contains("pdfaid:part>2"), "it is PDF/A-2");
}

#[test]
fn rendering_stops_between_pages() {
    let data = sample::site(60, 30, &["phq-9"]);
    for pages in [0_u32, 1, 5] {
        let left = std::cell::Cell::new(pages);
        let proceed = || left.replace(left.get().saturating_sub(1)) > 0;
        assert_eq!(try_render(&data, "S01", Language::English, proceed), Err(RenderError::Stopped), "{pages}");
    }
}
