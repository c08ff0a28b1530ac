//! What functions, routes, the stream's mapping, storage and topics are set to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Template, elements, entries, named, references, texts};

const TABLE: &str = "AWS::DynamoDB::Table";
const BUCKET: &str = "AWS::S3::Bucket";
const TOPIC: &str = "AWS::SNS::Topic";
const QUEUE: &str = "AWS::SQS::Queue";
const LOGS: &str = "AWS::Logs::LogGroup";

/// The longest that API Gateway waits for a function, less a second for the way.
const LONGEST_REQUEST: u64 = 29;

pub(super) fn faults(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |place: &str, what: &str| faults.push(format!("{place}: {what}"));
    parameters(template, &mut fault);
    api(template, &mut fault);
    functions(template, &mut fault);
    deployment(template, &mut fault);
    mapping(template, &mut fault);
    schedules(template, &mut fault);
    stored(template, &mut fault);
    messages(template, &mut fault);
    logs(template, &mut fault);
    faults
}

type Fault<'a> = dyn FnMut(&str, &str) + 'a;

/// The defaults are the safe ones.
fn parameters(template: &Template, fault: &mut Fault<'_>) {
    let parameters = &template.root["Parameters"];
    let defaults =
        [("Stage", "prod"), ("OpenStudies", "false"), ("AccessLogPrincipals", "false"), ("Architecture", "arm64")];
    for (name, safe) in defaults {
        if parameters[name]["Default"] != safe {
            fault(name, &format!("its default is not {safe}"));
        }
    }
    if parameters["TokenIssuer"]["AllowedPattern"] != "https://.+" || !parameters["TokenIssuer"]["Default"].is_null() {
        fault("TokenIssuer", "an issuer that is not https, or a default for it");
    }
    if parameters["Deployment"]["Default"] == "AllAtOnce" {
        fault("Deployment", "its default is not gradual");
    }
    let conditions = &template.root["Conditions"];
    let expected = [
        ("IsProd", json!({"Fn::Equals": [{"Ref": "Stage"}, "prod"]})),
        ("HasKey", json!({"Fn::Not": [{"Fn::Equals": [{"Ref": "KmsKeyArn"}, ""]}]})),
    ];
    for (name, meaning) in expected {
        if conditions[name] != meaning {
            fault(name, "the condition means something else");
        }
    }
}

