//! The functions: their environments, invocations, and what became of each.

use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// All functions of the template, each with its environments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Functions {
    _shared: Arc<()>,
}

impl Functions {
    /// Invokes a function, waits for its answer, and never longer than the function's timeout (plus the wait for a
    /// free environment). Dropping the future does not stop the invocation.
    ///
    /// `function` is the logical id of the template.
    pub async fn invoke(&self, _function: &str, _payload: Bytes) -> Invocation {
        Invocation { request_id: String::new(), took: Duration::ZERO, outcome: Outcome::Unavailable(String::new()) }
    }
}

/// One finished invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's request id (a UUID).
    pub request_id: String,
    /// From the hand-over to the environment to the outcome.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered: its payload.
    Answer(Bytes),
    /// The function reported an error (`{"errorType", "errorMessage", ...}`): an unhandled error or a panic.
    FunctionError(Bytes),
    /// It overran its timeout and was killed.
    TimedOut,
    /// Its process ended during the invocation.
    Crashed,
    /// No environment could take it: all busy and the queue full (throttled), the function does not start, or the
    /// local cloud is stopping. The text says which. The function has not seen the event.
    Unavailable(String),
}
