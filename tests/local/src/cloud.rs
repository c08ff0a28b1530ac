//! Starts all parts in order, connects them, and stops them in order.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use authoring::connection::{LOCAL_STORE_PATH, LocalStore, PUT_TIMEOUT};
use authoring::outcome::PutError;
use authoring::study;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use clinical::studies::Study;
use futures::FutureExt;
use invocation::Deadline;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::clock::{self, Clock, ClockError};
use crate::console::Console;
use crate::contract;
use crate::data::{DataDir, DataError};
use crate::dynamodb::{DynamoDb, DynamoDbError};
use crate::executables::{self, BuildError};
use crate::failures::Failures;
use crate::faults::{FaultSettings, Faults, Service};
use crate::feed::{self, Feed};
use crate::gateway::Gateway;
use crate::issuer::{Issuer, IssuerError};
use crate::lambda::{FunctionSettings, Functions, Processes, StartError};
use crate::schedules::{self, Schedules};
use crate::sns::{self, Sns, SnsError, SnsSettings, SubscribeOption};
use crate::stream::{self, Destinations, StreamError, Streams};
use crate::sts;
use crate::template::{Function, Template, TemplateError};
use crate::web_console::{self, Endpoints, Parts, Switches, guard};

/// The template's parameter that lets tokens name studies that are not stored.
const OPEN_STUDIES: &str = "OpenStudies";

/// The demonstration study.
pub(crate) const DEMO_STUDY: &str = include_str!("../../../shared/clinical/studies/demo.json");

/// How long running requests and invocations may take after the local cloud was asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The options of the command line.
#[derive(Debug, Clone)]
pub struct CloudOptions {
    /// The port of the API on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// The data folder; `None`: everything is in memory.
    pub data: Option<PathBuf>,
    /// The address of another DynamoDB than the embedded one.
    pub dynamodb: Option<String>,
    /// The path of the SAM template.
    pub template: PathBuf,
    /// Values of the template's parameters that replace their defaults.
    pub parameters: BTreeMap<String, String>,
    /// The root of the cargo workspace that has the functions' packages.
    pub workspace: PathBuf,
    /// The cargo profile of the functions' builds.
    pub build_profile: String,
    /// The most environments of one function.
    pub concurrency: usize,
    /// Faults between the functions and the services that they call.
    pub faults: Option<FaultSettings>,
    /// Subscriptions to every topic, in addition to the template's.
    pub subscribe: Vec<SubscribeOption>,
    /// The path of this program, for [`FunctionSettings::launcher`].
    pub launcher: Option<PathBuf>,
    /// What is written to the terminal.
    pub console: Console,
}

impl CloudOptions {
    /// The arguments with which this program starts such a local cloud on `port`.
    pub fn arguments(&self, port: u16) -> Vec<OsString> {
        let Self {
            data, dynamodb, template, parameters, build_profile, concurrency, faults, subscribe, console, ..
        } = self;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: &OsStr| arguments.extend([option.into(), value.to_owned()]);
        add("--port", port.to_string().as_ref());
        add("--template", template.as_os_str());
        add("--build-profile", build_profile.as_ref());
        add("--concurrency", concurrency.to_string().as_ref());
        if let Some(data) = data {
            add("--data", data.as_os_str());
        }
        if let Some(dynamodb) = dynamodb {
            add("--dynamodb", dynamodb.as_ref());
        }
        if let Some(FaultSettings { share, seed, .. }) = faults {
            add("--faults", share.to_string().as_ref());
            add("--fault-seed", seed.to_string().as_ref());
        }
        for (name, value) in parameters {
            add("--parameter", format!("{name}={value}").as_ref());
        }
        for option in subscribe {
            add("--subscribe", option.to_string().as_ref());
        }
        let Console { quiet, logs } = console;
        let switches = [(data.is_none(), "--memory"), (*quiet, "--quiet"), (*logs, "--logs")];
        arguments.extend(switches.into_iter().filter(|(on, _)| *on).map(|(_, switch)| switch.into()));
        arguments
    }
}

/// A running local cloud.
#[derive(Debug)]
pub struct Cloud {
    url: String,
    stop: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
    functions: Functions,
    streams: Streams,
    schedules: Schedules,
    sns: Sns,
    database: DynamoDb,
    faults: Faults,
    console: Console,
    /// Holds the folder's lock until the process ends.
    _data: Option<DataDir>,
}