/// Every route has the authorizer, a scope in both forms, and no way around them; the access log names nobody.
fn api(template: &Template, fault: &mut Fault<'_>) {
    let apis: Vec<_> = template.of("AWS::Serverless::HttpApi").collect();
    let [(id, api)] = apis.as_slice() else { return fault("Api", "there is not exactly one") };
    let properties = &api["Properties"];
    let default = properties["Auth"]["DefaultAuthorizer"].as_str().unwrap_or_default();
    let jwt = &properties["Auth"]["Authorizers"][default]["JwtConfiguration"];
    if jwt["issuer"] != json!({"Ref": "TokenIssuer"}) || jwt["audience"] != json!({"Ref": "TokenAudience"}) {
        fault(id, "requests are not authorised by default by the tokens of TokenIssuer for TokenAudience");
    }
    if properties["DefaultRouteSettings"]["ThrottlingRateLimit"].is_null() {
        fault(id, "no limit of requests");
    }
    if !properties["CorsConfiguration"].is_null() {
        fault(id, "pages of other origins may call it");
    }
    let log = &properties["AccessLogSettings"];
    if named(&log["DestinationArn"]) != "ApiLogs" {
        fault(id, "no access log");
    }
    let shown = log["Format"]["Fn::Sub"][0].as_str().unwrap_or_default();
    for variable in shown.split("$context.").skip(1) {
        let name: String = variable.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        if name.starts_with("identity") || name.starts_with("authorizer.claims") || name == "path" {
            fault(id, &format!("the access log shows {name} whatever AccessLogPrincipals is"));
        }
    }
    let mut routes = BTreeSet::new();
    for (function, event, route) in template.events("HttpApi") {
        let place = format!("{function}, event {event}");
        let auth = &route["Auth"];
        if !auth["Authorizer"].is_null() && auth["Authorizer"] != default {
            fault(&place, "the route has another authorizer, or none");
        }
        let is_prefixed =
            |scope: &&Value| scope["Fn::Sub"].as_str().is_some_and(|text| text.starts_with("${ScopePrefix}"));
        let (prefixed, plain): (Vec<_>, Vec<_>) = elements(&auth["AuthorizationScopes"]).iter().partition(is_prefixed);
        let plain: BTreeSet<&str> = plain.into_iter().filter_map(Value::as_str).collect();
        let prefixed: BTreeSet<&str> =
            prefixed.iter().filter_map(|scope| scope["Fn::Sub"].as_str()?.strip_prefix("${ScopePrefix}")).collect();
        if plain.is_empty() {
            fault(&place, "the route requires no scope");
        }
        if plain != prefixed {
            fault(&place, "the route's scopes are not the same with and without the issuer's prefix");
        }
        if route["PayloadFormatVersion"] != "2.0" || named(&route["ApiId"]) != *id {
            fault(&place, "the route is not one of the API in payload format 2.0");
        }
        if !routes.insert((route["Method"].to_string(), route["Path"].to_string())) {
            fault(&place, "the route is there twice");
        }
    }
    for kind in ["Api", "AlexaSkill", "SNS", "SQS", "CloudWatchEvent", "EventBridgeRule", "Cognito"] {
        for (function, event, _) in template.events(kind) {
            fault(&format!("{function}, event {event}"), "a way in that has no authorizer");
        }
    }
}

/// Every function has its own log group, is traced, ends in time and is reached by its alias only.
fn functions(template: &Template, fault: &mut Fault<'_>) {
    let globals = &template.root["Globals"]["Function"];
    if globals["Tracing"] != "Active" || globals["LoggingConfig"]["LogFormat"] != "JSON" {
        fault("Globals", "functions are not traced, or do not log JSON");
    }
    let log_groups: BTreeSet<&str> = template.of(LOGS).map(|(id, _)| id).collect();
    let mut used = BTreeSet::new();
    let globally_set = template.parameters_of(&globals["Environment"]);
    for (id, function) in template.functions() {
        let properties = &function["Properties"];
        let group = named(&properties["LoggingConfig"]["LogGroup"]);
        if !log_groups.contains(group.as_str()) || !used.insert(group) {
            fault(id, "it has no log group of its own, so that its logs are kept for ever");
        }
        if !properties["Tracing"].is_null() || !properties["FunctionUrlConfig"].is_null() {
            fault(id, "it is not traced, or has a URL without an authorizer");
        }
        let is_of_api = template.events("HttpApi").any(|(function, ..)| function == id);
        let timeout = properties["Timeout"].as_u64().or(globals["Timeout"].as_u64()).unwrap_or(u64::MAX);
        if timeout > if is_of_api { LONGEST_REQUEST } else { 60 } {
            fault(id, "it may run longer than anybody waits for it");
        }
        // A version is published for another environment only if its description is another one too.
        let own = template.parameters_of(&properties["Environment"]);
        let parameters = globally_set.union(&own);
        let described: BTreeSet<String> = references(&json!({"d": properties["VersionDescription"]}));
        if !parameters.clone().eq(described.iter()) {
            let parameters: Vec<&String> = parameters.collect();
            fault(
                id,
                &format!(
                    "VersionDescription has {described:?} and not the parameters of its environment, {parameters:?}"
                ),
            );
        }
        if properties["AutoPublishAliasAllProperties"] != true || globals["AutoPublishAlias"] != "live" {
            fault(id, "a changed property publishes no version");
        }
        for (name, value) in
            entries(&properties["Environment"]["Variables"]).chain(entries(&globals["Environment"]["Variables"]))
        {
            if name.starts_with("AWS_ENDPOINT_URL") {
                fault(id, "it talks to an address that is not AWS's");
            }
            if name.starts_with("SSL_CERT") && value.to_string().contains("\"\"") {
                fault(id, &format!("{name} may be empty, so that no root of the image is read where they are needed"));
            }
        }
    }
    let all_roles: BTreeSet<String> = template.functions().map(|(id, _)| format!("{id}Role")).collect();
    let publishing = template
        .functions()
        .filter(|(_, function)| references(&function["Properties"]["Environment"]).contains("AlertsTopic"));
    let publishing: BTreeSet<String> = publishing.map(|(id, _)| format!("{id}Role")).collect();
    for (id, roles) in [("UseKeyForTables", all_roles), ("UseKeyForAlerts", publishing)] {
        let policy = &template.root["Resources"][id];
        let given: BTreeSet<String> = elements(&policy["Properties"]["Roles"]).iter().map(named).collect();
        if given != roles || policy["Condition"] != "HasKey" {
            fault(id, &format!("it is not for those who need the key: {roles:?}"));
        }
    }
}

