//! `cargo run -- study check|put FILE` and `instrument check|put FILE`: what a data manager does with them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use clinical::{
    ids::StudyVersion,
    instrument::{DefinitionFault, Instrument},
    study::Study,
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use invocation::{Deadline, Environment, EnvironmentError, aws};
use records::{Actor, Audit, AuditAction, InstrumentPut, Store, StudyPut, Tables};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::identity;

/// The path of the local cloud under which it says where its tables are.
pub const STORE_PATH: &str = "/local/store";

/// As long as a person waits for one write.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whoever listens on the port answers this soon, or is no local cloud.
const GREETING: Duration = Duration::from_secs(3);

/// Where the tables are.
#[derive(Debug, Clone)]
pub enum Target {
    /// In the local cloud on this port.
    Local(u16),
    /// In AWS: the Records table of this name, in the account and region of the environment's variables.
    Aws(String),
}

/// Where the local cloud's tables are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalStore {
    /// The address of its DynamoDB.
    pub dynamodb: String,
    /// The region that it plays.
    pub region: String,
    /// The name of the Records table.
    pub records_table: String,
    /// The name of the SiteCounts table.
    pub counts_table: String,
    /// The address of its STS.
    pub sts: String,
}

/// Why nothing was checked, or nothing put in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No local cloud answers.
    #[error(
        "no local cloud answers on port {port} ({why}). Start it with `cargo run`, or name the table of a deployment: \
         `--table NAME`"
    )]
    NoCloud {
        /// The port.
        port: u16,
        /// What was met.
        why: String,
    },
    /// The account or region is not said.
    #[error(
        "the account in AWS is not known: set AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for credentials \
         that pass, AWS_SESSION_TOKEN"
    )]
    Account(EnvironmentError),
    /// Whose credentials these are is not known.
    #[error("who puts this in force is not known, so nothing was: {0}; check the credentials, and do the same again")]
    Identity(aws::Failure),
    /// The store did not confirm.
    #[error("{0}; what became of it is settled by doing the same again")]
    Store(aws::Failure),
}

/// What came of it, for a person.
#[derive(Debug)]
pub enum Verdict {
    /// All is well; this is what to know.
    Good(String),
    /// These faults keep it from being used.
    Faulty(Vec<DefinitionFault>),
    /// What is there already keeps it from being used.
    Refused(String),
}

/// Checks the study in `file`, whose own instruments are in the files `own`.
///
/// # Errors
/// If a file cannot be read.
pub fn check_study(file: &Path, own: &[PathBuf]) -> Result<Verdict, Error> {
    let mut instruments = Vec::new();
    for file in own {
        match Instrument::parse_file(&name(file), &read(file)?) {
            Ok(instrument) => instruments.push(Arc::new(instrument)),
            Err(faults) => return Ok(Verdict::Faulty(faults)),
        }
    }
    Ok(
        match in_file(
            file,
            Study::parse(&read(file)?).and_then(|study| study.with_instruments(&instruments, is_time_zone)),
        ) {
            Ok(protocol) => {
                let instruments = protocol.catalog().iter().count();
                let study = protocol.study().map(told).unwrap_or_default();
                Verdict::Good(format!("{study} has no faults ({instruments} instruments)"))
            }
            Err(faults) => Verdict::Faulty(faults),
        },
    )
}

/// Puts the study in `file` in force, for `reason`.
///
/// # Errors
/// If the file cannot be read, it is not known who does so, or the store does not answer.
pub async fn put_study(file: &Path, target: &Target, reason: &str) -> Result<Verdict, Error> {
    let study = match in_file(file, Study::parse(&read(file)?)) {
        Ok(study) => study,
        Err(faults) => return Ok(Verdict::Faulty(faults)),
    };
    let (store, actor) = connect(target).await?;
    put_checked(&store, study, file, actor, reason).await
}

/// Puts the study in force in `store`, if all that it names is there.
async fn put_checked(store: &Store, study: Study, file: &Path, actor: Actor, reason: &str) -> Result<Verdict, Error> {
    let deadline = Deadline::after(PATIENCE);
    let mut own = Vec::new();
    for (id, version) in study.own_instruments() {
        own.extend(store.instrument(id, version, deadline).await.map_err(Error::Store)?);
    }
    let protocol = match in_file(file, study.with_instruments(&own, is_time_zone)) {
        Ok(protocol) => protocol,
        Err(faults) => return Ok(Verdict::Faulty(faults)),
    };
    let Some(study) = protocol.study() else { return Ok(Verdict::Refused("there is no study in it".to_owned())) };
    let audit = Audit::by(actor, AuditAction::StudyPut, Some(study.id()), reason, OffsetDateTime::now_utc());
    let audit = audit.about(study.version());
    let told = told(study);
    Ok(match store.put_study(study, &audit, deadline).await.map_err(Error::Store)? {
        StudyPut::InForce => Verdict::Good(format!("{told} is in force, everywhere within a minute")),
        StudyPut::OtherContent => Verdict::Refused(format!(
            "{told} is there with another content, and a version never changes; give this one a higher version"
        )),
        StudyPut::LaterInForce(later) => Verdict::Refused(format!(
            "version {later} of the study is in force, and an earlier one cannot take its place; give this one a higher \
             version"
        )),
    })
}