/// Why the local cloud does not start.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Another program listens on the port.
    #[error(
        "port {0} is taken by another program. Stop that one, or choose another port: `--port {next}` (`--port 0` \
         takes any that is free)",
        next = .0.saturating_add(1)
    )]
    PortTaken(u16),
    /// The port cannot be listened on for another reason.
    #[error("cannot listen on port {port}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// The operating system's error.
        source: io::Error,
    },
    /// The clock of the data folder cannot go on.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The issuer has no key.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The database does not start, or does not answer.
    #[error(transparent)]
    Database(#[from] DynamoDbError),
    /// The template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Faults were asked for in front of a database that is called over TLS, whose requests cannot be passed on.
    #[error("faults are injected only into requests to a DynamoDB over http, and {0} is not: start without `--faults`")]
    FaultsOverTls(String),
    /// The faults' proxy cannot listen.
    #[error("cannot listen on a port for the faults between functions and services")]
    Faults(#[source] io::Error),
    /// `--parameter` names a parameter that the template does not have.
    #[error("the template has no parameter {name}. It has: {}", known.join(", "))]
    Parameter {
        /// The name that was given.
        name: String,
        /// The names of the template's parameters.
        known: Vec<String>,
    },
    /// The functions cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A function does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The demonstration study cannot be stored.
    #[error("cannot put the demonstration study in force")]
    DemoStudy(#[from] PutError),
    /// A stream mapping does not start.
    #[error(transparent)]
    Streams(#[from] StreamError),
    /// SNS does not start.
    #[error(transparent)]
    Sns(#[from] SnsError),
}

impl Cloud {
    /// Starts everything; when this returns, the API is served.
    ///
    /// # Errors
    /// If a part does not start. The message says what to do about it.
    pub async fn start(options: CloudOptions) -> Result<Self, CloudError> {
        let console = options.console;
        let data = options.data.as_deref().map(DataDir::open).transpose()?;
        let folder = |name: &str| data.as_ref().map(|data| data.path().join(name));
        let listener = listen(options.port).await?;
        let port = listener.local_addr().map_err(|source| CloudError::Listen { port: options.port, source })?.port();
        let url = format!("http://127.0.0.1:{port}");
        let issuer = Issuer::open(data.as_ref(), format!("{url}/local"))?;

        let database = match &options.dynamodb {
            Some(url) => DynamoDb::at(url)?,
            None => DynamoDb::embedded(folder("dynamodb").as_deref()).await?,
        };
        let clock = Clock::open(data.as_ref().map(DataDir::path), &options, database.endpoint())?;
        if options.faults.is_some() && !database.endpoint().starts_with("http://") {
            return Err(CloudError::FaultsOverTls(database.endpoint().to_owned()));
        }
        let mut parameters = options.parameters.clone();
        // The local issuer has an `http` address, which the deployed authorizer does not accept.
        parameters.insert("TokenIssuer".to_owned(), issuer.url().to_owned());
        // A newcomer sends requests before any study is in force.
        parameters.entry(OPEN_STUDIES.to_owned()).or_insert_with(|| "true".to_owned());
        let template = Template::read(&options.template, &parameters)?;
        if let Some(name) = options.parameters.keys().find(|name| !template.parameters.contains(name)) {
            return Err(CloudError::Parameter { name: name.clone(), known: template.parameters });
        }
        introduce(&template, &options, &data, &issuer);
        if template.parameters.iter().any(|name| name == OPEN_STUDIES) && parameters[OPEN_STUDIES] == "true" {
            console.say(format!(
                "tokens may name studies that are not stored; `--parameter {OPEN_STUDIES}=false` refuses them, as deployed"
            ));
        }

        let binaries: Vec<String> = template.functions.iter().map(|function| function.binary.clone()).collect();
        let build = executables::build(&options.workspace, &binaries, &options.build_profile, console.quiet);
        let (executables, made) = tokio::try_join!(
            build.map(|built| built.map_err(CloudError::from)),
            database.make_tables(&template.tables).map(|made| made.map_err(CloudError::from)),
        )?;
        if !made.is_empty() {
            console.say(format!("created the tables {}", made.join(", ")));
        }
        let store = local_store(&template, &database, &url);
        // Tables of another engine may not be the user's own: they get no demonstration data.
        if let Some(store) = store.as_ref().filter(|_| options.dynamodb.is_none()) {
            put_demo_study(store).await?;
        }

        let faults = Faults::new(options.faults.unwrap_or_default());
        let services = Endpoints { dynamodb: database.endpoint().to_owned(), sns: format!("{url}{}", sns::PATH) };
        let endpoints = match options.faults {
            None => services.clone(),
            Some(FaultSettings { share, seed, .. }) => {
                console.say(format!(
                    "{share} of the functions' requests to DynamoDB and SNS meet a fault; `--fault-seed {seed}` repeats \
                     the sequence"
                ));
                Endpoints {
                    dynamodb: faults
                        .put_before(Service::DynamoDb, &services.dynamodb)
                        .await
                        .map_err(CloudError::Faults)?,
                    sns: faults.put_before(Service::Sns, &services.sns).await.map_err(CloudError::Faults)?,
                }
            }
        };
        let account = account(&database, options.dynamodb.is_some());
        let feed = Feed::default();
        let settings = FunctionSettings {
            concurrency: options.concurrency,
            environment: endpoints.variables(&account),
            launcher: options.launcher.clone(),
            console,
            feed: feed.clone(),
        };
        let runnable = template
            .functions
            .iter()
            .filter_map(|function| Some((function.clone(), executables.get(&function.binary)?.clone())));
        let functions = Functions::new(runnable, settings);
        clock.resume(&functions).await?;
        let failures = Failures::new(folder("failures").as_deref());
        let sns = Sns::start(SnsSettings {
            address: &url,
            topics: &template.topics,
            subscriptions: &template.subscriptions,
            requested: &options.subscribe,
            folder: folder("sns").as_deref(),
            console,
            feed: feed.clone(),
        })
        .await?;

        // The API is served before the functions start, because they call SNS and STS while they start.
        let audience = template.authorizers.values().flat_map(|authorizer| authorizer.audience.clone()).collect();
        let issuer = issuer.for_audience(audience);
        let (stop, stopping) = watch::channel(false);
        let gateway = Gateway::new(template.clone(), issuer.clone(), functions.clone(), console);
        let switches =
            Switches::new(faults.clone(), functions.clone(), services, account, feed.clone(), options.faults.is_some());
        let page = web_console::routes(Parts {
            feed: feed.clone(),
            switches,
            functions: functions.clone(),
            store: store.clone(),
            stopping: stopping.clone(),
        });
        let local = issuer
            .routes()
            .merge(contract::routes())
            .merge(sns.routes())
            .merge(failures.clone().routes())
            .merge(sts::routes())
            .merge(faults.routes())
            .merge(store.iter().cloned().map(store_route).fold(Router::new(), Router::merge))
            .merge(schedules::routes(template.schedules.clone(), template.functions.clone(), functions.clone()))
            .merge(clock.routes(functions.clone()))
            .merge(invocations(functions.clone(), template.functions.clone()))
            .merge(environments(functions.processes().clone()))
            .route_layer(from_fn(guard::not_cross_origin));
        let router = gateway.router().merge(local).merge(page);
        let server = tokio::spawn(serve(listener, router, stopping));

        functions.warm().await?;
        let invoke = {
            let functions = functions.clone();
            Arc::new(move |function: &str, payload| {
                let (functions, function) = (functions.clone(), function.to_owned());
                async move { functions.invoke(&function, payload).await }.boxed()
            })
        };
        let publish = {
            let sns = sns.clone();
            Arc::new(move |topic: &str, text| {
                let (sns, topic) = (sns.clone(), topic.to_owned());
                async move { sns.publish_text(&topic, text).await }.boxed()
            })
        };
        let destinations =
            Destinations { failures, publish, warn: Arc::new(|text| Console::default().warn(text)), feed };
        let checkpoints = folder("stream");
        let streams = stream::start(&database, &template.streams, invoke, destinations, checkpoints.as_deref()).await?;
        let schedules = Schedules::start(&template.schedules, &functions);
        Ok(Self { url, stop, server, functions, streams, schedules, sns, database, faults, console, _data: data })
    }

    /// The address of the API, for example `http://127.0.0.1:3000`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Accepts no further requests, waits a short time for running ones to finish, and stops all parts.
    pub async fn stop(self) {
        let deadline = Instant::now() + GRACE;
        self.stop.send_replace(true);
        // Requests that take longer end with their functions.
        let _ = timeout(GRACE, self.server).await;
        self.schedules.stop().await;
        self.streams.stop().await;
        self.functions.stop(deadline.saturating_duration_since(Instant::now())).await;
        if self.faults.is_in_use().await {
            self.console.say(self.faults.summary());
        }
        self.faults.stop().await;
        self.sns.stop().await;
        self.database.stop().await;
    }
}

async fn listen(port: u16) -> Result<TcpListener, CloudError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => CloudError::PortTaken(port),
        _ => CloudError::Listen { port, source },
    })
}

async fn serve(listener: TcpListener, router: Router, mut stopping: watch::Receiver<bool>) -> io::Result<()> {
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move { drop(stopping.wait_for(|stop| *stop).await) })
        .await
}