/// Production is deployed gradually and rolled back by alarms; submit waits for what scores.
fn deployment(template: &Template, fault: &mut Fault<'_>) {
    const ROLL_BACK: [&str; 4] =
        ["DeploymentErrorsAlarm", "RecordsQuarantinedAlarm", "ScoreErrorsAlarm", "ScoreBehindAlarm"];
    let preference = &template.root["Globals"]["Function"]["DeploymentPreference"];
    if preference["Type"] != json!({"Fn::If": ["IsProd", {"Ref": "Deployment"}, "AllAtOnce"]}) {
        fault("Globals", "prod is not deployed as the parameter Deployment says");
    }
    let alarms = &preference["Alarms"]["Fn::If"];
    let named_alarms = references(&alarms[1]);
    for alarm in ROLL_BACK {
        if alarms[0] != "IsGradual" || !named_alarms.contains(alarm) {
            fault("Globals", &format!("a deployment is not rolled back by {alarm}"));
        }
    }
    if named_alarms.len() > 10 {
        fault("Globals", "CodeDeploy takes ten alarms");
    }
    for alarm in &named_alarms {
        let waits_for = references(&template.root["Resources"][alarm.as_str()]);
        if waits_for.contains("Api") || waits_for.contains("SubmitFunction") {
            fault(alarm, "it depends on what waits for the deployment that waits for it");
        }
    }
    if texts(&template.root["Resources"]["SubmitFunction"]["DependsOn"])
        != BTreeSet::from(["ScoreFunctionAliaslive", "SweepFunctionAliaslive"])
    {
        fault("SubmitFunction", "it may accept an instrument before score and sweep know it");
    }
}

fn mapping(template: &Template, fault: &mut Fault<'_>) {
    let streams: Vec<_> = template.events("DynamoDB").collect();
    let [(function, event, mapping)] = streams.as_slice() else {
        return fault("ScoreFunction", "there is not one stream");
    };
    let place = format!("{function}, event {event}");
    let settings = [
        ("Stream", json!({"Fn::GetAtt": "RecordsTable.StreamArn"})),
        ("StartingPosition", json!("TRIM_HORIZON")),
        ("BatchSize", json!(100)),
        ("MaximumBatchingWindowInSeconds", json!(0)),
        ("ParallelizationFactor", json!(4)),
        ("FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
        ("BisectBatchOnFunctionError", json!(true)),
        ("MaximumRetryAttempts", json!(100)),
        ("MaximumRecordAgeInSeconds", json!(21_600)),
        ("MetricsConfig", json!({"Metrics": ["EventCount"]})),
        (
            "DestinationConfig",
            json!({"OnFailure": {"Type": "S3", "Destination": {"Fn::GetAtt": "FailuresBucket.Arn"}}}),
        ),
    ];
    for (name, value) in &settings {
        if mapping[*name] != *value {
            fault(&place, &format!("{name} is {} and not {value}", mapping[*name]));
        }
    }
    let filters = elements(&mapping["FilterCriteria"]["Filters"]);
    let pattern = filters.first().and_then(|filter| serde_json::from_str::<Value>(filter["Pattern"].as_str()?).ok());
    let submissions = json!({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["submission"]}}}});
    if filters.len() != 1 || pattern != Some(submissions) {
        fault(&place, "the filter does not pass exactly the submissions");
    }
    let known: BTreeSet<&str> = settings.iter().map(|(name, _)| *name).chain(["FilterCriteria"]).collect();
    for (name, _) in entries(mapping).filter(|(name, _)| !known.contains(name)) {
        fault(&place, &format!("{name} is not expected"));
    }
}

