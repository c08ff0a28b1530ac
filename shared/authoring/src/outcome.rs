//! The results of checking and storing instruments and studies.

use std::fmt;

use clinical::document::DefinitionFault;
use clinical::ids::{InstrumentId, InstrumentVersion, StudyId, StudyVersion};
use invocation::EnvironmentError;
use invocation::aws::Failure;
use releases::{Refused, Release};

use crate::ReadError;

/// The result of checking or storing a definition that could be read.
#[derive(Debug)]
pub enum Outcome {
    /// The definition has no faults and, if it was to be stored, is stored.
    Accepted(Accepted),
    /// These faults of the definition keep it from being used.
    Faulty(Vec<DefinitionFault>),
    /// The definition has no faults, but its version cannot be stored.
    Refused(Refused),
}

impl Outcome {
    /// The outcome of a `release` of what `accepted` names.
    pub(crate) fn of(release: Release, accepted: Accepted) -> Self {
        match release {
            Release::InForce(_) => Self::Accepted(accepted),
            Release::Faulty(faults) => Self::Faulty(faults),
            Release::Refused(refused) => Self::Refused(refused),
        }
    }
}

/// What was checked or stored.
#[derive(Debug)]
pub enum Accepted {
    /// An instrument's definition has no faults.
    InstrumentChecked {
        /// The instrument's id.
        id: InstrumentId,
        /// The instrument's version.
        version: InstrumentVersion,
        /// The hash of its canonical content, which scores carry.
        hash: String,
    },
    /// An instrument is stored, now or since before.
    InstrumentStored {
        /// The instrument's id.
        id: InstrumentId,
        /// The instrument's version.
        version: InstrumentVersion,
    },
    /// A study has no faults.
    StudyChecked {
        /// The study's id.
        id: StudyId,
        /// The study's version.
        version: StudyVersion,
        /// The number of instruments that it uses.
        instruments: usize,
    },
    /// A version of a study is in force, now or since before.
    StudyInForce {
        /// The study's id.
        id: StudyId,
        /// The version in force.
        version: StudyVersion,
    },
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstrumentChecked { id, version, hash } => {
                write!(f, "{id} {version} has no faults; its hash is {hash}")
            }
            Self::InstrumentStored { id, version } => {
                write!(f, "{id} {version} is stored; studies can name it")
            }
            Self::StudyChecked { id, version, instruments } => {
                write!(f, "{id} {version} has no faults ({instruments} instruments)")
            }
            Self::StudyInForce { id, version } => {
                write!(f, "{id} {version} is in force, everywhere within a minute")
            }
        }
    }
}

/// Why a definition was not stored, other than for its content.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The definition cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no connection to the store.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The store did not confirm the write, or did not answer a read before it.
    #[error("{0}. It may have been stored: run the same command again, which is safe")]
    Store(Failure),
}

/// Why there is no connection to the store.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No local cloud answers.
    #[error(
        "no local cloud answers on port {port} ({reason}). Start one with `cargo run`, or name a deployment's table with \
         `--table NAME`"
    )]
    NoLocalCloud {
        /// The port.
        port: u16,
        /// What happened instead.
        reason: String,
    },
    /// The environment names no account or region.
    #[error(
        "the AWS account is not known: set AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary \
         credentials, AWS_SESSION_TOKEN"
    )]
    Account(EnvironmentError),
    /// STS does not confirm whose the credentials are.
    #[error("nothing was stored, because your AWS identity is not known: {0}. Check the credentials and run it again")]
    Identity(Failure),
}
