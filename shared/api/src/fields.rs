//! The fields that the bodies of submissions and of drafts have in common.

use clinical::document::{Finding, Findings, NotFound, pointer};
use clinical::ids::SiteId;
use clinical::instruments::{Catalog, Instrument};
use clinical::studies::Protocol;
use records::Device;
use serde_json::{Map, Value};

const LONGEST_DEVICE: usize = 200;

/// The instruments that a questionnaire may name.
#[derive(Clone, Copy)]
pub enum AcceptedInstruments<'a> {
    /// The instruments that the study uses at the site.
    Study(&'a Protocol, &'a SiteId),
    /// The instruments of a catalog, whether the study uses them or not.
    Catalog(&'a Catalog),
}

impl<'a> AcceptedInstruments<'a> {
    /// The instruments, at whatever site.
    pub fn catalog(self) -> &'a Catalog {
        match self {
            Self::Study(protocol, _) => protocol.catalog(),
            Self::Catalog(catalog) => catalog,
        }
    }
}

/// Reads the members of a JSON object field by field, and continues after a finding.
#[derive(Debug)]
pub struct Fields {
    findings: Findings,
    is_not_asked: bool,
}

impl Fields {
    /// Fields of a body whose parser had these `findings`.
    pub fn new(findings: Findings) -> Self {
        Self { findings, is_not_asked: false }
    }

    /// Whether there is no finding.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether the instrument is well-formed and not accepted.
    pub fn is_not_asked(&self) -> bool {
        self.is_not_asked
    }

    /// The findings, in the order in which the fields were read.
    pub fn into_findings(self) -> Findings {
        self.findings
    }

    /// Adds `finding`.
    pub fn push(&mut self, finding: Finding) {
        self.findings.push_with(|| finding);
    }

    /// Reports each member of the object at `parent` that is not one of `known`.
    pub fn only(&mut self, object: &Map<String, Value>, parent: &str, known: &[&str], detail: &str) {
        for unknown in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.report(&pointer(parent, unknown), "field.unknown", detail);
        }
    }

    /// Adds a finding.
    pub fn report(&mut self, pointer: &str, code: &'static str, detail: impl Into<String>) {
        self.findings.push_with(|| Finding { pointer: pointer.to_owned(), code, detail: detail.into() });
    }

    /// The required string `field`.
    pub fn required_text<'a>(&mut self, object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
        let text = self.text(object, "", field);
        if matches!(object.get(field), None | Some(Value::Null)) {
            self.report(&pointer("", field), "field.required", "this field is required");
        }
        text
    }

    /// The optional string `field` of the object at `parent`.
    pub fn text<'a>(&mut self, object: &'a Map<String, Value>, parent: &str, field: &str) -> Option<&'a str> {
        match object.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.report(&pointer(parent, field), "field.type", "this field must be a string");
                None
            }
        }
    }

    /// The version of an instrument that `instrument` and `version` name, if it is `accepted`.
    pub fn instrument<'a>(
        &mut self,
        object: &Map<String, Value>,
        accepted: AcceptedInstruments<'a>,
    ) -> Option<&'a Instrument> {
        let (id, version) = (self.required_text(object, "instrument"), self.required_text(object, "version"));
        let (id, version) = (id?, version?);
        let Ok(id) = id.parse() else {
            self.report("/instrument", "instrument.unknown", "there is no such instrument");
            return None;
        };
        let Ok(version) = version.parse() else {
            self.report("/version", "instrument.version", "a version has three numbers, such as 1.0.0");
            return None;
        };
        let (at_site, of_study) = match accepted {
            AcceptedInstruments::Study(protocol, site) => {
                (protocol.asks(site, &id, &version), protocol.study().is_some())
            }
            AcceptedInstruments::Catalog(_) => (true, false),
        };
        self.is_not_asked = true;
        match accepted.catalog().find(&id, &version) {
            Ok(instrument) if at_site => {
                self.is_not_asked = false;
                return Some(instrument);
            }
            Ok(_) => self.report(
                "/instrument",
                "instrument.not-at-site",
                "the study does not ask this instrument at this site",
            ),
            Err(NotFound::Id) => {
                let detail =
                    if of_study { "the study does not ask such an instrument" } else { "there is no such instrument" };
                self.report("/instrument", "instrument.unknown", detail);
            }
            Err(NotFound::Version { known }) => {
                let known: Vec<&str> = known.iter().map(|version| version.as_str()).collect();
                let known = known.join(", ");
                let detail = if of_study {
                    format!("the study does not ask this version of the instrument; it asks {known}")
                } else {
                    format!("the instrument has no such version; it has {known}")
                };
                self.report("/version", "instrument.version-unknown", detail);
            }
        }
        None
    }

    /// The optional `device`.
    pub fn device(&mut self, object: &Map<String, Value>) -> Option<Device> {
        let device = match object.get("device") {
            None | Some(Value::Null) => return None,
            Some(Value::Object(device)) => device,
            Some(_) => {
                self.report("/device", "field.type", "a device must be an object with `app` and `os`");
                return None;
            }
        };
        self.only(device, "/device", &["app", "os"], "a device has only the fields `app` and `os`; remove this one");
        let mut part = |field| {
            let part = self.text(device, "/device", field)?;
            if part.chars().count() > LONGEST_DEVICE {
                let detail = format!("at most {LONGEST_DEVICE} characters");
                self.report(&pointer("/device", field), "field.too-long", detail);
            }
            Some(part.to_owned())
        };
        Some(Device { app: part("app"), os: part("os") })
    }
}