fn schedules(template: &Template, fault: &mut Fault<'_>) {
    let expected = [("SweepFunction", "rate(1 minute)", 60), ("ReconcileFunction", "rate(5 minutes)", 300)];
    for (id, rate, seconds) in expected {
        let properties = &template.root["Resources"][id]["Properties"];
        let mut own = template.events("Schedule").filter(|(function, ..)| *function == id);
        let is_on =
            own.next().is_some_and(|(_, _, schedule)| schedule["Schedule"] == rate && schedule["Enabled"] == true);
        if !is_on {
            fault(id, &format!("it is not invoked at {rate}"));
        }
        if properties["Timeout"].as_u64().is_none_or(|timeout| timeout >= seconds) {
            fault(id, "its runs may overlap");
        }
        if properties["EventInvokeConfig"]["MaximumRetryAttempts"] != 0 {
            fault(id, "a failed run is repeated beside the next one");
        }
    }
}

/// Tables and bucket are encrypted by the customer's key where there is one, recoverable, and outlive the stack.
fn stored(template: &Template, fault: &mut Fault<'_>) {
    for kind in [TABLE, BUCKET] {
        for (id, resource) in template.of(kind) {
            for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
                if resource[policy] != "Retain" {
                    fault(id, &format!("{policy} does not retain it"));
                }
            }
        }
    }
    for (id, resource) in template.of(TABLE) {
        let table = &resource["Properties"];
        if table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] != true {
            fault(id, "no point-in-time recovery");
        }
        if table["DeletionProtectionEnabled"] != json!({"Fn::If": ["IsProd", true, false]}) {
            fault(id, "prod does not protect it from deletion");
        }
        let encryption = &table["SSESpecification"];
        if encryption["SSEEnabled"] != true
            || encryption["SSEType"] != "KMS"
            || encryption["KMSMasterKeyId"] != key(json!({"Ref": "AWS::NoValue"}))
        {
            fault(id, "it is not encrypted by the customer's key where there is one");
        }
        // Drafts alone have the attribute (`tests/house/tests/model.rs`).
        let of_drafts = json!({"AttributeName": "expires_at", "Enabled": true});
        let ends = &table["TimeToLiveSpecification"];
        if *ends != if id == "RecordsTable" { of_drafts } else { Value::Null } {
            fault(id, "drafts do not end by themselves, or other items do");
        }
        if table["BillingMode"] != "PAY_PER_REQUEST" {
            fault(id, "a capacity that a surge exceeds");
        }
    }
    if template.root["Resources"]["RecordsTable"]["Properties"]["StreamSpecification"]["StreamViewType"]
        != "NEW_AND_OLD_IMAGES"
    {
        fault("RecordsTable", "no stream of both images");
    }
    for (id, resource) in template.of(BUCKET) {
        let bucket = &resource["Properties"];
        let encryption =
            &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"];
        if encryption["SSEAlgorithm"] != "aws:kms"
            || encryption["KMSMasterKeyID"] != key(json!({"Ref": "AWS::NoValue"}))
        {
            fault(id, "it is not encrypted by the customer's key where there is one");
        }
        let closed = ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"];
        if closed.iter().any(|name| bucket["PublicAccessBlockConfiguration"][*name] != true) {
            fault(id, "it may become public");
        }
        if bucket["VersioningConfiguration"]["Status"] != "Enabled" {
            fault(id, "an overwritten object is lost");
        }
        if bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"].is_null() {
            fault(id, "failed records are kept for ever");
        }
    }
}

