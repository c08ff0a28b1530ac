//! Who may do what.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Template, elements, entries, named, texts};

/// The functions that work on items of all kinds. Each other one is held to the keys of its purpose.
const ON_ALL_KEYS: [&str; 3] = ["ScoreFunction", "SweepFunction", "ReconcileFunction"];
/// The kinds of resources with a policy, and where in their properties the documents are.
const POLICIES: [(&str, &str); 5] = [
    ("AWS::IAM::ManagedPolicy", "/PolicyDocument"),
    ("AWS::IAM::Policy", "/PolicyDocument"),
    ("AWS::SNS::TopicPolicy", "/PolicyDocument"),
    ("AWS::SQS::QueuePolicy", "/PolicyDocument"),
    ("AWS::S3::BucketPolicy", "/PolicyDocument"),
];

struct Statement<'a> {
    /// The logical id of the function, or of the resource with the policy.
    of: &'a str,
    is_of_function: bool,
    content: &'a Value,
}

impl Statement<'_> {
    fn is_allowed(&self) -> bool {
        self.content["Effect"] == "Allow"
    }

    fn actions(&self) -> BTreeSet<&str> {
        texts(&self.content["Action"])
    }

    fn place(&self) -> String {
        format!("{}, statement {}", self.of, self.content["Sid"].as_str().unwrap_or("without Sid"))
    }

    /// The condition, shortened for the one that most have: `of PATIENT#* STUDY#*`.
    fn condition(&self) -> String {
        let condition = &self.content["Condition"];
        let keys = |operator: &str| {
            let keys = texts(&condition[operator]["dynamodb:LeadingKeys"]);
            (!keys.is_empty() && condition.as_object().is_some_and(|all| all.len() == 1)).then_some(keys)
        };
        let usual = if self.is_allowed() { "ForAllValues:StringLike" } else { "ForAnyValue:StringLike" };
        if condition.is_null() {
            "always".to_owned()
        } else if let Some(keys) =
            keys(usual).or_else(|| keys("ForAllValues:StringEquals").filter(|_| self.is_allowed()))
        {
            format!("of {}", keys.into_iter().collect::<Vec<_>>().join(" "))
        } else {
            let tests =
                entries(condition).flat_map(|(operator, tests)| entries(tests).map(move |test| (operator, test)));
            let one = |(operator, (key, value)): (&str, (&str, &Value))| {
                let values: Vec<String> = elements(value).iter().map(named).collect();
                format!("{operator} {key} {}", values.join(" "))
            };
            format!("if {}", tests.map(one).collect::<Vec<_>>().join(" and "))
        }
    }
}

fn statements(template: &Template) -> Vec<Statement<'_>> {
    let of_functions = template.functions().flat_map(|(of, function)| {
        elements(&function["Properties"]["Policies"]).iter().map(move |policy| (of, true, policy))
    });
    let of_resources = POLICIES.iter().flat_map(|(kind, place)| {
        template.of(kind).filter_map(|(of, resource)| Some((of, false, resource["Properties"].pointer(place)?)))
    });
    let of_roles = template.of("AWS::IAM::Role").flat_map(|(of, role)| {
        let own = elements(&role["Properties"]["Policies"]).iter().map(|policy| &policy["PolicyDocument"]);
        own.chain([&role["Properties"]["AssumeRolePolicyDocument"]]).map(move |policy| (of, false, policy))
    });
    let all = of_functions.chain(of_resources).chain(of_roles);
    all.flat_map(|(of, is_of_function, policy)| {
        elements(&policy["Statement"]).iter().map(move |content| Statement { of, is_of_function, content })
    })
    .collect()
}

pub(super) fn permissions(template: &Template) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for statement in statements(template) {
        let content = statement.content;
        let (effect, condition) = (content["Effect"].as_str().unwrap_or("?"), statement.condition());
        let resources = match (elements(&content["Resource"]), elements(&content["NotResource"])) {
            ([], []) => vec!["itself".to_owned()],
            (resources, others) => {
                let others = others.iter().map(|other| format!("all but {}", named(other)));
                resources.iter().map(named).chain(others).collect()
            }
        };
        let principals: Vec<String> = match &content["Principal"] {
            Value::Null => Vec::new(),
            Value::String(all) => vec![all.clone()],
            by_kind => entries(by_kind).flat_map(|(_, names)| elements(names)).map(named).collect(),
        };
        let by = if principals.is_empty() { String::new() } else { format!(" by {}", principals.join(" ")) };
        for action in statement.actions() {
            for resource in &resources {
                lines.insert(format!("{} {effect} {action} {resource}{by} {condition}", statement.of));
            }
        }
    }
    lines
}

pub(super) fn faults(template: &Template, permissions: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = permissions.lines().filter(|line| !line.starts_with("//") && !line.trim().is_empty());
    let known: BTreeSet<String> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let granted = template.permissions();
    faults.extend(granted.difference(&known).map(|line| format!("not in permissions.txt: {line}")));
    faults
        .extend(known.difference(&granted).map(|line| format!("in permissions.txt, and not in the template: {line}")));
    for (id, function) in template.functions() {
        if !function["Properties"]["Role"].is_null() {
            faults.push(format!("{id} has a role of its own: its rights belong in its Policies"));
        }
        for policy in elements(&function["Properties"]["Policies"]) {
            if policy["Statement"].is_null() {
                faults.push(format!("{id} has a policy that names no statement: {policy}"));
            }
        }
    }
    let mut purposes = BTreeSet::new();
    for statement in &statements(template) {
        let mut fault = |what: &str| faults.push(format!("{}: {what}", statement.place()));
        let Some(purpose) = statement.content["Sid"].as_str() else {
            fault("its Sid, the purpose, is missing");
            continue;
        };
        if !purposes.insert((statement.of, purpose)) {
            fault("a second statement of this purpose");
        }
        let services: BTreeSet<&str> =
            statement.actions().iter().filter_map(|action| action.split(':').next()).collect();
        if services.len() > 1 {
            fault("actions of several services");
        }
        if statement.is_allowed() {
            allowed(statement, &mut fault);
        }
    }
    faults
}

/// The faults of a statement that allows something, whatever permissions.txt has.
fn allowed(statement: &Statement<'_>, fault: &mut impl FnMut(&str)) {
    let content = statement.content;
    if !content["NotAction"].is_null() || !content["NotResource"].is_null() {
        fault("it allows all but something");
    }
    let resources: Vec<String> = elements(&content["Resource"]).iter().map(named).collect();
    if statement.actions().iter().any(|action| action.contains('*')) {
        fault("a wildcard in an action");
    }
    if resources.iter().any(|resource| resource.contains('*')) {
        fault("a wildcard in a resource");
    }
    if content["Principal"] == "*" {
        fault("it is allowed to everybody");
    }
    for action in statement.actions() {
        let (service, verb) = action.split_once(':').unwrap_or((action, ""));
        let takes_away = ["Delete", "BatchWrite", "PartiQL", "Purge", "Remove", "Update", "Restore"];
        if takes_away.iter().any(|start| verb.starts_with(start)) && verb != "UpdateItem" {
            fault("it could delete, or change what holds the items");
        }
        if verb == "Scan" && statement.of != "ReconcileFunction" {
            fault("it could scan");
        }
        if statement.is_of_function && !["dynamodb", "sns"].contains(&service) {
            fault("a service that functions do not use");
        }
    }
    let is_open = !statement.condition().starts_with("of ");
    if statement.is_of_function && is_open && !ON_ALL_KEYS.contains(&statement.of) && resources == ["RecordsTable"] {
        fault("it is held to no keys");
    }
}
