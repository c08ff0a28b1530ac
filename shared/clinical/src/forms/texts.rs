//! The messages of built-in checks, in English and Chinese.

use super::definition::FieldKind;
use super::form::Form;
use super::report::{FieldFault, NoRegister, Reason, RowDefect};

/// The maximum number of codes that a message lists.
const MAX_CODES: usize = 20;

/// A language of the built-in messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Chinese,
}

impl Language {
    /// The best language for a tag.
    pub(super) fn of(tag: &str) -> Self {
        if tag == "zh" || tag.starts_with("zh-") { Self::Chinese } else { Self::English }
    }
}

impl Form {
    pub(super) fn field_text(&self, field: usize, fault: FieldFault, language: Language) -> String {
        let definition = &self.definition.fields[field];
        let id = definition.id.as_str();
        let chinese = language == Language::Chinese;
        match fault {
            FieldFault::Required if chinese => format!("{id} 必须填写"),
            FieldFault::Required => format!("{id} must be given"),
            FieldFault::Type => format!("{id} {}", kind_text(definition.kind, language)),
            FieldFault::Length if chinese => format!("{id} 最多 {} 个字符", self.program.fields[field].max_length),
            FieldFault::Length => {
                format!("{id} must have at most {} characters", self.program.fields[field].max_length)
            }
            FieldFault::Early if chinese => format!("{id} 早于 1900 年"),
            FieldFault::Early => format!("{id} is before 1900"),
            FieldFault::Pattern => {
                let pattern = definition.pattern.as_deref().unwrap_or_default();
                if chinese {
                    format!("{id} 必须符合格式 {pattern}")
                } else {
                    format!("{id} must have the form {pattern}")
                }
            }
            FieldFault::Codes => {
                let name = definition.codes.as_deref().unwrap_or_default();
                let codes = self.definition.code_lists.get(name).map(|list| list.codes.as_slice()).unwrap_or_default();
                self.one_of(id, codes, self.program.fields[field].extensible, chinese)
            }
            FieldFault::Unit => {
                let units: Vec<String> = self.definition.units.keys().cloned().collect();
                self.one_of(id, &units, false, chinese)
            }
        }
    }

    fn one_of(&self, id: &str, codes: &[String], extensible: bool, chinese: bool) -> String {
        let (separator, more) = if chinese { ("、", " 等") } else { (", ", ", …") };
        let mut listed = codes.iter().take(MAX_CODES).cloned().collect::<Vec<_>>().join(separator);
        if codes.len() > MAX_CODES {
            listed.push_str(more);
        }
        match (chinese, extensible) {
            (false, false) => format!("{id} must be one of {listed}"),
            (false, true) => format!("{id} is not one of the usual codes ({listed}): please confirm"),
            (true, false) => format!("{id} 必须是以下之一：{listed}"),
            (true, true) => format!("{id} 不是常用代码（{listed}），请确认"),
        }
    }

    pub(super) fn reason_text(&self, reason: Reason, language: Language) -> String {
        let id = |field: usize| self.definition.fields[field].id.as_str();
        let chinese = language == Language::Chinese;
        match reason {
            Reason::Unreadable(field) if chinese => format!("{} 无法读取", id(field)),
            Reason::Unreadable(field) => format!("{} cannot be read", id(field)),
            Reason::Missing(field) if chinese => format!("{} 没有值", id(field)),
            Reason::Missing(field) => format!("{} has no value", id(field)),
            Reason::NoConversion(field) if chinese => format!("无法从 {} 的单位换算", id(field)),
            Reason::NoConversion(field) => {
                format!("the unit in {} cannot be converted to that of the check", id(field))
            }
            Reason::TooLarge if chinese => "数值位数过多".to_owned(),
            Reason::TooLarge => "the number has too many digits".to_owned(),
            Reason::OtherRow { row, field } if chinese => format!("第 {row} 行的 {} 无法读取或没有值", id(field)),
            Reason::OtherRow { row, field } => format!("{} of row {row} cannot be read or has no value", id(field)),
            Reason::Order { row } if chinese => format!("第 {row} 行的日期不完整，无法确定先后"),
            Reason::Order { row } => format!("the partial dates do not determine whether row {row} came before"),
            Reason::Unreachable if chinese => "暂时无法查询登记信息".to_owned(),
            Reason::Unreachable => "the register could not be read".to_owned(),
        }
    }
}

impl Reason {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Unreadable(_) => "field-unreadable",
            Self::Missing(_) => "field-missing",
            Self::NoConversion(_) => "no-conversion",
            Self::TooLarge => "too-large",
            Self::OtherRow { .. } => "other-row",
            Self::Order { .. } => "order-unclear",
            Self::Unreachable => "register-unreachable",
        }
    }
}

impl NoRegister {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NoSubjects => "no-register",
            Self::CommandLine => "command-line",
        }
    }

    pub(super) fn text(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::NoSubjects, Language::English) => "the study keeps no register of its subjects",
            (Self::NoSubjects, Language::Chinese) => "该研究未登记受试者",
            (Self::CommandLine, Language::English) => "the command line has no register of sites or subjects",
            (Self::CommandLine, Language::Chinese) => "命令行没有中心和受试者的信息",
        }
    }
}

impl FieldFault {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Type => "type",
            Self::Codes => "codes",
            Self::Length => "length",
            Self::Pattern => "pattern",
            Self::Unit => "unit",
            Self::Early => "early",
        }
    }
}

impl RowDefect {
    pub(super) fn text(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::NoObject, Language::English) => "the row is not a JSON object and was not checked",
            (Self::NoObject, Language::Chinese) => "该行不是 JSON 对象，未作检查",
            (Self::NoJson, Language::English) => "the row is not valid JSON and was not checked",
            (Self::NoJson, Language::Chinese) => "该行不是 JSON，未作检查",
            (Self::Twice, Language::English) => "the row has a field twice and was not checked",
            (Self::Twice, Language::Chinese) => "该行有重复的字段，未作检查",
            (Self::NoList, Language::English) => "the row is not a list with one value per column and was not checked",
            (Self::NoList, Language::Chinese) => "该行的值与列数不一致，未作检查",
        }
    }
}

fn kind_text(kind: FieldKind, language: Language) -> &'static str {
    match (kind, language) {
        (FieldKind::Text | FieldKind::Codelist | FieldKind::Unit, Language::English) => "must be text",
        (FieldKind::Text | FieldKind::Codelist | FieldKind::Unit, Language::Chinese) => "必须是文本",
        (FieldKind::Integer, Language::English) => "must be a whole number",
        (FieldKind::Integer, Language::Chinese) => "必须是整数",
        (FieldKind::Decimal, Language::English) => "must be a number",
        (FieldKind::Decimal, Language::Chinese) => "必须是数字",
        (FieldKind::Date, Language::English) => {
            "must be a date: 2012, 2012-11, 2012-11-23, or 2012---23 without the month"
        }
        (FieldKind::Date, Language::Chinese) => "必须是日期：2012、2012-11、2012-11-23，或缺少月份的 2012---23",
        (FieldKind::Datetime, Language::English) => {
            "must be a date, with or without a time: 2012, 2012-11, 2012-11-23 or 2012-11-23T08:15"
        }
        (FieldKind::Datetime, Language::Chinese) => {
            "必须是日期，可带时间：2012、2012-11、2012-11-23 或 2012-11-23T08:15"
        }
        (FieldKind::Boolean, Language::English) => "must be true or false, Y or N",
        (FieldKind::Boolean, Language::Chinese) => "必须是 true 或 false、Y 或 N",
    }
}
