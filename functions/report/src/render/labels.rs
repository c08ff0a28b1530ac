//! The labels and sentences of a report, in each of its languages.

use clinical::document::Texts;
use clinical::instruments::Severity;
use records::AlertStatus;

/// The BCP 47 tags of the languages that reports are written in.
pub const LANGUAGES: [&str; 2] = ["en", "zh-Hans"];

/// A language that a report is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English, `en`.
    English,
    /// Chinese in simplified characters, `zh-Hans`.
    Chinese,
}

impl Language {
    /// The language that `tag` names, one of [`LANGUAGES`]; English where it names none.
    pub fn of(tag: &str) -> Self {
        if tag == Self::Chinese.tag() { Self::Chinese } else { Self::English }
    }

    /// The BCP 47 tag, one of [`LANGUAGES`].
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => LANGUAGES[0],
            Self::Chinese => LANGUAGES[1],
        }
    }

    pub(super) fn labels(self) -> &'static Labels {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }

    /// The text of `texts` in this language, or in English, or in the first of its languages.
    pub fn choose(self, texts: &Texts) -> Option<&str> {
        let text = texts.get(self.tag()).or_else(|| texts.get("en")).or_else(|| texts.values().next());
        text.map(String::as_str)
    }

    /// The name of a band whose definition has no title in this language; its id if there is no other.
    pub(super) fn band(self, id: &str) -> &str {
        let known = BANDS.iter().find(|(known, _)| self == Self::Chinese && *known == id);
        known.map_or(id, |(_, chinese)| chinese)
    }
}

/// The texts of a report in one language.
pub(super) struct Labels {
    pub(super) title: &'static str,
    pub(super) study: &'static str,
    pub(super) site: &'static str,
    pub(super) period: &'static str,
    pub(super) generated: &'static str,
    pub(super) summary: &'static str,
    pub(super) patients: &'static str,
    pub(super) active: &'static str,
    pub(super) submissions: &'static str,
    pub(super) compliance: &'static str,
    pub(super) alerts: &'static str,
    pub(super) open_alerts: &'static str,
    pub(super) instruments: &'static str,
    pub(super) instrument: &'static str,
    pub(super) version: &'static str,
    pub(super) expected: &'static str,
    pub(super) completed: &'static str,
    pub(super) no_schedule: &'static str,
    pub(super) nothing_due: &'static str,
    pub(super) severity: &'static str,
    pub(super) total: &'static str,
    pub(super) patient: &'static str,
    pub(super) last_submission: &'static str,
    pub(super) courses: &'static str,
    pub(super) points: &'static str,
    pub(super) bands: &'static str,
    pub(super) no_bands: &'static str,
    pub(super) date: &'static str,
    pub(super) rule: &'static str,
    pub(super) raised: &'static str,
    pub(super) status: &'static str,
    pub(super) sent: &'static str,
    pub(super) acknowledged: &'static str,
    pub(super) escalated: &'static str,
    pub(super) no_patients: &'static str,
    pub(super) no_scores: &'static str,
    pub(super) no_alerts: &'static str,
    pub(super) no_submissions: &'static str,
    pub(super) how_compliance: &'static str,
    /// After the number of completed windows.
    pub(super) of_these_late: &'static str,
    pub(super) how_courses: &'static str,
    pub(super) continued: &'static str,
    pub(super) hash: &'static str,
    severities: [&'static str; 3],
    pub(super) statuses: [&'static str; 4],
    /// A sentence with `{scored}`, `{not_scorable}`, `{waiting}` and `{corrections}`.
    pub(super) scored: &'static str,
    /// A sentence with `{count}`.
    pub(super) clock_corrected: &'static str,
    /// A sentence with `{count}`.
    pub(super) withdrawn: &'static str,
    /// A sentence with `{count}`.
    pub(super) moved: &'static str,
    /// A sentence with `{count}`.
    pub(super) unreadable: &'static str,
    /// A text with `{page}` and `{pages}`.
    pub(super) page: &'static str,
}

impl Labels {
    pub(super) fn severity(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Critical => self.severities[0],
            Severity::Warning => self.severities[1],
            Severity::Info => self.severities[2],
        }
    }

    pub(super) fn status(&self, status: AlertStatus) -> &'static str {
        match status {
            AlertStatus::Pending => self.statuses[0],
            AlertStatus::Sent => self.statuses[1],
            AlertStatus::Acknowledged => self.statuses[2],
            AlertStatus::Quiet => self.statuses[3],
        }
    }
}

