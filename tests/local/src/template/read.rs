//! Reads a file into a [`Template`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::document::{self, At, TemplateError, Value};
use super::resolve::{Names, topic_arn};
use super::{
    Authorizer, FailureDestination, Function, Index, Key, Route, Schedule, Scheduler, StartingPosition, StreamMapping,
    Subscription, Table, Template, Topic,
};

const FUNCTION: &str = "AWS::Serverless::Function";
const HTTP_API: &str = "AWS::Serverless::HttpApi";
const TABLE: &str = "AWS::DynamoDB::Table";
const TOPIC: &str = "AWS::SNS::Topic";
const BUCKET: &str = "AWS::S3::Bucket";
const SUBSCRIPTION: &str = "AWS::SNS::Subscription";

/// The longest that an HTTP API waits for a function.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

impl Template {
    /// Reads a template file. `parameters` replace the template's defaults.
    ///
    /// # Errors
    /// If the file cannot be read, or a setting that the local cloud uses has a value that it does not understand.
    pub fn read(file: &Path, parameters: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let text = std::fs::read_to_string(file).map_err(|e| TemplateError {
            file: file.to_owned(),
            line: None,
            place: String::new(),
            problem: e.to_string(),
            advice: "Name the file with --template".to_owned(),
        })?;
        Self::parse(file, &text, parameters)
    }

    /// Reads the text of a template, as [`Template::read`] reads a file.
    ///
    /// # Errors
    /// Those of [`Template::read`].
    pub fn parse(file: &Path, text: &str, parameters: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let document = document::parse(file, text)?;
        let root = At::root(file, &document);
        let names = Names::read(&root, parameters)?;
        let mut reader = Reader { names, root: root.clone(), template: Template::default(), apis: Vec::new() };
        reader.template.path = file.to_owned();
        let parameters = root.get("Parameters").map(|at| at.entries()).transpose()?.unwrap_or_default();
        reader.template.parameters = parameters.into_iter().map(|(name, _)| name.to_owned()).collect();
        reader.resources()?;
        Ok(reader.template)
    }
}

struct Reader<'a> {
    names: Names<'a>,
    root: At<'a>,
    template: Template,
    apis: Vec<(&'a str, Api)>,
}

/// Settings of an HTTP API that its routes inherit.
#[derive(Default)]
struct Api {
    default_authorizer: Option<String>,
    /// Scopes that an authorizer requires for routes without their own.
    scopes: BTreeMap<String, Vec<String>>,
}

