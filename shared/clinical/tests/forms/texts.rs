//! The messages of built-in checks, in both languages.

use clinical::forms::{Batch, CheckContext, Form, NoRegister, Notation, Register, ReportOptions, Workers};
use serde_json::{Value, json};

use crate::{context, form};

/// The report of `text` in `language`.
fn report(form: &Form, text: &str, context: &CheckContext, language: &str) -> Value {
    let batch = Batch::read(text.as_bytes(), Notation::Any).unwrap();
    let report = form.check(&batch, context, Workers::new(1)).unwrap();
    let options = ReportOptions { batch: "b-1", language, values: false };
    serde_json::from_str(&form.to_json(&report, options, |_| true).unwrap()).unwrap()
}

/// The member `name` of each entry of the list `list` of each row.
fn all(report: &Value, list: &str, name: &str) -> Vec<String> {
    let rows = report["rows"].as_array().unwrap().iter();
    let entries = rows.flat_map(|row| row[list].as_array().cloned().unwrap_or_default());
    entries.map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_fault_of_a_field_has_its_message_in_english_and_chinese() {
    let field = |id: &str, kind: &str, more: Value| {
        let mut field = json!({"id": id, "type": kind, "title": {"en": id}});
        field.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        field
    };
    let codes = |count: usize| (0..count).map(|code| format!("C{code:02}")).collect::<Vec<_>>();
    let definition = json!({
        "id": "test", "version": "1.0.0", "title": {"en": "Test"}, "sources": ["A standard"], "key": ["ID"],
        "codeLists": {
            "open": {"codes": ["A", "B"], "extensible": true}, "closed": {"codes": ["A", "B"]},
            "full": {"codes": codes(20)}, "long": {"codes": codes(21)},
        },
        "units": {"kg": {}, "mg": {}},
        "fields": [
            field("ID", "text", json!({"required": true})), field("T", "text", json!({"maxLength": 3})),
            field("P", "text", json!({"pattern": "[A-Z]+"})), field("OPEN", "codelist", json!({"codes": "open"})),
            field("CLOSED", "codelist", json!({"codes": "closed"})), field("FULL", "codelist", json!({"codes": "full"})),
            field("LONG", "codelist", json!({"codes": "long"})), field("I", "integer", json!({})),
            field("N", "decimal", json!({})), field("D", "date", json!({})), field("DT", "datetime", json!({})),
            field("B", "boolean", json!({})), field("U", "unit", json!({})),
        ],
        "checks": [],
    });
    let form = Form::parse(&definition.to_string()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let row = |field: &str, value: Value| json!({"ID": "x", field: value});
    let rows = json!([
        {"T": "abc"}, row("T", json!("abcd")), row("T", json!(true)), row("P", json!("a")), row("OPEN", json!("C")),
        row("OPEN", json!(true)), row("CLOSED", json!("C")), row("FULL", json!("C")), row("LONG", json!("C")),
        row("I", json!("1.5")), row("N", json!("x")), row("D", json!("x")), row("D", json!("1899")),
        row("DT", json!("x")), row("B", json!("x")), row("U", json!("g")), row("U", json!(1)),
    ]);
    let full = codes(20).join(", ");
    let english = [
        "ID must be given",
        "T must have at most 3 characters",
        "T must be text",
        "P must have the form [A-Z]+",
        "OPEN is not one of the usual codes (A, B): please confirm",
        "OPEN must be text",
        "CLOSED must be one of A, B",
        &format!("FULL must be one of {full}"),
        &format!("LONG must be one of {full}, …"),
        "I must be a whole number",
        "N must be a number",
        "D must be a date: 2012, 2012-11, 2012-11-23, or 2012---23 without the month",
        "D is before 1900",
        "DT must be a date, with or without a time: 2012, 2012-11, 2012-11-23 or 2012-11-23T08:15",
        "B must be true or false, Y or N",
        "U must be one of kg, mg",
        "U must be text",
    ];
    let full = codes(20).join("、");
    let chinese = [
        "ID 必须填写",
        "T 最多 3 个字符",
        "T 必须是文本",
        "P 必须符合格式 [A-Z]+",
        "OPEN 不是常用代码（A、B），请确认",
        "OPEN 必须是文本",
        "CLOSED 必须是以下之一：A、B",
        &format!("FULL 必须是以下之一：{full}"),
        &format!("LONG 必须是以下之一：{full} 等"),
        "I 必须是整数",
        "N 必须是数字",
        "D 必须是日期：2012、2012-11、2012-11-23，或缺少月份的 2012---23",
        "D 早于 1900 年",
        "DT 必须是日期，可带时间：2012、2012-11、2012-11-23 或 2012-11-23T08:15",
        "B 必须是 true 或 false、Y 或 N",
        "U 必须是以下之一：kg、mg",
        "U 必须是文本",
    ];
    for (language, expected) in [("en", english), ("de", english), ("zh", chinese), ("zh-Hans", chinese)] {
        let report = report(&form, &rows.to_string(), &context(), language);
        assert_eq!(all(&report, "findings", "message"), expected, "{language}");
        // Only a code outside of an extensible list can be right.
        let soft: Vec<bool> = all(&report, "findings", "severity").iter().map(|severity| severity == "soft").collect();
        assert_eq!(soft.iter().position(|soft| *soft), Some(4));
        assert_eq!(soft.iter().filter(|soft| **soft).count(), 1);
    }
}

#[test]
fn each_unreadable_row_has_its_message_in_english_and_chinese() {
    let form = form(json!({"required": ["ID"]}), None);
    let rows = "{\"ID\":\"x\"}\n7\n{\"ID\n{\"ID\":\"x\",\"ID\":\"y\"}";
    let table = "{\"datasetJSONVersion\":\"1.1\",\"columns\":[{\"name\":\"ID\"}]}\n[\"x\"]\n[\"x\",1]\n7";
    let english = [
        "the row is not a JSON object and was not checked",
        "the row is not valid JSON and was not checked",
        "the row has a field twice and was not checked",
    ];
    let chinese = ["该行不是 JSON 对象，未作检查", "该行不是 JSON，未作检查", "该行有重复的字段，未作检查"];
    let list = [
        ("en", english, "the row is not a list with one value per column and was not checked"),
        ("zh-Hans", chinese, "该行的值与列数不一致，未作检查"),
    ];
    for (language, expected, no_list) in list {
        assert_eq!(all(&report(&form, rows, &context(), language), "findings", "message"), expected);
        assert_eq!(all(&report(&form, table, &context(), language), "findings", "message"), [no_list; 2]);
    }
}

#[test]
fn each_reason_why_a_check_was_not_evaluated_is_given_in_english_and_chinese() {
    let change = json!({"change": {"field": "WEIGHT", "unit": "kg", "same": ["ID"], "by": "D1", "most": 5}});
    let weight = |date: &str, weight: Value, unit: &str| json!({"ID": "x", "D1": date, "WEIGHT": weight, "UNIT": unit});
    let equals = json!({"equals": {"field": "A", "to": {"product": ["B", "B"]}}});
    for (rule, rows, english, chinese) in [
        (json!({"range": {"field": "A", "max": 5}}), json!([{"A": "?"}]), vec!["A cannot be read"], vec!["A 无法读取"]),
        (
            json!({"range": {"field": "WEIGHT", "unit": "kg", "max": 5}}),
            json!([{"WEIGHT": 1}, {"WEIGHT": 1, "UNIT": "C"}]),
            vec!["UNIT has no value", "the unit in UNIT cannot be converted to that of the check"],
            vec!["UNIT 没有值", "无法从 UNIT 的单位换算"],
        ),
        (equals, json!([{"A": 1, "B": 1e27}]), vec!["the number has too many digits"], vec!["数值位数过多"]),
        (
            change.clone(),
            json!([
                weight("2012-11-01", json!(null), "kg"),
                weight("", json!(1), "kg"),
                weight("2012-11-02", json!(1), "kg")
            ]),
            vec!["D1 has no value", "D1 of row 1 cannot be read or has no value"],
            vec!["D1 没有值", "第 1 行的 D1 无法读取或没有值"],
        ),
        (
            change,
            json!([weight("2012-11", json!(1), "kg"), weight("2012-11-02", json!(1), "kg")]),
            vec![
                "the partial dates do not determine whether row 1 came before",
                "the partial dates do not determine whether row 0 came before",
            ],
            vec!["第 1 行的日期不完整，无法确定先后", "第 0 行的日期不完整，无法确定先后"],
        ),
    ] {
        let form = form(rule, None);
        for (language, expected) in [("en", &english), ("zh-Hans", &chinese)] {
            let report = report(&form, &rows.to_string(), &context(), language);
            assert_eq!(all(&report, "notEvaluated", "reason"), *expected, "{language}");
        }
        // As a command line shows it.
        let batch = Batch::read(rows.to_string().as_bytes(), Notation::Any).unwrap();
        let report = form.check(&batch, &context(), Workers::new(1)).unwrap();
        let reasons =
            report.rows.iter().flat_map(|row| &row.not_evaluated).map(|(_, reason)| form.reason(*reason, "en"));
        assert_eq!(reasons.collect::<Vec<_>>(), english);
    }
}

#[test]
fn a_missing_register_is_explained_in_english_and_chinese() {
    let form = form(json!({"knownSubject": "ID"}), None);
    for (why, english, chinese) in [
        (NoRegister::NoSubjects, "the study keeps no register of its subjects", "该研究未登记受试者"),
        (
            NoRegister::CommandLine,
            "the command line has no register of sites or subjects",
            "命令行没有中心和受试者的信息",
        ),
    ] {
        let nobody = CheckContext { subjects: Register::Absent(why), ..context() };
        for (language, expected) in [("en", english), ("zh-Hans", chinese)] {
            let report = report(&form, r#"[{"ID": "x"}]"#, &nobody, language);
            assert_eq!(report["notRun"][0]["reason"], expected);
        }
    }
    let unreachable = CheckContext { subjects: Register::Unreachable, ..context() };
    for (language, expected) in [("en", "the register could not be read"), ("zh-Hans", "暂时无法查询登记信息")]
    {
        let report = report(&form, r#"[{"ID": "x"}]"#, &unreachable, language);
        assert_eq!(all(&report, "notEvaluated", "reason"), [expected]);
    }
}
