//! `template.yaml` grants no more than is used, protects what is stored, and has an alarm with a section of the guide
//! for whatever fails. Weaknesses that are planted in it are found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeSet;

use house::template::Template;
use house::{root, text};

/// Edits of the template, and part of the fault that each has to be reported as.
const WEAKNESSES: [(&str, &str, &str); 55] = [
    // What ends by itself.
    (
        "AttributeName: expires_at\n        Enabled: true",
        "AttributeName: received_at\n        Enabled: true",
        "RecordsTable: drafts do not end by themselves, or other items do",
    ),
    (
        "      AttributeDefinitions:\n        - { AttributeName: pk, AttributeType: S }\n      KeySchema:",
        "      TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }\n      AttributeDefinitions:\n        \
         - { AttributeName: pk, AttributeType: S }\n      KeySchema:",
        "SiteCountsTable: drafts do not end by themselves, or other items do",
    ),
    // What functions may do.
    (
        "Sid: CountAndReadCounts\n              Effect: Allow\n              Action: [dynamodb:UpdateItem,",
        "Sid: CountAndReadCounts\n              Effect: Allow\n              Action: [dynamodb:DeleteItem, dynamodb:UpdateItem,",
        "CountsFunction, statement CountAndReadCounts: it could delete",
    ),
    (
        "Sid: ListAlerts\n              Effect: Allow\n              Action: dynamodb:Query",
        "Sid: ListAlerts\n              Effect: Allow\n              Action: dynamodb:Scan",
        "AlertsFunction, statement ListAlerts: it could scan",
    ),
    (
        "Sid: WriteSubmissions\n              Effect: Allow\n              Action: dynamodb:PutItem",
        "Sid: WriteSubmissions\n              Effect: Allow\n              Action: dynamodb:*",
        "SubmitFunction, statement WriteSubmissions: a wildcard in an action",
    ),
    (
        "                - !Sub ${RecordsTable.Arn}/index/pending\n                - !Sub ${RecordsTable.Arn}/index/site",
        "                - !Sub ${RecordsTable.Arn}/index/*",
        "SweepFunction, statement QueryPendingItemsAndPatients: a wildcard in a resource",
    ),
    (
        "Sid: ReadAuditEntries\n              Effect: Allow\n              Action: dynamodb:Query\n              Resource: !GetAtt RecordsTable.Arn\n              Condition:\n                ForAllValues:StringLike: { \"dynamodb:LeadingKeys\": [\"AUDIT#*\"] }\n",
        "Sid: ReadAuditEntries\n              Effect: Allow\n              Action: dynamodb:Query\n              Resource: !GetAtt RecordsTable.Arn\n",
        "AuditFunction, statement ReadAuditEntries: it is held to no keys",
    ),
    (
        "{ \"dynamodb:LeadingKeys\": [\"INSTRUMENT#*\", \"ALERTS#*\"] }",
        "{ \"dynamodb:LeadingKeys\": [\"INSTRUMENT#*\", \"ALERTS#*\", \"KEY#*\"] }",
        "not in permissions.txt: AlertsFunction Allow dynamodb:BatchGetItem RecordsTable of ALERTS#* INSTRUMENT#* KEY#*",
    ),
    (
        "Sid: CountAndReadCounts\n              Effect: Allow\n              Action: [dynamodb:UpdateItem, dynamodb:BatchGetItem]\n",
        "Sid: CountAndReadCounts\n              Effect: Allow\n              Action: dynamodb:UpdateItem\n",
        "in permissions.txt, and not in the template: CountsFunction Allow dynamodb:BatchGetItem SiteCountsTable",
    ),
    (
        "            - Sid: ReadNoOtherStream\n              Effect: Deny\n              Action: [dynamodb:DescribeStream, dynamodb:GetRecords, dynamodb:GetShardIterator]\n              NotResource: !GetAtt RecordsTable.StreamArn\n",
        "",
        "in permissions.txt, and not in the template: ScoreFunction Deny dynamodb:GetRecords",
    ),
    (
        "Sid: WriteItsOwnState\n              Effect: Allow\n              Action: dynamodb:PutItem",
        "Sid: WriteItsOwnState\n              Effect: Allow\n              Action: [dynamodb:PutItem, sns:Publish]",
        "ReconcileFunction, statement WriteItsOwnState: actions of several services",
    ),
    (
        "            - Sid: FindPatientsOfASite\n              Effect: Allow",
        "            - Effect: Allow",
        "SubmitFunction, statement without Sid: its Sid, the purpose, is missing",
    ),
    (
        "      Description: Renders a site's report as a PDF\n      # One",
        "      Description: Renders a site's report as a PDF\n      Role: arn:aws:iam::000000000000:role/everything\n      # One",
        "ReportFunction has a role of its own",
    ),
    (
        "      Policies:\n        - Version: \"2012-10-17\"\n          Statement:\n            - Sid: ReadAllRecords",
        "      Policies:\n        - DynamoDBCrudPolicy: { TableName: !Ref RecordsTable }\n        - Version: \"2012-10-17\"\n          Statement:\n            - Sid: ReadAllRecords",
        "ReconcileFunction has a policy that names no statement",
    ),
    (
        "              StringEquals: { \"kms:ViaService\": !Sub \"dynamodb.${AWS::Region}.amazonaws.com\" }",
        "              StringLike: { \"kms:ViaService\": \"*\" }",
        "not in permissions.txt: UseKeyForTables Allow kms:Decrypt KmsKeyArn if StringLike kms:ViaService *",
    ),
    (
        "            Principal: { Service: [cloudwatch.amazonaws.com] }",
        "            Principal: \"*\"",
        "AlarmsTopicPolicy, statement AlarmsOfThisAccount: it is allowed to everybody",
    ),
    // Routes.
    (
        "              AuthorizationScopes: [forms:validate, !Sub \"${ScopePrefix}forms:validate\"]",
        "              AuthorizationScopes: []",
        "ValidateFunction, event PostRows: the route requires no scope",
    ),
    (
        "Path: /v1/alerts/{alertId}/acknowledge\n            PayloadFormatVersion: \"2.0\"\n            Auth:\n              AuthorizationScopes: [alerts:write, !Sub \"${ScopePrefix}alerts:write\"]",
        "Path: /v1/alerts/{alertId}/acknowledge\n            PayloadFormatVersion: \"2.0\"\n            Auth:\n              AuthorizationScopes: [alerts:write, !Sub \"${ScopePrefix}alerts:read\"]",
        "AlertsFunction, event PostAcknowledgement: the route's scopes are not the same",
    ),
    (
        "              AuthorizationScopes: [forms:validate, !Sub \"${ScopePrefix}forms:validate\"]",
        "              Authorizer: NONE\n              AuthorizationScopes: [forms:validate, !Sub \"${ScopePrefix}forms:validate\"]",
        "ValidateFunction, event PostRows: the route has another authorizer, or none",
    ),
    ("        DefaultAuthorizer: AccessToken\n", "", "Api: requests are not authorised by default"),
    ("issuer: !Ref TokenIssuer", "issuer: https://accounts.example.org", "Api: requests are not authorised by default"),
    ("        ThrottlingRateLimit: !Ref RequestsPerSecond\n", "", "Api: no limit of requests"),
    (
        "\"status\":\"$context.status\",",
        "\"status\":\"$context.status\",\"who\":\"$context.authorizer.claims.sub\",",
        "Api: the access log shows authorizer.claims.sub",
    ),
    (
        "      Description: Lists who read and who changed what at a site\n",
        "      Description: Lists who read and who changed what at a site\n      FunctionUrlConfig: { AuthType: NONE }\n",
        "AuditFunction: it is not traced, or has a URL without an authorizer",
    ),
    // The stream.
    ("            BatchSize: 100\n", "", "event Submissions: BatchSize is null"),
    ("            ParallelizationFactor: 4\n", "", "event Submissions: ParallelizationFactor is null"),
    (
        "            FunctionResponseTypes: [ReportBatchItemFailures]\n",
        "",
        "event Submissions: FunctionResponseTypes is null",
    ),
    (
        "            BisectBatchOnFunctionError: true\n",
        "            BisectBatchOnFunctionError: false\n",
        "event Submissions: BisectBatchOnFunctionError is false",
    ),
    (
        "            MaximumRetryAttempts: 100\n",
        "            MaximumRetryAttempts: -1\n",
        "event Submissions: MaximumRetryAttempts is -1",
    ),
    ("            MaximumRecordAgeInSeconds: 21600\n", "", "event Submissions: MaximumRecordAgeInSeconds is null"),
    (
        "            StartingPosition: TRIM_HORIZON",
        "            StartingPosition: LATEST",
        "StartingPosition is \"LATEST\"",
    ),
    (
        "              OnFailure:\n                Type: S3\n                Destination: !GetAtt FailuresBucket.Arn\n",
        "              OnFailure:\n                Type: SNS\n                Destination: !Ref AlarmsTopic\n",
        "event Submissions: DestinationConfig is",
    ),
    ("            MetricsConfig: { Metrics: [EventCount] }\n", "", "event Submissions: MetricsConfig is null"),
    ("{\"S\":[\"submission\"]}", "{\"S\":[\"alert\"]}", "the filter does not pass exactly the submissions"),
    // What is stored and sent.
    (
        "        PointInTimeRecoveryEnabled: true\n      SSESpecification:\n        SSEEnabled: true\n        SSEType: KMS\n        KMSMasterKeyId: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n      AttributeDefinitions:\n        - { AttributeName: pk, AttributeType: S }\n      KeySchema",
        "        PointInTimeRecoveryEnabled: false\n      SSESpecification:\n        SSEEnabled: true\n        SSEType: KMS\n        KMSMasterKeyId: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n      AttributeDefinitions:\n        - { AttributeName: pk, AttributeType: S }\n      KeySchema",
        "SiteCountsTable: no point-in-time recovery",
    ),
    (
        "        KMSMasterKeyId: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n      StreamSpecification",
        "      StreamSpecification",
        "RecordsTable: it is not encrypted by the customer's key",
    ),
    (
        "  SiteCountsTable:\n    Type: AWS::DynamoDB::Table\n    DeletionPolicy: Retain",
        "  SiteCountsTable:\n    Type: AWS::DynamoDB::Table\n    DeletionPolicy: Delete",
        "SiteCountsTable: DeletionPolicy does not retain it",
    ),
    (
        "    Default: prod\n    AllowedValues: [dev, prod]",
        "    Default: dev\n    AllowedValues: [dev, prod]",
        "Stage: its default is not prod",
    ),
    (
        "      StreamSpecification:\n        StreamViewType: NEW_AND_OLD_IMAGES\n",
        "",
        "RecordsTable: no stream of both images",
    ),
    ("        BlockPublicPolicy: true\n", "        BlockPublicPolicy: false\n", "FailuresBucket: it may become public"),
    (
        "      # The prefix that API Gateway may write to without a resource policy for each group.\n      LogGroupName: !Sub /aws/vendedlogs/${AWS::StackName}/api\n      KmsKeyId: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n      RetentionInDays: !Ref LogRetentionDays\n",
        "      LogGroupName: !Sub /aws/vendedlogs/${AWS::StackName}/api\n      KmsKeyId: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]\n",
        "ApiLogs: its logs are kept for ever",
    ),
    ("      LoggingConfig: { LogGroup: !Ref ValidateLogs }\n", "", "ValidateFunction: it has no log group of its own"),
    (
        "DisplayName: ePRO alert\n      KmsMasterKeyId: !If [HasKey, !Ref KmsKeyArn, alias/aws/sns]",
        "DisplayName2: none",
        "AlertsTopic: it is not encrypted",
    ),
    (
        "      RedrivePolicy: { deadLetterTargetArn: !GetAtt UndeliveredOverHttps.Arn }\n",
        "",
        "AlertsHttpsSubscription: it has no dead-letter queue",
    ),
    (
        "        - Protocol: sqs\n          SuccessFeedbackRoleArn: !GetAtt LogDeliveriesRole.Arn\n          SuccessFeedbackSampleRate: !Ref DeliveryLogPercent\n          FailureFeedbackRoleArn: !GetAtt LogDeliveriesRole.Arn\n",
        "",
        "AlertsTopic: failed deliveries are logged for",
    ),
    // Deployment and time.
    (
        "      Type: !If [IsProd, !Ref Deployment, AllAtOnce]\n",
        "      Type: AllAtOnce\n",
        "Globals: prod is not deployed as",
    ),
    ("          - !Ref ScoreErrorsAlarm\n", "", "Globals: a deployment is not rolled back by ScoreErrorsAlarm"),
    (
        "    DependsOn: [ScoreFunctionAliaslive, SweepFunctionAliaslive]\n",
        "    DependsOn: [ScoreFunction, SweepFunction]\n",
        "SubmitFunction: it may accept an instrument before score and sweep know it",
    ),
    (
        "      VersionDescription: !Sub ${LogLevel} ${LogSampleRate} ${OpenStudies} ${ScopePrefix} ${TrustedRoots} ${AlertLink}\n",
        "      VersionDescription: !Sub ${LogLevel} ${LogSampleRate} ${OpenStudies} ${ScopePrefix} ${TrustedRoots}\n",
        "ScoreFunction: VersionDescription has",
    ),
    ("      Timeout: 29\n", "      Timeout: 60\n", "ReportFunction: it may run longer than anybody waits"),
    ("ca-bundle.crt, !Ref AWS::NoValue]\n", "ca-bundle.crt, \"\"]\n", "SubmitFunction: SSL_CERT_FILE may be empty"),
    (
        "            Schedule: rate(1 minute)\n",
        "            Schedule: rate(10 minutes)\n",
        "SweepFunction: it is not invoked at rate(1 minute)",
    ),
    // Alarms.
    (
        "      MetricName: OldestPendingSeconds\n      Statistic: Maximum\n      Period: 60\n      EvaluationPeriods: 5\n      DatapointsToAlarm: 3\n      Threshold: 900\n",
        "      MetricName: OldestPendingSeconds\n      Statistic: Maximum\n      Period: 60\n      EvaluationPeriods: 5\n      DatapointsToAlarm: 3\n      Threshold: 90000\n",
        "PendingTooLongAlarm: its threshold is above 900",
    ),
    (
        "          Expression: SUM([score, sweep, reconcile])\n",
        "          Expression: SUM([score, sweep])\n",
        "ScoringThrottledAlarm: its expression leaves out reconcile",
    ),
    (
        "See ScoreBehind in\n        functions/OPERATION.md",
        "",
        "ScoreBehindAlarm: its description does not name its section",
    ),
];