static ENGLISH: Labels = Labels {
    title: "Site report",
    study: "Study",
    site: "Site",
    period: "Period",
    generated: "Generated",
    summary: "Summary",
    patients: "Patients",
    active: "with submissions",
    submissions: "Submissions",
    compliance: "Compliance",
    alerts: "Alerts",
    open_alerts: "not acknowledged",
    instruments: "By instrument",
    instrument: "Instrument",
    version: "version",
    expected: "Expected",
    completed: "Completed",
    no_schedule: "no schedule",
    nothing_due: "nothing due",
    severity: "Severity",
    total: "Total",
    patient: "Patient",
    last_submission: "Last submission",
    courses: "Score courses",
    points: "score",
    bands: "Bands:",
    no_bands: "No bands are defined for this score.",
    date: "date",
    rule: "Rule",
    raised: "Raised",
    status: "Status",
    sent: "Sent",
    acknowledged: "Acknowledged",
    escalated: "escalated",
    no_patients: "The site has no patients yet.",
    no_scores: "No scores in this period.",
    no_alerts: "No alerts in this period.",
    no_submissions: "no submissions",
    how_compliance: "Compliance: expected are the windows of the study's schedules that opened in the period and were \
        answered or missed; completed are those answered, also when the answer was received late. Where the study gives an \
        interval only, the period is divided into windows of this length from the patient's first submission; expected are \
        those that have ended, and those answered before their end; completed are those with at least one submission, scored \
        or not.",
    of_these_late: " ({count} late)",
    how_courses: "One plot per patient, all with the same axes: the score by date of completion. The number is the latest \
        value. A corrected submission is replaced by its correction.",
    continued: "(continued)",
    hash: "SHA-256 of the data",
    severities: ["critical", "warning", "info"],
    statuses: ["pending", "sent", "acknowledged", "quiet"],
    scored: "Submissions by state: {scored} scored, {not_scorable} not scorable, {waiting} not yet scored. Corrections of \
        other submissions: {corrections}.",
    clock_corrected: "Submissions whose time was corrected because the device's clock was wrong: {count}. The times of their \
        patients are marked *.",
    withdrawn: "Patients who have withdrawn from the study, marked (w): {count}. Nothing is due from them since; where they \
        wished it, their data are not shown.",
    moved: "Patients who have moved to another site, marked (m): {count}. What they sent from this site stays here.",
    unreadable: "Stored records that could not be read and are not included in this report: {count}.",
    page: "Page {page} of {pages}",
};

static CHINESE: Labels = Labels {
    title: "研究中心报告",
    study: "研究",
    site: "研究中心",
    period: "报告期间",
    generated: "生成时间",
    summary: "概要",
    patients: "患者",
    active: "名有提交",
    submissions: "提交",
    compliance: "依从性",
    alerts: "警报",
    open_alerts: "条未确认",
    instruments: "按量表统计",
    instrument: "量表",
    version: "版本",
    expected: "应完成",
    completed: "已完成",
    no_schedule: "无计划",
    nothing_due: "无到期",
    severity: "严重程度",
    total: "合计",
    patient: "患者",
    last_submission: "最近提交",
    courses: "评分变化",
    points: "评分",
    bands: "分级：",
    no_bands: "该评分没有定义分级。",
    date: "日期",
    rule: "规则",
    raised: "触发时间",
    status: "状态",
    sent: "发送时间",
    acknowledged: "确认",
    escalated: "升级",
    no_patients: "该研究中心尚无患者。",
    no_scores: "本期间没有评分。",
    no_alerts: "本期间没有警报。",
    no_submissions: "无提交",
    how_compliance: "依从性：应完成数为研究计划中在本期间开始、且已作答或已错过的时间窗；已完成数为其中已作答的时间窗，迟到的作答也计入。\
        研究仅规定间隔时，自患者首次提交起按该间隔将报告期间划分为若干时间窗：应完成数为已结束的时间窗，\
        以及结束前已作答的时间窗；已完成数为至少有一次提交（无论是否已评分）的时间窗。",
    of_these_late: "（迟 {count}）",
    how_courses: "每位患者一幅图，坐标轴一致：评分随完成日期的变化。图中数字为最近一次的值。被更正的提交以其更正代替。",
    continued: "（续）",
    hash: "数据的 SHA-256",
    severities: ["危急", "警告", "提示"],
    statuses: ["待发送", "已发送", "已确认", "静默"],
    scored: "提交中 {scored} 份已有评分，{not_scorable} 份无法评分，{waiting} 份等待评分；{corrections} 份是对其他提交的更正。",
    clock_corrected: "有 {count} 份提交因设备时钟有误，按更正后的时间计入；相关患者的时间以 * 标记。",
    withdrawn: "有 {count} 名患者已退出研究，以 (w) 标记；退出后不再有应完成的问卷，按其要求不显示其数据。",
    moved: "有 {count} 名患者已转至其他中心，以 (m) 标记；其在本中心提交的数据保留在此。",
    unreadable: "有 {count} 条存储记录无法读取，未计入本报告。",
    page: "第 {page} 页，共 {pages} 页",
};

/// The Chinese names of the bands that shipped instruments identify by an English id.
static BANDS: [(&str, &str); 18] = [
    ("none", "无"),
    ("minimal", "极轻"),
    ("low", "低"),
    ("medium", "中"),
    ("high", "高"),
    ("mild", "轻度"),
    ("moderate", "中度"),
    ("moderately severe", "中重度"),
    ("severe", "重度"),
    ("normal", "正常"),
    ("positive", "阳性"),
    ("negative", "阴性"),
    ("subthreshold", "阈下"),
    ("likely well", "可能良好"),
    ("possible", "可能"),
    ("probable", "很可能"),
    ("suggestive", "提示"),
    ("indicative", "符合"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use clinical::instruments::Catalog;

    #[test]
    fn every_shipped_band_without_a_title_has_a_chinese_name() {
        let scores = Catalog::shipped().iter().flat_map(|instrument| &instrument.definition().scores);
        for band in scores.flat_map(|score| &score.bands).filter(|band| band.title.is_none()) {
            assert_ne!(Language::Chinese.band(&band.id), band.id);
        }
    }

    #[test]
    fn sentences_have_the_same_placeholders_in_each_language() {
        let places = |text: &str| {
            let mut places: Vec<_> =
                text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect();
            places.sort();
            places
        };
        for (english, chinese) in [
            (ENGLISH.scored, CHINESE.scored),
            (ENGLISH.clock_corrected, CHINESE.clock_corrected),
            (ENGLISH.withdrawn, CHINESE.withdrawn),
            (ENGLISH.moved, CHINESE.moved),
            (ENGLISH.unreadable, CHINESE.unreadable),
            (ENGLISH.page, CHINESE.page),
        ] {
            assert_eq!(places(english), places(chinese));
        }
    }
}