/// Topics and queues are encrypted, refuse what comes without TLS, and lose no alert silently.
fn messages(template: &Template, fault: &mut Fault<'_>) {
    for (id, resource) in template.of(TOPIC) {
        let otherwise = if ["AlertsTopic", "RemindersTopic"].contains(&id) {
            json!("alias/aws/sns")
        } else {
            json!({"Ref": "AWS::NoValue"})
        };
        if resource["Properties"]["KmsMasterKeyId"] != key(otherwise) {
            fault(id, "it is not encrypted by the customer's key where there is one");
        }
    }
    let logged: BTreeSet<&str> =
        elements(&template.root["Resources"]["AlertsTopic"]["Properties"]["DeliveryStatusLogging"])
            .iter()
            .filter(|log| !log["FailureFeedbackRoleArn"].is_null())
            .filter_map(|log| log["Protocol"].as_str())
            .collect();
    if logged != BTreeSet::from(["http/s", "lambda", "sqs"]) {
        fault("AlertsTopic", &format!("failed deliveries are logged for {logged:?} only"));
    }
    let queues: Vec<&str> = template.of(QUEUE).map(|(id, _)| id).collect();
    for (id, resource) in template.of(QUEUE) {
        let queue = &resource["Properties"];
        let managed = json!({"Fn::If": ["HasKey", {"Ref": "AWS::NoValue"}, true]});
        if queue["KmsMasterKeyId"] != key(json!({"Ref": "AWS::NoValue"})) || queue["SqsManagedSseEnabled"] != managed {
            fault(id, "it is not encrypted");
        }
        if queue["MessageRetentionPeriod"] != 1_209_600 {
            fault(id, "an alert that could not be delivered is not kept for 14 days");
        }
    }
    for (id, resource) in template.of("AWS::SNS::Subscription") {
        let subscription = &resource["Properties"];
        let of_alerts = named(&subscription["TopicArn"]) == "AlertsTopic";
        let queue = named(&subscription["RedrivePolicy"]["deadLetterTargetArn"]);
        if of_alerts && !queues.contains(&queue.as_str()) {
            fault(id, "it has no dead-letter queue");
        }
        if resource["Condition"].is_null() {
            fault(id, "it is there whatever the parameters are");
        }
        if subscription["Protocol"] == "http" {
            fault(id, "alerts without TLS");
        }
    }
    let refused = template.permissions();
    for (kind, action) in [(TOPIC, "sns:Publish"), (QUEUE, "sqs:*"), (BUCKET, "s3:*")] {
        for (id, _) in template.of(kind) {
            let denied = format!(" Deny {action} {id} by * if Bool aws:SecureTransport false");
            if !refused.iter().any(|line| line.ends_with(&denied)) {
                fault(id, "it accepts what comes without TLS");
            }
        }
    }
}

fn logs(template: &Template, fault: &mut Fault<'_>) {
    for (id, resource) in template.of(LOGS) {
        let group = &resource["Properties"];
        if group["RetentionInDays"] != json!({"Ref": "LogRetentionDays"}) {
            fault(id, "its logs are kept for ever");
        }
        if group["KmsKeyId"] != key(json!({"Ref": "AWS::NoValue"})) {
            fault(id, "it is not encrypted by the customer's key where there is one");
        }
    }
}

/// The customer's key where there is one, and `otherwise` where not.
fn key(otherwise: Value) -> Value {
    json!({"Fn::If": ["HasKey", {"Ref": "KmsKeyArn"}, otherwise]})
}
