use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::*;

/// A small template with one of each kind of resource.
const SMALL: &str = r#"
Parameters:
  TokenIssuer: {Type: String}
  Audience: {Type: CommaDelimitedList, Default: "app, portal"}
  Endpoint: {Type: String, Default: ""}
  Level: {Type: String, Default: info, AllowedValues: [info, debug]}
Globals:
  Function:
    Timeout: 7
    MemorySize: 256
    Environment:
      Variables: {TABLE: !Ref Things, SHARED: global}
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth:
        DefaultAuthorizer: Jwt
        Authorizers:
          Jwt:
            IdentitySource: $request.header.Authorization
            JwtConfiguration: {issuer: !Ref TokenIssuer, audience: !Ref Audience}
  Work:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: work}}
    Properties:
      Architectures: [arm64]
      Environment:
        Variables:
          SHARED: own
          TOPIC: {Ref: Topic}
          ENDPOINT: !Ref Endpoint
          ABSENT: !Ref AWS::NoValue
          TEXT: !Sub "${AWS::Region}/${Things}/${Things.Arn}/${!kept}/${Level}"
          JOINED: !Join [",", [a, !Ref Level]]
          NUMBER: 42
      Events:
        Get:
          Type: HttpApi
          Properties: {ApiId: !Ref Api, Method: get, Path: "/things/{id}", Auth: {AuthorizationScopes: [things:read]}}
        Open:
          Type: HttpApi
          Properties: {Method: POST, Path: /open, TimeoutInMillis: 1000, Auth: {Authorizer: NONE}}
        Changes:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Things.StreamArn
            StartingPosition: LATEST
            BatchSize: 10
            MaximumRetryAttempts: -1
            FunctionResponseTypes: [ReportBatchItemFailures]
            FilterCriteria: {Filters: [{Pattern: '{"eventName":["INSERT"]}'}]}
            DestinationConfig: {OnFailure: {Type: S3, Destination: !GetAtt Bucket.Arn}}
        Often: {Type: Schedule, Properties: {Schedule: rate(1 minute), Input: '{"a": 1}'}}
        Nightly: {Type: ScheduleV2, Properties: {ScheduleExpression: rate(2 hours)}}
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}, {AttributeName: at, AttributeType: N}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_IMAGE}
      GlobalSecondaryIndexes:
        - IndexName: byTime
          KeySchema: [{AttributeName: pk, KeyType: HASH}, {AttributeName: at, KeyType: RANGE}]
          Projection: {ProjectionType: INCLUDE, NonKeyAttributes: [name]}
  Topic: {Type: AWS::SNS::Topic, Properties: {DisplayName: Hello}}
  Bucket: {Type: AWS::S3::Bucket}
  Hook:
    Type: AWS::SNS::Subscription
    Properties: {TopicArn: !Ref Topic, Protocol: https, Endpoint: "https://x.test/", FilterPolicy: {site: [A1, 7]}}
"#;

fn parse(text: &str) -> Result<Template, TemplateError> {
    let parameters = BTreeMap::from([("TokenIssuer".to_owned(), "http://issuer.test".to_owned())]);
    Template::parse(Path::new("small.yaml"), text, &parameters)
}

/// The error of the small template after one replacement.
fn error_after(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "the template has no {from:?}");
    parse(&SMALL.replacen(from, to, 1)).expect_err("the change breaks it").to_string()
}

