//! Lines of the log. The formatter of `tracing-subscriber` nests the fields of a span, where Powertools has them beside
//! those of the event.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::INVOCATION;
use crate::Environment;

/// The most bytes of a text in a line.
const LONGEST_TEXT: usize = 1_000;

/// RFC 3339 to the millisecond, also where that ends with zeros.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Whether this is the first time that it is asked in this process.
pub(super) fn is_cold_start() -> bool {
    static WARM: AtomicBool = AtomicBool::new(false);
    !WARM.swap(true, Ordering::Relaxed)
}

/// Writes each event as a line.
pub(super) struct Lines<W> {
    /// Those of the function, on every line.
    keys: Fields,
    level: Level,
    rate: f64,
    write: W,
}

/// The fields of a span or an event, each with its value as JSON.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

/// An invocation that logs from `debug` on.
struct Sampled;

impl<W> Lines<W> {
    pub(super) fn new(environment: &Environment, service: &'static str, level: Level, rate: f64, write: W) -> Self {
        let memory = environment.optional("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|size| size.parse::<u64>().ok());
        let mut keys = Fields::default();
        keys.push("service", service);
        if let Some(name) = environment.optional("AWS_LAMBDA_FUNCTION_NAME") {
            keys.push("function_name", name);
        }
        if let Some(memory) = memory {
            keys.push("function_memory_size", &memory);
        }
        if rate > 0.0 {
            keys.push("sampling_rate", &rate);
        }
        Self { keys, level, rate, write }
    }

    /// Whether the invocation `request_id` is sampled: by the id, which is random, so that all its lines are, and a test
    /// knows which.
    fn samples(&self, request_id: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        request_id.hash(&mut hasher);
        (hasher.finish() as f64) < self.rate * u64::MAX as f64
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // The runtime has a span too, with the same ids under names of its own.
        if span.name() != INVOCATION {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if fields.get("function_request_id").is_some_and(|id| self.samples(id.trim_matches('"'))) {
            fields.push("sampled", &true);
            span.extensions_mut().insert(Sampled);
        }
        span.extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = *event.metadata().level();
        let spans = || context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let is_sampled = || spans().any(|span| span.extensions().get::<Sampled>().is_some());
        // The filter lets more pass where invocations are sampled.
        if level > self.level && !is_sampled() {
            return;
        }
        let mut of_event = Fields::default();
        event.record(&mut of_event);
        // The name of the event, unless it has a text of its own.
        let message = of_event.get("message").or(of_event.get("event")).unwrap_or("null");
        let timestamp = OffsetDateTime::now_utc().format(TIMESTAMP).unwrap_or_default();
        let mut line = format!(r#"{{"level":"{level}","message":{message},"timestamp":"{timestamp}""#);
        let mut add = |key: &str, json: &str| [",\"", key, "\":", json].iter().for_each(|part| line.push_str(part));
        for (key, json) in &self.keys.0 {
            add(key, json);
        }
        for span in spans() {
            let extensions = span.extensions();
            let fields = extensions.get::<Fields>().map_or(&[][..], |fields| &fields.0);
            for (key, json) in fields.iter().filter(|(key, _)| of_event.get(key).is_none()) {
                add(key, json);
            }
        }
        for (key, json) in of_event.0.iter().filter(|(key, _)| *key != "message") {
            add(key, json);
        }
        line.push_str("}\n");
        (self.write)(&line);
    }
}

impl Fields {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, json)| json.as_str())
    }

    fn push(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) {
        self.0.push((key, serde_json::to_string(value).expect("texts, numbers and flags always serialise")));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field.name(), &*bounded(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field.name(), &*bounded(&format!("{value:?}")));
    }
}

/// `text`, cut off after a kilobyte: a reason may quote names, of which there may be any number.
fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_TEXT {
        return text.into();
    }
    let end = (0..=LONGEST_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end]).into()
}
