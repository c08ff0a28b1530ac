//! What stands in the PDF.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

mod made_up;

use std::collections::BTreeMap;

use clinical::studies::Protocol;
use lopdf::Document;
use made_up::Random;
use records::{PatientPeriod, SitePeriod};
use report::period::{Period, Zone};
use report::render::{Heading, Language, NotRendered, render};
use report::statistics::{Asked, statistics};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-24 07:58 UTC);
const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The report of `data`, of a study that asks a PHQ-9 a day, at a site named `site`.
fn report(data: &SitePeriod, site: &str, language: Language) -> Vec<u8> {
    made(data, site, language, || true).unwrap()
}

fn made(data: &SitePeriod, site: &str, language: Language, go_on: impl Fn() -> bool) -> Result<Vec<u8>, NotRendered> {
    let (protocol, phq_9) = (Protocol::of_no_study(), "phq-9".parse().unwrap());
    let asked = Asked { protocol: &protocol, schedule: BTreeMap::from([(&phq_9, 1)]) };
    let period = Period::read(Some("2026-10-25"), Some("2026-11-23"), NOW, Zone::utc()).unwrap();
    let heading =
        Heading { study: "DEMO", site, asked: &asked, period: &period, generated_at: NOW, hash: HASH, language };
    render(&heading, &statistics(data, &asked, &period, NOW.date()), go_on)
}

/// The text of each page.
fn texts(pdf: &[u8]) -> Vec<String> {
    let document = Document::load_mem(pdf).unwrap();
    document.get_pages().keys().map(|page| document.extract_text(&[*page]).unwrap().replace('\n', " ")).collect()
}

/// Whether a page has `text`.
fn holds(texts: &[String], text: &str) -> bool {
    texts.iter().any(|page| page.contains(text))
}