#[test]
fn a_functions_own_settings_override_the_global_ones() {
    let template = parse(SMALL).expect("the template is valid");
    let function = &template.functions[0];
    assert_eq!((function.name.as_str(), function.binary.as_str()), ("Work", "work"));
    assert_eq!((function.timeout, function.memory), (Duration::from_secs(7), 256));
    assert_eq!(function.architecture, "arm64");
    let expected = [
        ("ENDPOINT", ""),
        ("JOINED", "a,info"),
        ("NUMBER", "42"),
        ("SHARED", "own"),
        ("TABLE", "Things"),
        ("TEXT", "us-east-1/Things/arn:aws:dynamodb:us-east-1:000000000000:table/Things/${kept}/info"),
        ("TOPIC", "arn:aws:sns:us-east-1:000000000000:Topic"),
    ];
    assert_eq!(function.environment, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[test]
fn a_route_has_the_apis_authorizer_unless_it_names_another() {
    let template = parse(SMALL).expect("the template is valid");
    let [get, open] = template.routes.as_slice() else { panic!("{:?}", template.routes) };
    assert_eq!((get.method.as_str(), get.path.as_str(), get.function.as_str()), ("GET", "/things/{id}", "Work"));
    assert_eq!(
        (get.authorizer.as_deref(), get.scopes.as_slice()),
        (Some("Jwt"), ["things:read".to_owned()].as_slice())
    );
    assert_eq!(get.timeout, Duration::from_secs(30));
    assert_eq!((&open.authorizer, open.scopes.len(), open.timeout), (&None, 0, Duration::from_secs(1)));
    let jwt = &template.authorizers["Jwt"];
    assert_eq!((jwt.issuer.as_str(), jwt.header.as_str()), ("http://issuer.test", "authorization"));
    assert_eq!(jwt.audience, ["app", "portal"]);
}

#[test]
fn a_stream_mapping_has_lambdas_defaults() {
    let template = parse(SMALL).expect("the template is valid");
    let expected = StreamMapping {
        name: "Work/Changes".to_owned(),
        function: "Work".to_owned(),
        table: "Things".to_owned(),
        starting_position: StartingPosition::Latest,
        batch_size: 10,
        batching_window: Duration::ZERO,
        parallelization_factor: 1,
        report_batch_item_failures: true,
        bisect_batch_on_function_error: false,
        maximum_retry_attempts: None,
        maximum_record_age: None,
        filters: vec![serde_json::json!({"eventName": ["INSERT"]})],
        on_failure: Some(FailureDestination::Bucket("Bucket".to_owned())),
    };
    assert_eq!(template.streams, [expected]);
}

#[test]
fn a_schedule_has_a_sender_an_input_and_an_interval() {
    let template = parse(SMALL).expect("the template is valid");
    let schedule = |event: &str, scheduler, seconds, input: Option<&str>| Schedule {
        name: format!("Work/{event}"),
        function: "Work".to_owned(),
        scheduler,
        every: Duration::from_secs(seconds),
        input: input.map(str::to_owned),
    };
    assert_eq!(
        template.schedules,
        [
            schedule("Often", Scheduler::Rule, 60, Some("{\"a\": 1}")),
            schedule("Nightly", Scheduler::Scheduler, 7_200, None),
        ]
    );
}

#[test]
fn tables_topics_buckets_and_subscriptions_are_read() {
    let template = parse(SMALL).expect("the template is valid");
    let table = &template.tables[0];
    assert_eq!((table.key.hash.as_str(), &table.key.range, table.stream.as_deref()), ("pk", &None, Some("NEW_IMAGE")));
    assert_eq!(table.indexes[0].key.range.as_deref(), Some("at"));
    assert_eq!(
        (table.indexes[0].projection.as_str(), table.indexes[0].included.as_slice()),
        ("INCLUDE", ["name".to_owned()].as_slice())
    );
    assert_eq!(template.topics[0].display_name.as_deref(), Some("Hello"));
    assert_eq!(template.buckets, ["Bucket"]);
    assert_eq!(template.subscriptions[0].filter_policy, Some(serde_json::json!({"site": ["A1", 7]})));
    assert_eq!(template.notices, Vec::<String>::new());
}

#[test]
fn an_error_has_file_line_path_and_advice() {
    assert_eq!(
        error_after("Timeout: 7", "Timeout: seven"),
        "cannot read the template small.yaml, line 9, at Globals.Function.Timeout: \"seven\" is not possible. \
         Use a whole number from 1 to 900"
    );
}

#[test]
fn a_used_setting_that_is_not_understood_is_refused() {
    for (from, to, part) in [
        ("Binary: work", "Other: work", "the function's binary is missing"),
        ("!Ref Things, SHARED", "!Ref Nothing, SHARED", "the template has no parameter or resource Nothing"),
        (
            "!GetAtt Things.StreamArn",
            "arn:aws:dynamodb:elsewhere",
            "it has to be a AWS::DynamoDB::Table of this template",
        ),
        ("!GetAtt Things.StreamArn", "!GetAtt Topic.StreamArn", "Topic is a AWS::SNS::Topic"),
        ("StreamViewType: NEW_IMAGE", "X: y", "the table Things has no stream"),
        ("StartingPosition: LATEST", "StartingPosition: SOON", "\"SOON\" is not known"),
        ("BatchSize: 10", "BatchSize: 10001", "Use a whole number from 1 to 10000"),
        ("'{\"eventName\":[\"INSERT\"]}'", "'{\"eventName\":'", "the pattern is not JSON"),
        ("rate(1 minute)", "cron(0 3 * * ? *)", "is an expression that is not supported. Use rate(5 minutes)"),
        ("rate(1 minute)", "rate(1 minutes)", "is not a rate that EventBridge accepts"),
        ("rate(2 hours)", "rate(0 hours)", "is not a rate"),
        ("'{\"a\": 1}'", "'{\"a\": '", "the input is not JSON"),
        ("Type: S3, Destination", "Type: SQS, Destination", "is not supported"),
        ("[ReportBatchItemFailures]", "[Everything]", "\"Everything\" is not known"),
        ("Path: /open", "Path: \"/things/{id}\", Method: GET", "this is not YAML"),
        ("Method: POST, Path: /open", "Method: GET, Path: \"/things/{id}\"", "leads to Work already"),
        ("Method: POST", "PayloadFormatVersion: \"1.0\"", "only payload format 2.0"),
        ("Authorizer: NONE", "Authorizer: Other", "Other is not an authorizer of the API"),
        ("DefaultAuthorizer: Jwt", "DefaultAuthorizer: Other", "is not among the Authorizers"),
        ("!Join [\",\", [a, !Ref Level]]", "!Select [0, [a]]", "!Select is not supported"),
        ("Default: info,", "Default: loud,", "is not among its AllowedValues"),
        (
            "{AttributeName: at, AttributeType: N}",
            "{AttributeName: x, AttributeType: N}",
            "the key attribute at has no type",
        ),
        ("JwtConfiguration: {", "Other: {", "only JWT authorizers are supported"),
    ] {
        let error = error_after(from, to);
        assert!(error.contains(part), "{to}: {error}");
    }
}

#[test]
fn a_parameter_without_a_value_is_an_error_where_it_is_used() {
    let error = Template::parse(Path::new("t.yaml"), SMALL, &BTreeMap::new()).expect_err("no issuer").to_string();
    assert!(error.contains("the parameter TokenIssuer has no value"), "{error}");
}

#[test]
fn files_that_are_not_templates_are_refused() {
    for (text, part) in [
        ("", "the file is empty"),
        ("a: [", "this is not YAML"),
        ("a: 1\n---\nb: 2\n", "the file has several YAML documents"),
        ("hello", "Resources is missing"),
        ("Resources: 7", "a map is expected here"),
        ("Resources: {A: {}}", "Type is missing"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn known_settings_that_are_not_imitated_are_reported() {
    let more = "      Layers: [x]\n      Events:\n        Queue: {Type: SQS, Properties: {}}\n        Off: {Type: Schedule, Properties: {Schedule: rate(1 day), Enabled: false}}\n";
    let template = parse(&SMALL.replacen("      Events:\n", more, 1)).expect("the template is valid");
    assert_eq!(
        template.notices,
        [
            "Work has Layers: layers are not loaded",
            "Work has the event Queue of type SQS: it is never sent",
            "Work has the event Off, which is disabled: it is never sent",
        ]
    );
}

#[test]
fn the_projects_own_template_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let parameters = BTreeMap::from([("TokenIssuer".to_owned(), "http://issuer.test".to_owned())]);
    let template = Template::read(&file, &parameters).expect("template.yaml is valid");
    for function in &template.functions {
        assert!(!function.environment["RECORDS_TABLE"].is_empty(), "{}", function.name);
    }
    for Route { method, path, authorizer, scopes, .. } in &template.routes {
        let (prefixed, plain): (Vec<_>, Vec<_>) = scopes.iter().partition(|scope| scope.starts_with("epro/"));
        assert!(authorizer.is_some() && !plain.is_empty(), "{method} {path}");
        assert!(plain.iter().map(|scope| format!("epro/{scope}")).eq(prefixed.into_iter().cloned()), "{method} {path}");
    }
    for function in &template.functions {
        assert_eq!(function.environment["OPEN_STUDIES"], "false", "{}", function.name);
        let mut elsewhere = function.environment.keys().filter(|name| name.starts_with("AWS_ENDPOINT_URL"));
        assert_eq!(elsewhere.next(), None, "{}: what is deployed talks to AWS", function.name);
    }
    assert!(template.streams.iter().any(|mapping| mapping.report_batch_item_failures));
    assert!(!template.schedules.is_empty());
}

#[test]
fn a_setting_can_depend_on_a_condition_and_be_absent() {
    let template = |reserved: u32| {
        let parameters = format!(
            "  Reserved: {{Type: Number, Default: {reserved}}}\nConditions:\n  Reserves: !Not [!Equals [!Ref Reserved, 0]]\nGlobals:"
        );
        let setting = "Architectures: [arm64]\n      ReservedConcurrentExecutions: !If [Reserves, !Ref Reserved, !Ref AWS::NoValue]";
        SMALL.replacen("Globals:", &parameters, 1).replacen("Architectures: [arm64]", setting, 1)
    };
    for (reserved, expected) in [(0, None), (7, Some(7))] {
        let read = parse(&template(reserved)).unwrap();
        let work = read.functions.iter().find(|function| function.name == "Work").unwrap();
        assert_eq!(work.reserved_concurrency, expected);
    }
}

#[test]
fn a_resource_whose_condition_does_not_hold_is_not_made() {
    let template = |endpoint: &str| {
        let conditions = "Conditions:\n  HasEndpoint: !Not [!Equals [!Ref Endpoint, \"\"]]\nGlobals:";
        let text =
            SMALL.replacen("Globals:", conditions, 1).replacen("  Hook:\n", "  Hook:\n    Condition: HasEndpoint\n", 1);
        text.replacen("Endpoint: \"https://x.test/\"", "Endpoint: !Ref Endpoint", 1).replacen(
            "Endpoint: {Type: String, Default: \"\"}",
            &format!("Endpoint: {{Type: String, Default: {endpoint:?}}}"),
            1,
        )
    };
    assert_eq!(parse(&template("")).unwrap().subscriptions, []);
    let read = parse(&template("https://y.test/")).unwrap();
    assert_eq!(read.subscriptions.iter().map(|hook| hook.endpoint.as_str()).collect::<Vec<_>>(), ["https://y.test/"]);
    let unknown = SMALL.replacen("  Hook:\n", "  Hook:\n    Condition: Elsewhere\n", 1);
    assert!(parse(&unknown).unwrap_err().to_string().contains("there is no condition Elsewhere"));
}

#[test]
fn a_template_that_is_nested_too_deep_or_has_aliases_is_refused_at_its_line() {
    let refused = |text: &str| {
        let error = Template::parse(Path::new("template.yaml"), text, &BTreeMap::new()).expect_err("it is refused");
        (error.line, error.problem)
    };
    let deep = format!("Resources:\n  A:\n    {}", "- ".repeat(50_000));
    assert_eq!(refused(&deep), (Some(3), "maps and lists are nested more than 100 deep".to_owned()));
    let deep = format!("Resources:\n  A: {}{}", "[".repeat(101), "]".repeat(101));
    assert_eq!(refused(&deep), (Some(2), "maps and lists are nested more than 100 deep".to_owned()));
    let alias = "Resources:\n  A: &a {Type: AWS::SNS::Topic}\n  B: *a\n";
    assert_eq!(refused(alias), (Some(2), "an anchor or an alias, which CloudFormation refuses".to_owned()));
}