/// Checks the definition in `file`.
///
/// # Errors
/// If the file cannot be read.
pub fn check_instrument(file: &Path) -> Result<Verdict, Error> {
    Ok(match Instrument::parse_file(&name(file), &read(file)?) {
        Ok(instrument) => {
            let (id, version, hash) = (instrument.id(), instrument.version(), instrument.hash());
            Verdict::Good(format!("{id} {version} has no faults; its hash is {hash}"))
        }
        Err(faults) => Verdict::Faulty(faults),
    })
}

/// Stores the definition in `file` for studies to name, for `reason`.
///
/// # Errors
/// If the file cannot be read, it is not known who does so, or the store does not answer.
pub async fn put_instrument(file: &Path, target: &Target, reason: &str) -> Result<Verdict, Error> {
    let instrument = match Instrument::parse_file(&name(file), &read(file)?) {
        Ok(instrument) => instrument,
        Err(faults) => return Ok(Verdict::Faulty(faults)),
    };
    let (id, version) = (instrument.id(), instrument.version());
    if clinical::catalog::Catalog::shipped().find(id, version).is_ok() {
        return Ok(Verdict::Refused(format!(
            "{id} {version} ships with the program, and a version never changes; give this one another id or version"
        )));
    }
    let (store, actor) = connect(target).await?;
    let audit = Audit::by(actor, AuditAction::InstrumentPut, None, reason, OffsetDateTime::now_utc());
    let audit = audit.about(format!("{id} {version}"));
    let put = store.put_instrument(&instrument, &audit, Deadline::after(PATIENCE)).await;
    Ok(match put.map_err(Error::Store)? {
        InstrumentPut::Stored => Verdict::Good(format!("{id} {version} is stored; a study that names it may ask it")),
        InstrumentPut::OtherContent => Verdict::Refused(format!(
            "{id} {version} is there with another content, and a version never changes; give this one a higher version"
        )),
    })
}

/// Puts the demonstration study in force in a local cloud's tables, where no version of it is.
///
/// # Errors
/// If the store does not answer.
pub async fn seed(local: &LocalStore) -> Result<(), Error> {
    const DEMO: &str = include_str!("../../../shared/clinical/studies/demo.json");
    let study = Study::parse(DEMO).expect("a test checks the demonstration study");
    let store = store_at(local)?;
    let in_force = store.protocol(study.id(), Deadline::after(PATIENCE)).await.map_err(Error::Store)?;
    if in_force.study().is_none() {
        let reason = "the demonstration study of a local cloud";
        put_checked(&store, study, Path::new("demo.json"), identity::local(&local.sts), reason).await?;
    }
    Ok(())
}

fn is_time_zone(name: &str) -> bool {
    jiff::tz::db().get(name).is_ok()
}

fn told(study: &Study) -> String {
    format!("{} {}", study.id(), StudyVersion::as_str(study.version()))
}

fn read(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(|source| Error::Read { file: file.to_owned(), source })
}

fn name(file: &Path) -> String {
    file.display().to_string()
}

fn in_file<T>(file: &Path, checked: Result<T, Vec<DefinitionFault>>) -> Result<T, Vec<DefinitionFault>> {
    checked.map_err(|mut faults| {
        faults.iter_mut().for_each(|fault| fault.file = Some(name(file)));
        faults
    })
}

/// The store of the target, and who is at this terminal.
async fn connect(target: &Target) -> Result<(Store, Actor), Error> {
    let (environment, store) = match target {
        Target::Local(port) => {
            let local = ask(*port).await?;
            (environment_of(&local), store_at(&local)?)
        }
        Target::Aws(table) => {
            let tables = Tables { records: table.clone(), counts: String::new() };
            let environment = Environment::of_process();
            let config = aws::sdk_config(&environment, "AWS_ENDPOINT_URL_DYNAMODB", aws::https());
            let store = Store::new(&config.map_err(Error::Account)?, tables);
            (environment, store)
        }
    };
    let actor = identity::actor(&environment, Deadline::after(PATIENCE)).await?;
    Ok((store, actor))
}

fn store_at(local: &LocalStore) -> Result<Store, Error> {
    let config = aws::sdk_config(&environment_of(local), "AWS_ENDPOINT_URL_DYNAMODB", aws::https());
    let tables = Tables { records: local.records_table.clone(), counts: local.counts_table.clone() };
    Ok(Store::new(&config.map_err(Error::Account)?, tables))
}

/// The account and the services of a local cloud.
fn environment_of(local: &LocalStore) -> Environment {
    Environment::from_iter([
        ("AWS_REGION", local.region.as_str()),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &local.dynamodb),
        (identity::ENDPOINT, &local.sts),
    ])
}

/// Where the tables of the local cloud on `port` are.
async fn ask(port: u16) -> Result<LocalStore, Error> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let address = format!("http://127.0.0.1:{port}{STORE_PATH}");
    let answer = async {
        let answer = client.get(address.parse()?).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&body).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    };
    match timeout(GREETING, answer).await {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(error)) => Err(Error::NoCloud { port, why: error.to_string() }),
        Err(_) => Err(Error::NoCloud { port, why: "no answer in time".to_owned() }),
    }
}