/// Prints the parts of this local cloud, and what it does not imitate.
fn introduce(template: &Template, options: &CloudOptions, data: &Option<DataDir>, issuer: &Issuer) {
    let console = options.console;
    let Template { functions, routes, tables, topics, streams, schedules, .. } = template;
    let parts = [
        (functions.len(), "function"),
        (routes.len(), "route"),
        (tables.len(), "table"),
        (topics.len(), "topic"),
        (streams.len(), "stream mapping"),
        (schedules.len(), "schedule"),
    ];
    let parts = parts.map(|(number, what)| format!("{number} {what}{}", if number == 1 { "" } else { "s" }));
    console.say(format!("{}: {}", options.template.display(), parts.join(", ")));
    match data {
        Some(data) => console.say(format!("data is kept in {}", data.path().display())),
        None => console.say("data is in memory and ends with this process"),
    }
    if !clock::offset().is_zero() {
        console.say(format!("the clock goes on from where it was moved: {}", feed::at(clock::now())));
    }
    console.say("not imitated: IAM policies, encryption keys, memory limits, the processor, the database's throttling");
    for notice in &template.notices {
        console.say(notice);
    }
    for (name, authorizer) in &template.authorizers {
        if authorizer.issuer != issuer.url() {
            console.say(format!(
                "the authorizer {name} trusts {}: only tokens of {} can be checked here, so all are refused. Let the \
                 template take the issuer from its parameter TokenIssuer",
                authorizer.issuer,
                issuer.url()
            ));
        }
    }
}