impl<'a> Reader<'a> {
    fn resources(&mut self) -> Result<(), TemplateError> {
        let resources = self.root.required("Resources")?.entries()?;
        let mut made = Vec::new();
        for (id, resource) in &resources {
            let is_made = resource.get("Condition").map(|condition| self.names.condition(&condition)).transpose()?;
            if is_made.unwrap_or(true) {
                made.push((*id, resource.clone()));
            }
        }
        let of = |kind: &'static str| {
            let names = &self.names;
            made.iter().filter(|(id, _)| names.kind(id) == Some(kind)).cloned().collect::<Vec<_>>()
        };
        let (apis, functions, tables) = (of(HTTP_API), of(FUNCTION), of(TABLE));
        let (topics, buckets, subscriptions) = (of(TOPIC), of(BUCKET), of(SUBSCRIPTION));
        for (id, _) in &made {
            let kind = self.names.kind(id).unwrap_or_default();
            if matches!(kind, "AWS::Lambda::Function" | "AWS::Serverless::Api" | "AWS::ApiGatewayV2::Api") {
                self.notice(format!("{id} is a {kind}: only {FUNCTION} and {HTTP_API} run here"));
            }
        }
        for (id, api) in apis {
            self.api(id, &api)?;
        }
        for (id, table) in tables {
            let table = self.table(id, &table)?;
            self.template.tables.push(table);
        }
        for (id, topic) in topics {
            let display_name =
                topic.path(&["Properties", "DisplayName"]).map(|at| self.names.value(&at)).transpose()?;
            self.template.topics.push(Topic { name: id.to_owned(), arn: topic_arn(id), display_name });
            if topic.path(&["Properties", "Subscription"]).is_some() {
                self.notice(format!("subscriptions inside {id} are ignored: write each as an {SUBSCRIPTION}"));
            }
        }
        self.template.buckets = buckets.iter().map(|(id, _)| (*id).to_owned()).collect();
        for (id, subscription) in subscriptions {
            let subscription = self.subscription(id, &subscription)?;
            self.template.subscriptions.push(subscription);
        }
        for (id, function) in functions {
            self.function(id, &function)?;
        }
        Ok(())
    }

    fn notice(&mut self, text: String) {
        self.template.notices.push(text);
    }

    fn api(&mut self, id: &'a str, resource: &At<'a>) -> Result<(), TemplateError> {
        if let Some((first, _)) = self.apis.first() {
            return Err(resource.error(
                format!("a second {HTTP_API} besides {first}"),
                "The local cloud serves one API: put all routes on it",
            ));
        }
        let mut api = Api::default();
        if let Some(auth) = resource.path(&["Properties", "Auth"]) {
            if let Some(name) = auth.get("DefaultAuthorizer") {
                api.default_authorizer = Some(self.names.value(&name)?);
            }
            for (name, authorizer) in auth.get("Authorizers").map(|at| at.entries()).transpose()?.unwrap_or_default() {
                let read = self.authorizer(&authorizer)?;
                self.template.authorizers.insert(name.to_owned(), read);
                if let Some(scopes) = authorizer.get("AuthorizationScopes") {
                    api.scopes.insert(name.to_owned(), self.names.list(&scopes)?);
                }
            }
            if let Some(name) = &api.default_authorizer
                && !self.template.authorizers.contains_key(name)
            {
                return Err(
                    auth.error(format!("DefaultAuthorizer {name} is not among the Authorizers"), "Name one of them")
                );
            }
        }
        for (setting, what) in [
            ("CorsConfiguration", "CORS headers are not added"),
            ("DefaultRouteSettings", "throttling of routes is not imitated"),
            ("RouteSettings", "throttling of routes is not imitated"),
            ("StageName", "the API is served without a stage in its path"),
            ("Domain", "the API is served on this machine's address only"),
            ("DefinitionBody", "routes are read from the functions' events, not from the definition"),
            ("DefinitionUri", "routes are read from the functions' events, not from the definition"),
        ] {
            if resource.path(&["Properties", setting]).is_some() {
                self.notice(format!("{id} has {setting}: {what}"));
            }
        }
        self.apis.push((id, api));
        Ok(())
    }

    fn authorizer(&self, at: &At<'_>) -> Result<Authorizer, TemplateError> {
        let jwt = at.get("JwtConfiguration").ok_or_else(|| {
            at.error("only JWT authorizers are supported", "Give it a JwtConfiguration with issuer and audience")
        })?;
        let header = match at.get("IdentitySource") {
            None => "authorization".to_owned(),
            Some(source) => {
                let text = self.names.value(&source)?;
                let header = text.strip_prefix("$request.header.").ok_or_else(|| {
                    source.error(format!("{text:?} is not supported"), "Use $request.header.Authorization")
                })?;
                header.to_ascii_lowercase()
            }
        };
        Ok(Authorizer {
            issuer: self.names.value(&jwt.required("issuer")?)?,
            audience: self.names.list(&jwt.required("audience")?)?,
            header,
        })
    }

    fn table(&self, id: &str, resource: &At<'a>) -> Result<Table, TemplateError> {
        let properties = resource.required("Properties")?;
        let mut attributes = BTreeMap::new();
        for definition in properties.required("AttributeDefinitions")?.elements()? {
            let name = self.names.value(&definition.required("AttributeName")?)?;
            attributes.insert(name, self.names.value(&definition.required("AttributeType")?)?);
        }
        let mut indexes = Vec::new();
        for index in properties.get("GlobalSecondaryIndexes").map(|at| at.elements()).transpose()?.unwrap_or_default() {
            let projection = index.required("Projection")?;
            indexes.push(Index {
                name: self.names.value(&index.required("IndexName")?)?,
                key: self.key(&index, &attributes)?,
                projection: match projection.get("ProjectionType") {
                    Some(at) => self.names.value(&at)?,
                    None => "ALL".to_owned(),
                },
                included: match projection.get("NonKeyAttributes") {
                    Some(at) => self.names.list(&at)?,
                    None => Vec::new(),
                },
            });
        }
        if let Some(local) = properties.get("LocalSecondaryIndexes") {
            return Err(local.error("local secondary indexes are not supported", "Use a global one"));
        }
        let time_to_live = match properties.get("TimeToLiveSpecification") {
            Some(ttl) if self.names.boolean(&ttl.required("Enabled")?)? => {
                Some(self.names.value(&ttl.required("AttributeName")?)?)
            }
            _ => None,
        };
        Ok(Table {
            name: id.to_owned(),
            key: self.key(&properties, &attributes)?,
            attributes,
            indexes,
            stream: properties
                .path(&["StreamSpecification", "StreamViewType"])
                .map(|at| self.names.value(&at))
                .transpose()?,
            time_to_live,
        })
    }

    fn key(&self, at: &At<'_>, attributes: &BTreeMap<String, String>) -> Result<Key, TemplateError> {
        let schema = at.required("KeySchema")?;
        let (mut hash, mut range) = (None, None);
        for element in schema.elements()? {
            let name = self.names.value(&element.required("AttributeName")?)?;
            if !attributes.contains_key(&name) {
                return Err(element.error(
                    format!("the key attribute {name} has no type"),
                    format!("Add {name} to AttributeDefinitions"),
                ));
            }
            let kind = element.required("KeyType")?;
            match self.names.value(&kind)?.as_str() {
                "HASH" => hash = Some(name),
                "RANGE" => range = Some(name),
                other => return Err(kind.error(format!("{other:?} is not a key type"), "Use HASH or RANGE")),
            }
        }
        let hash = hash.ok_or_else(|| schema.error("there is no HASH key", "Add one with KeyType: HASH"))?;
        Ok(Key { hash, range })
    }

    fn subscription(&self, id: &str, resource: &At<'a>) -> Result<Subscription, TemplateError> {
        let properties = resource.required("Properties")?;
        let text = |key| properties.get(key).map(|at| self.names.value(&at)).transpose();
        Ok(Subscription {
            name: id.to_owned(),
            topic_arn: self.names.value(&properties.required("TopicArn")?)?,
            protocol: self.names.value(&properties.required("Protocol")?)?,
            endpoint: text("Endpoint")?.unwrap_or_default(),
            filter_policy: properties.get("FilterPolicy").map(|at| self.names.json(&at)).transpose()?,
            filter_policy_scope: text("FilterPolicyScope")?,
            raw: match properties.get("RawMessageDelivery") {
                Some(at) => self.names.boolean(&at)?,
                None => false,
            },
        })
    }

    fn function(&mut self, id: &'a str, resource: &At<'a>) -> Result<(), TemplateError> {
        let properties = resource.required("Properties")?;
        let globals = self.root.path(&["Globals", "Function"]);
        let setting = |keys: &[&str]| properties.path(keys).or_else(|| globals.as_ref().and_then(|at| at.path(keys)));

        if let Some(package) = setting(&["PackageType"])
            && self.names.value(&package)? != "Zip"
        {
            return Err(package.error("only functions that cargo builds are supported", "Use PackageType: Zip"));
        }
        let binary = resource.path(&["Metadata", "BuildProperties", "Binary"]).ok_or_else(|| {
            resource.error(
                "the function's binary is missing",
                "Add Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: <cargo binary>}}",
            )
        })?;
        let number = |key: &str, default: i64, least, most| match setting(&[key]) {
            Some(at) => self.names.number(&at, least, most),
            None => Ok(default),
        };
        let mut environment = BTreeMap::new();
        for at in [globals.as_ref(), Some(&properties)].into_iter().flatten() {
            for (name, value) in
                at.path(&["Environment", "Variables"]).map(|at| at.entries()).transpose()?.unwrap_or_default()
            {
                if let Some(value) = self.names.text(&value)? {
                    environment.insert(name.to_owned(), value);
                }
            }
        }
        let function = Function {
            name: id.to_owned(),
            binary: self.names.value(&binary)?,
            timeout: Duration::from_secs(number("Timeout", 3, 1, 900)?.unsigned_abs()),
            memory: u32::try_from(number("MemorySize", 128, 128, 10_240)?).unwrap_or(u32::MAX),
            reserved_concurrency: match setting(&["ReservedConcurrentExecutions"]) {
                Some(at) if self.names.text(&at)?.is_some() => {
                    Some(usize::try_from(self.names.number(&at, 0, 100_000)?).unwrap_or(usize::MAX))
                }
                _ => None,
            },
            environment,
            architecture: match setting(&["Architectures"]) {
                Some(at) => self.names.list(&at)?.into_iter().next().unwrap_or_default(),
                None => "x86_64".to_owned(),
            },
        };
        for (key, what) in [
            ("VpcConfig", "it runs on this machine's network"),
            ("Layers", "layers are not loaded"),
            ("SnapStart", "environments start without snapshots"),
            ("FileSystemConfigs", "no file system is mounted"),
            ("FunctionUrlConfig", "it has no URL of its own"),
            ("DeadLetterQueue", "there are no asynchronous invocations"),
            ("ProvisionedConcurrencyConfig", "environments start on demand"),
        ] {
            if setting(&[key]).is_some() {
                self.notice(format!("{id} has {key}: {what}"));
            }
        }
        // Scheduled events are not retried here, so only the retry settings have no effect.
        if let Some(at) = setting(&["EventInvokeConfig"]) {
            let retries = at.get("MaximumRetryAttempts").map(|at| self.names.number(&at, 0, 2)).transpose()?;
            if retries != Some(0) {
                self.notice(format!("{id} has EventInvokeConfig: failed asynchronous invocations are not retried"));
            }
        }
        for (event, at) in properties.get("Events").map(|at| at.entries()).transpose()?.unwrap_or_default() {
            let kind = at.required("Type")?;
            match self.names.value(&kind)?.as_str() {
                "HttpApi" => self.route(id, &at)?,
                "DynamoDB" => self.stream(id, event, &at)?,
                "Schedule" => self.schedule(id, event, &at, Scheduler::Rule)?,
                "ScheduleV2" => self.schedule(id, event, &at, Scheduler::Scheduler)?,
                other => self.notice(format!("{id} has the event {event} of type {other}: it is never sent")),
            }
        }
        self.template.functions.push(function);
        Ok(())
    }

    fn route(&mut self, function: &str, event: &At<'a>) -> Result<(), TemplateError> {
        let at = |key| event.path(&["Properties", key]);
        let text = |key| at(key).map(|at| self.names.value(&at)).transpose();
        if let Some(version) = at("PayloadFormatVersion")
            && self.names.value(&version)? != "2.0"
        {
            return Err(version.error("only payload format 2.0 is supported", "Use PayloadFormatVersion: \"2.0\""));
        }
        if let Some(named) = at("ApiId") {
            self.names.resource(&named, HTTP_API)?;
        }
        let no_api = Api::default();
        let api = self.apis.first().map_or(&no_api, |(_, api)| api);
        let authorizer = match event.path(&["Properties", "Auth", "Authorizer"]) {
            None => api.default_authorizer.clone(),
            Some(at) => match self.names.value(&at)?.as_str() {
                "NONE" => None,
                name if self.template.authorizers.contains_key(name) => Some(name.to_owned()),
                other => {
                    return Err(at.error(
                        format!("{other} is not an authorizer of the API"),
                        "Name one of its Authorizers, or NONE",
                    ));
                }
            },
        };
        let scopes = match event.path(&["Properties", "Auth", "AuthorizationScopes"]) {
            Some(at) => self.names.list(&at)?,
            None => authorizer.as_ref().and_then(|name| api.scopes.get(name)).cloned().unwrap_or_default(),
        };
        let path = text("Path")?.unwrap_or_else(|| Route::DEFAULT.to_owned());
        if path != Route::DEFAULT && !path.starts_with('/') {
            return Err(event.error(format!("the path {path:?} does not begin with /"), "Write it as /v1/..."));
        }
        let method = text("Method")?.unwrap_or_else(|| "ANY".to_owned()).to_ascii_uppercase();
        let route = Route {
            method: if method == "*" || method == "X-AMAZON-APIGATEWAY-ANY-METHOD" { "ANY".to_owned() } else { method },
            path,
            function: function.to_owned(),
            authorizer,
            scopes,
            timeout: match at("TimeoutInMillis") {
                Some(at) => Duration::from_millis(self.names.number(&at, 50, 30_000)?.unsigned_abs()),
                None => INTEGRATION_TIMEOUT,
            },
        };
        if let Some(other) =
            self.template.routes.iter().find(|other| other.method == route.method && other.path == route.path)
        {
            return Err(event.error(
                format!("{} {} leads to {} already", route.method, route.path, other.function),
                "Remove one of the two events",
            ));
        }
        self.template.routes.push(route);
        Ok(())
    }

    fn stream(&mut self, function: &str, event: &str, at: &At<'a>) -> Result<(), TemplateError> {
        let properties = at.required("Properties")?;
        let number = |key, default, least, most| match properties.get(key) {
            Some(at) => self.names.number(&at, least, most),
            None => Ok(default),
        };
        let flag = |key| match properties.get(key) {
            Some(at) => self.names.boolean(&at),
            None => Ok(false),
        };
        let source = properties.required("Stream")?;
        let table = self.names.resource(&source, TABLE)?;
        if self.template.tables.iter().any(|t| t.name == table && t.stream.is_none()) {
            return Err(source.error(format!("the table {table} has no stream"), "Give it a StreamSpecification"));
        }
        let position = properties.required("StartingPosition")?;
        let starting_position = match self.names.value(&position)?.as_str() {
            "TRIM_HORIZON" => StartingPosition::TrimHorizon,
            "LATEST" => StartingPosition::Latest,
            other => return Err(position.error(format!("{other:?} is not known"), "Use TRIM_HORIZON or LATEST")),
        };
        let mapping = StreamMapping {
            name: format!("{function}/{event}"),
            function: function.to_owned(),
            table,
            starting_position,
            batch_size: usize::try_from(number("BatchSize", 100, 1, 10_000)?).unwrap_or(100),
            batching_window: Duration::from_secs(number("MaximumBatchingWindowInSeconds", 0, 0, 300)?.unsigned_abs()),
            parallelization_factor: usize::try_from(number("ParallelizationFactor", 1, 1, 10)?).unwrap_or(1),
            report_batch_item_failures: match properties.get("FunctionResponseTypes") {
                Some(types) => {
                    let named: BTreeSet<String> = self.names.list(&types)?.into_iter().collect();
                    if let Some(other) = named.iter().find(|name| *name != "ReportBatchItemFailures") {
                        return Err(types.error(format!("{other:?} is not known"), "Use [ReportBatchItemFailures]"));
                    }
                    !named.is_empty()
                }
                None => false,
            },
            bisect_batch_on_function_error: flag("BisectBatchOnFunctionError")?,
            maximum_retry_attempts: u32::try_from(number("MaximumRetryAttempts", -1, -1, 10_000)?).ok(),
            maximum_record_age: u64::try_from(number("MaximumRecordAgeInSeconds", -1, -1, 604_800)?)
                .ok()
                .map(Duration::from_secs),
            filters: self.filters(&properties)?,
            on_failure: self.on_failure(&properties)?,
        };
        if properties.get("Enabled").is_some_and(|at| matches!(at.node.value, Value::Bool(false))) {
            self.notice(format!("{function} has the event {event} with Enabled: false: it is never sent"));
            return Ok(());
        }
        if properties.get("TumblingWindowInSeconds").is_some() {
            self.notice(format!("{function} has the event {event} with a tumbling window: its state is not kept"));
        }
        self.template.streams.push(mapping);
        Ok(())
    }

    fn schedule(
        &mut self,
        function: &str,
        event: &str,
        at: &At<'a>,
        scheduler: Scheduler,
    ) -> Result<(), TemplateError> {
        let properties = at.required("Properties")?;
        let expression = properties.required(match scheduler {
            Scheduler::Rule => "Schedule",
            Scheduler::Scheduler => "ScheduleExpression",
        })?;
        let text = self.names.value(&expression)?;
        let every =
            rate(&text).map_err(|problem| expression.error(format!("{text:?} {problem}"), "Use rate(5 minutes)"))?;
        let off = properties.get("Enabled").is_some_and(|at| matches!(at.node.value, Value::Bool(false)))
            || properties.get("State").map(|at| self.names.value(&at)).transpose()?.as_deref() == Some("DISABLED");
        if off {
            self.notice(format!("{function} has the event {event}, which is disabled: it is never sent"));
            return Ok(());
        }
        let input = match properties.get("Input") {
            Some(at) => {
                let text = self.names.value(&at)?;
                if let Err(e) = serde_json::from_str::<serde_json::Value>(&text) {
                    return Err(at.error(format!("the input is not JSON: {e}"), "Write it as '{\"key\": \"value\"}'"));
                }
                Some(text)
            }
            None => None,
        };
        self.template.schedules.push(Schedule {
            name: format!("{function}/{event}"),
            function: function.to_owned(),
            scheduler,
            every,
            input,
        });
        Ok(())
    }

    fn filters(&self, properties: &At<'_>) -> Result<Vec<serde_json::Value>, TemplateError> {
        let Some(filters) = properties.path(&["FilterCriteria", "Filters"]) else { return Ok(Vec::new()) };
        let read = |filter: At<'_>| {
            let pattern = filter.required("Pattern")?;
            let text = self.names.value(&pattern)?;
            match serde_json::from_str(&text) {
                Ok(value @ serde_json::Value::Object(_)) => Ok(value),
                Ok(_) => Err(pattern.error("the pattern is not a JSON object", "Write it as '{\"eventName\": [...]}'")),
                Err(e) => {
                    Err(pattern.error(format!("the pattern is not JSON: {e}"), "Write it as '{\"eventName\": [...]}'"))
                }
            }
        };
        filters.elements()?.into_iter().map(read).collect()
    }

    fn on_failure(&self, properties: &At<'_>) -> Result<Option<FailureDestination>, TemplateError> {
        let Some(at) = properties.path(&["DestinationConfig", "OnFailure"]) else { return Ok(None) };
        let destination = at.required("Destination")?;
        let kind = match at.get("Type") {
            Some(kind) => self.names.value(&kind)?,
            None => "S3".to_owned(),
        };
        match kind.as_str() {
            "S3" => Ok(Some(FailureDestination::Bucket(self.names.resource(&destination, BUCKET)?))),
            "SNS" => Ok(Some(FailureDestination::Topic(topic_arn(&self.names.resource(&destination, TOPIC)?)))),
            other => Err(at.error(
                format!("a failure destination of type {other} is not supported"),
                "Use Type: S3, which also keeps the records themselves, or Type: SNS",
            )),
        }
    }
}

/// The interval of `rate(5 minutes)`, or the fault of any other expression.
fn rate(expression: &str) -> Result<Duration, &'static str> {
    if expression.starts_with("cron(") || expression.starts_with("at(") {
        return Err("is an expression that is not supported");
    }
    let wrong = "is not a rate that EventBridge accepts";
    let inner = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')')).ok_or(wrong)?;
    let (number, unit) = inner.split_once(' ').ok_or(wrong)?;
    let number: u64 = number.parse().ok().filter(|number| (1..=100_000).contains(number)).ok_or(wrong)?;
    // EventBridge requires `1 minute`, `5 minutes`.
    let seconds = match (number, unit) {
        (1, "minute") | (2.., "minutes") => 60,
        (1, "hour") | (2.., "hours") => 60 * 60,
        (1, "day") | (2.., "days") => 24 * 60 * 60,
        _ => return Err(wrong),
    };
    Ok(Duration::from_secs(number * seconds))
}