fn faults(template: &str) -> Vec<String> {
    let permissions = text(&root().join("tests/house/permissions.txt"));
    let guide = text(&root().join("functions/OPERATION.md"));
    Template::parse(template).faults(&permissions, &guide)
}

#[test]
fn the_template_has_no_fault() {
    let faults = faults(&text(&root().join("template.yaml")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_planted_weakness_is_found() {
    let template = text(&root().join("template.yaml"));
    for (number, (from, to, fault)) in WEAKNESSES.into_iter().enumerate() {
        assert_eq!(template.matches(from).count(), 1, "weakness {number} fits the template not once: {from}");
        let found = faults(&template.replacen(from, to, 1));
        assert!(
            found.iter().any(|found| found.contains(fault)),
            "weakness {number} is not found as {fault:?}: {found:#?}"
        );
    }
}

#[test]
fn an_alarm_without_its_section_and_a_section_without_its_alarm_are_found() {
    let template = Template::parse(&text(&root().join("template.yaml")));
    let permissions = text(&root().join("tests/house/permissions.txt"));
    let guide = text(&root().join("functions/OPERATION.md"));
    let changed = guide.replacen("\n### ScoreBehind\n", "\n### ScoreBehindhand\n", 1);
    assert_ne!(guide, changed);
    assert_eq!(
        template.faults(&permissions, &changed),
        [
            "ScoreBehindAlarm: functions/OPERATION.md has no section ScoreBehind",
            "functions/OPERATION.md: no alarm names the section ScoreBehindhand",
        ]
    );
}

#[test]
fn the_scopes_of_the_user_pool_are_those_of_the_routes() {
    let scopes = |text: &str, before: &str, end: char| -> BTreeSet<String> {
        let found = text.split(before).skip(1).filter_map(|rest| rest.split(end).next());
        found.map(str::to_owned).collect()
    };
    let of_routes = scopes(&text(&root().join("template.yaml")), "${ScopePrefix}", '"');
    let of_routes: BTreeSet<String> = of_routes.iter().map(|scope| scope.lines().next().unwrap().to_owned()).collect();
    let of_pool = scopes(&text(&root().join("shared/api/cognito.yaml")), "ScopeName: \"", '"');
    let of_routes: BTreeSet<String> = of_routes.into_iter().filter(|scope| scope.contains(':')).collect();
    assert!(of_pool.len() > 9, "{of_pool:?}");
    assert_eq!(of_routes, of_pool);
}

#[test]
fn the_guide_of_deployment_explains_each_parameter() {
    let guide = text(&root().join("functions/DEPLOYMENT.md"));
    let table: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    let template = Template::parse(&text(&root().join("template.yaml")));
    let parameters: Vec<&str> = template.parameters().collect();
    assert!(parameters.len() > 15, "{parameters:?}");
    for name in parameters {
        assert!(table.iter().any(|line| line.contains(&format!("`{name}`"))), "DEPLOYMENT.md does not explain {name}");
    }
}

#[test]
fn the_price_of_the_alarms_is_that_of_all_metrics_that_they_read() {
    let template = text(&root().join("template.yaml"));
    let resources = template.split("\n    Type: AWS::").skip(1);
    let alarms = resources.filter_map(|resource| resource.strip_prefix("CloudWatch::Alarm"));
    // An alarm on an expression names each metric of it.
    let read: usize = alarms.map(|alarm| alarm.matches("MetricStat:").count().max(1)).sum();
    let priced = text(&root().join("functions/cost.py"));
    let priced = priced.lines().find_map(|line| line.strip_prefix("METRICS, WATCHED = ")).unwrap();
    let priced = priced.split([',', '#']).nth(1).unwrap().trim();
    assert_eq!(priced, read.to_string(), "WATCHED in functions/cost.py");
}