/// The functions' credentials and region: a made-up account, or the account of this process if the database is a
/// foreign one.
fn account(database: &DynamoDb, foreign: bool) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
        .map(|name| (name.to_owned(), "local".to_owned()))
        .into();
    if foreign && let Ok(key) = std::env::var("AWS_ACCESS_KEY_ID") {
        variables.insert("AWS_ACCESS_KEY_ID".to_owned(), key);
        for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            match std::env::var(name) {
                Ok(value) => variables.insert(name.to_owned(), value),
                Err(_) => variables.remove(name),
            };
        }
    }
    let region = database.client().config().region().map(ToString::to_string);
    variables.insert("AWS_REGION".to_owned(), region.unwrap_or_else(|| crate::template::REGION.to_owned()));
    variables
}

/// The tables that the functions' environments name.
pub(crate) fn local_store(template: &Template, database: &DynamoDb, url: &str) -> Option<LocalStore> {
    let named = |name: &str| template.functions.iter().find_map(|function| function.environment.get(name)).cloned();
    let region = database.client().config().region().map(ToString::to_string);
    Some(LocalStore {
        dynamodb: database.endpoint().to_owned(),
        region: region.unwrap_or_else(|| crate::template::REGION.to_owned()),
        records_table: named("RECORDS_TABLE")?,
        counts_table: named("COUNTS_TABLE")?,
        sts: format!("{url}{}", sts::PATH),
        clock_offset_ms: 0,
    })
}

/// Puts the demonstration study in force, if no version of it is.
pub(crate) async fn put_demo_study(local: &LocalStore) -> Result<(), PutError> {
    let study = Study::parse(DEMO_STUDY).expect("a test checks the demonstration study");
    let connection = at_clock(local.clone()).connect_as(sts::principal(&local.sts))?;
    let protocol =
        connection.store.protocol(study.id(), Deadline::after(PUT_TIMEOUT)).await.map_err(PutError::Store)?;
    if protocol.study().is_none() {
        study::put_parsed(study, connection, "the demonstration study of a local cloud").await?;
    }
    Ok(())
}