#[test]
fn the_numbers_of_a_site_are_told_in_words_of_the_language() {
    let mut data = made_up::site(3, 30, &["phq-9", "gad-7"]);
    data.unreadable = 2;
    let waiting = data.patients[0].submissions.last_mut().unwrap();
    waiting.scores = None;
    let submissions: usize = data.patients.iter().map(|patient| patient.submissions.len()).sum();
    assert_eq!(submissions, 160, "the made-up site is the same each time");

    let english = texts(&report(&data, "S01", Language::English)).join(" ");
    for expected in [
        "Patients  3 3 with submissions",
        "Submissions  160",
        "Compliance  89 %  80 / 90",
        "Patient Health Questionnaire-9 (PHQ-9)  3 80  90  80  89 %",
        "Generalized Anxiety Disorder-7 (GAD-7)  3 80  no schedule",
        "P-0002  phq-9  28  30  28  93 %  2026-11-23 09:45",
        "P-0003  gad-7  24  no schedule  2026-11-23 09:07",
        "Of the submissions 159 have a score, 0 could not be scored, 1 wait to be scored",
        "2 stored records could not be read",
        "0–4 minimal  5–9 mild  10–14 moderate  15–19 moderately severe  20–27 severe",
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
fn every_alert_is_there_with_its_handling() {
    let data = SitePeriod { patients: vec![made_up::patient("P-0007", 30, &["phq-9"], &mut Random(5))], unreadable: 0 };
    let alerts = &data.patients[0].alerts;
    assert!(alerts.len() > 3, "{}", alerts.len());
    let text = texts(&report(&data, "S01", Language::English)).join(" ");
    assert!(text.contains(&format!("Alerts  {} ", alerts.len())), "{text}");
    for (place, alert) in alerts.iter().enumerate() {
        let status = ["sent", "acknowledged", "pending", "quiet"][place % 4];
        let status = if place.is_multiple_of(8) { format!("{status},   escalated (2)") } else { status.to_owned() };
        let minute = |at: OffsetDateTime| format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute());
        let row = format!(
            "{}  {}  P-0007  phq-9  {}  {status}",
            minute(alert.raised_at),
            ["critical", "warning", "info"][place % 3],
            ["safety", "threshold"][place % 2],
        );
        assert!(text.contains(&row), "{row}: {text}");
        if let Some((at, by)) = &alert.acknowledged {
            let (minute, by) = (minute(*at), by.split('-').next().unwrap());
            assert!(text.contains(&minute) && text.contains(by), "{minute} {by}: {text}");
        }
    }
}

#[test]
fn what_was_corrected_is_drawn_as_it_was_corrected() {
    let mut data = made_up::site(1, 2, &["phq-9"]);
    let submissions = &mut data.patients[0].submissions;
    submissions.truncate(1);
    let mut correction = submissions[0].clone();
    correction.id = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e".parse().unwrap();
    correction.amends = Some(submissions[0].id);
    correction.clock_corrected = true;
    submissions[0].amended_by = Some(correction.id);
    correction.scores.as_mut().unwrap()[0].value = 26.into();
    // It is drawn, whichever comes first.
    submissions.insert(0, correction);
    let text = texts(&report(&data, "S01", Language::English)).join(" ");
    assert!(text.contains("2026-11-23  26  Alerts") && text.contains("1 are corrections of others"), "{text}");
    assert!(text.contains("1 submissions stand at a corrected time") && text.contains(" *  Score courses"), "{text}");
}

#[test]
fn a_site_of_300_patients_has_each_of_them_and_heads_on_every_page() {
    let data = made_up::site(300, 30, &["phq-9"]);
    let texts = texts(&report(&data, "S01", Language::English));
    let pages = texts.len();
    assert!(pages > 20, "{pages}");
    for (place, page) in texts.iter().enumerate() {
        assert!(page.contains(&format!("Page {} of {pages}", place + 1)), "{page}");
        assert!(
            page.contains(HASH) && page.contains("Site report | 2026-10-25 – 2026-11-23 (UTC) | S01 | DEMO"),
            "{page}"
        );
        let row_of_compliance = page.contains("  phq-9  2") && !page.contains("critical") && !page.contains("warning");
        assert!(!row_of_compliance || page.contains("Expected  Done  Compliance  Last submission"), "{page}");
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
fn the_same_report_is_the_same_bytes() {
    let data = made_up::site(5, 30, &["phq-9", "gad-7"]);
    let make = |language| report(&data, "S01", language);
    assert_eq!(make(Language::English), make(Language::English));
    assert_ne!(make(Language::English), make(Language::Chinese));
}

#[test]
fn a_site_without_patients_or_without_submissions_has_a_report_that_says_so() {
    let nothing = SitePeriod { patients: Vec::new(), unreadable: 0 };
    let texts_of_nothing = texts(&report(&nothing, "S01", Language::English));
    assert_eq!(texts_of_nothing.len(), 1);
    assert!(holds(&texts_of_nothing, "The site has no patients yet."), "{texts_of_nothing:?}");
    assert!(holds(&texts_of_nothing, "No scores in this period."), "{texts_of_nothing:?}");

    let silent = PatientPeriod {
        patient: "P-1".parse().unwrap(),
        first_submission: Some(made_up::START - time::Duration::days(40)),
        submissions: Vec::new(),
        alerts: Vec::new(),
    };
    let silent = texts(&report(&SitePeriod { patients: vec![silent], unreadable: 0 }, "S01", Language::English));
    assert!(holds(&silent, "P-1  phq-9  0 30  0 0 %"), "due from the first day on, and never answered: {silent:?}");
}

#[test]
fn a_name_that_cannot_be_written_is_seen_to_lack_letters() {
    let data = made_up::site(1, 3, &["phq-9"]);
    let texts = texts(&report(&data, "S01 – Klinik \u{1F3E5} \u{7}北京", Language::English));
    assert!(holds(&texts, "S01 – Klinik □ □北京"), "{texts:?}");
}

#[test]
fn the_file_names_its_title_and_language() {
    let pdf = report(&made_up::site(1, 3, &["phq-9"]), "S01", Language::Chinese);
    let document = Document::load_mem(&pdf).unwrap();
    let language = document.catalog().unwrap().get(b"Lang").unwrap();
    assert_eq!(language.as_str().unwrap(), b"zh-Hans");
    let info = document.trailer.get(b"Info").and_then(|info| document.dereference(info)).unwrap().1;
    let title = lopdf::decode_text_string(info.as_dict().unwrap().get(b"Title").unwrap()).unwrap();
    assert_eq!(title, "研究中心报告 | DEMO | S01 | 2026-10-25 – 2026-11-23 (UTC)");
    assert!(String::from_utf8_lossy(&pdf).contains("pdfaid:part>2"), "it is an archive's PDF");
}

#[test]
fn rendering_stops_when_it_is_told_to() {
    let data = made_up::site(60, 30, &["phq-9"]);
    for pages in [0_u32, 1, 5] {
        let left = std::cell::Cell::new(pages);
        let go_on = || left.replace(left.get().saturating_sub(1)) > 0;
        assert_eq!(made(&data, "S01", Language::English, go_on), Err(NotRendered::Stopped), "{pages}");
    }
}