/// `store` with the clock as it is now, which its readers compare times with.
pub(crate) fn at_clock(store: LocalStore) -> LocalStore {
    let offset = clock::offset().whole_milliseconds();
    LocalStore { clock_offset_ms: i64::try_from(offset).unwrap_or_default(), ..store }
}

/// `GET /local/store`, for the commands that put studies and instruments in force.
fn store_route(store: LocalStore) -> Router {
    Router::new().route(LOCAL_STORE_PATH, get(async move || Json(at_clock(store.clone()))))
}

/// `GET /local/invocations?function`.
fn invocations(functions: Functions, known: Vec<Function>) -> Router {
    Router::new().route("/local/invocations", get(list_invocations)).with_state((functions, Arc::new(known)))
}

#[derive(Deserialize)]
struct InvocationsQuery {
    function: Option<String>,
}

async fn list_invocations(
    State((functions, known)): State<(Functions, Arc<Vec<Function>>)>,
    Query(query): Query<InvocationsQuery>,
) -> Response {
    let named = |name: &String| known.iter().find(|function| function.name == *name || function.binary == *name);
    let function = query.function.as_ref().map(named);
    if function == Some(None) {
        let names: Vec<&str> = known.iter().map(|function| function.binary.as_str()).collect();
        let detail = format!("There is no such function. Those of the template are: {}", names.join(", "));
        return (StatusCode::NOT_FOUND, Json(json!({"title": "Not Found", "status": 404, "detail": detail})))
            .into_response();
    }
    let history = functions.history();
    Json(json!({"invocations": history.newest_first(function.flatten()), "totals": history.totals()})).into_response()
}

/// `GET /local/environments` lists the functions' processes, and `DELETE /local/environments/{pid}` kills one with
/// SIGKILL, for tests of crashes.
fn environments(processes: Processes) -> Router {
    Router::new()
        .route("/local/environments", get(list_environments))
        .route("/local/environments/{pid}", delete(kill_environment))
        .with_state(processes)
}

async fn list_environments(State(processes): State<Processes>) -> Response {
    Json(json!({"environments": processes.list()})).into_response()
}

async fn kill_environment(State(processes): State<Processes>, Path(pid): Path<u32>) -> StatusCode {
    match processes.kill(pid) {
        Ok(true) => StatusCode::NO_CONTENT,
        Ok(false) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn invocations_are_listed_by_binary_or_logical_id() {
        let function = |name: &str, binary: &str| Function {
            name: name.to_owned(),
            binary: binary.to_owned(),
            timeout: Duration::from_secs(10),
            memory: 128,
            reserved_concurrency: Some(0),
            environment: BTreeMap::new(),
            architecture: "arm64".to_owned(),
        };
        let known = vec![function("SubmitFunction", "submit"), function("ScoreFunction", "score")];
        let settings = FunctionSettings {
            concurrency: 1,
            environment: BTreeMap::new(),
            launcher: None,
            console: Console { quiet: true, logs: false },
            feed: Feed::default(),
        };
        // Without an environment both invocations are refused, and the history lists refusals too.
        let functions = Functions::new(known.iter().map(|function| (function.clone(), PathBuf::new())), settings);
        functions.invoke("SubmitFunction", Bytes::new()).await;
        functions.invoke("ScoreFunction", Bytes::new()).await;
        for (query, status, expected) in [
            (None, StatusCode::OK, vec!["score", "submit"]),
            (Some("submit"), StatusCode::OK, vec!["submit"]),
            (Some("ScoreFunction"), StatusCode::OK, vec!["score"]),
            (Some("other"), StatusCode::NOT_FOUND, vec![]),
        ] {
            let state = State((functions.clone(), Arc::new(known.clone())));
            let response =
                list_invocations(state, Query(InvocationsQuery { function: query.map(str::to_owned) })).await;
            assert_eq!(response.status(), status, "{query:?}");
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory");
            let body: serde_json::Value = serde_json::from_slice(&body).expect("the answer is JSON");
            let listed = body["invocations"].as_array().cloned().unwrap_or_default();
            let listed: Vec<_> = listed.iter().filter_map(|record| record["function"].as_str()).collect();
            assert_eq!(listed, expected, "{query:?}");
        }
    }
}
