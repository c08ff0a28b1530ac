//! Validation of a study with its instruments.

mod alerts;
mod overlap;
mod schedules;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::definition::{StudyDefinition, StudyInstrument};
use super::protocol::{InForce, Protocol};
use super::study::{SCHEMA, Study};
use crate::document::{DefinitionFault, Faults, NotFound, pointer};
use crate::ids::{InstrumentVersion, RuleId, SiteId};
use crate::instruments::definition::{RuleDefinition, TextLicence};
use crate::instruments::{Catalog, Instrument};

/// The maximum size of a study's canonical form: it is stored as one DynamoDB item, which holds at most 400 KB.
const MAX_BYTES: usize = 350_000;
/// The maximum interval at which a questionnaire is due, in days.
const MAX_INTERVAL_DAYS: u32 = 366;

impl Study {
    /// Validates the study with its instruments, of which `own` are those that do not ship with the library.
    /// `is_time_zone` returns whether the IANA database has a name. It is a parameter because the database is large,
    /// and readers of stored studies, which are validated already, do not need it.
    ///
    /// # Errors
    ///
    /// All validation errors, each with its JSON pointer and a correction.
    pub fn with_instruments(
        self,
        own: &[Arc<Instrument>],
        is_time_zone: fn(&str) -> bool,
    ) -> Result<Protocol, Vec<DefinitionFault>> {
        let own = Catalog::of(own.to_vec());
        let mut checks = Checks { faults: Faults::default(), is_time_zone };
        checks.study(&self);
        let (mut instruments, mut of_groups) = (Vec::new(), HashMap::new());
        for (index, asked) in self.definition().instruments.iter().enumerate() {
            let at = format!("/instruments/{index}");
            let Some(instrument) = checks.instrument(asked, &own, &at) else { continue };
            checks.languages(self.definition(), asked, instrument, &at);
            let rules = own_rules(&asked.rules, &format!("{at}/rules"));
            let Some(for_all) = checks.under_rules(asked, instrument, &rules, &at) else { continue };
            instruments.push(for_all);
            for (group, own) in &asked.by_group {
                let own = own_rules(own, &pointer(&format!("{at}/byGroup"), group));
                let same = |rule: &RuleDefinition| own.iter().find(|(_, own)| own.id == rule.id);
                let changed = rules.iter().map(|rule| same(rule.1).unwrap_or(rule));
                let added = own.iter().filter(|(_, own)| rules.iter().all(|(_, rule)| own.id != rule.id));
                let rules: Vec<_> = changed.chain(added).cloned().collect();
                if let Some(instrument) = checks.under_rules(asked, instrument, &rules, &at) {
                    of_groups.insert((asked.id.clone(), asked.version.clone(), group.clone()), instrument);
                }
            }
        }
        let catalog = InForce::Study { for_all: Catalog::of(instruments), of_groups };
        // It is canonical JSON, so that parsing it cannot fail.
        let document = serde_json::from_str(self.json()).unwrap_or_default();
        let beyond = SCHEMA.beyond_bounds(&document, checks.faults.as_ref());
        checks.faults.extend(beyond);
        checks.faults.or(Protocol { study: Some(self), catalog })
    }
}

struct Checks {
    faults: Faults,
    is_time_zone: fn(&str) -> bool,
}

impl Checks {
    fn study(&mut self, study: &Study) {
        let bytes = study.json().len();
        if bytes > MAX_BYTES {
            let problem = format!("the study has {bytes} bytes, and at most {MAX_BYTES}");
            self.faults.add(String::new(), "study.too-large", problem, "shorten names and texts, or split the study");
        }
        let study = study.definition();
        self.texts(study);
        self.sites(study);
        self.instruments(study);
        self.schedules(study);
        self.alerts(study);
    }

    fn texts(&mut self, study: &StudyDefinition) {
        if study.languages.is_empty() {
            let advice = "name at least one, for example \"en\"";
            self.faults.add("/languages".to_owned(), "study.languages", "the study has no language", advice);
        }
        for (index, language) in study.languages.iter().enumerate() {
            if study.languages[..index].contains(language) {
                let problem = format!("the language {language} is listed twice");
                self.faults.add(format!("/languages/{index}"), "study.languages", problem, "list each language once");
            }
            if study.title.get(language).is_none_or(|title| title.trim().is_empty()) {
                let problem = format!("the study has no title in {language}");
                self.faults.add(pointer("/title", language), "study.title", problem, "add a title in this language");
            }
        }
    }

    fn sites(&mut self, study: &StudyDefinition) {
        if study.sites.is_empty() {
            self.faults.add("/sites".to_owned(), "site.none", "the study has no site", "add at least one");
        }
        for (index, site) in study.sites.iter().enumerate() {
            let at = format!("/sites/{index}");
            if study.sites[..index].iter().any(|before| before.id == site.id) {
                let problem = format!("the site id {} is used twice", site.id);
                self.faults.add(pointer(&at, "id"), "site.duplicate", problem, "give each site a unique id");
            }
            if site.name.trim().is_empty() {
                self.faults.add(
                    pointer(&at, "name"),
                    "site.name",
                    "the name is empty",
                    "write the display name of the site",
                );
            }
            if !(self.is_time_zone)(&site.time_zone) {
                let problem = format!("there is no time zone {:?}", site.time_zone);
                let advice = "write a name of the IANA time zone database, for example Asia/Shanghai";
                self.faults.add(pointer(&at, "timeZone"), "site.time-zone", problem, advice);
            }
        }
    }

    fn instruments(&mut self, study: &StudyDefinition) {
        if study.instruments.is_empty() {
            self.faults.add(
                "/instruments".to_owned(),
                "instrument.none",
                "the study has no instrument",
                "add at least one",
            );
        }
        let sites: BTreeSet<&SiteId> = study.sites.iter().map(|site| &site.id).collect();
        for (index, asked) in study.instruments.iter().enumerate() {
            let at = format!("/instruments/{index}");
            let same = |before: &StudyInstrument| before.id == asked.id && before.version == asked.version;
            if study.instruments[..index].iter().any(same) {
                let problem = format!("{} {} is listed twice", asked.id, asked.version);
                self.faults.add(at.clone(), "instrument.duplicate", problem, "list each version once");
            }
            for (place, site) in asked.sites.iter().enumerate() {
                if !sites.contains(site) {
                    let problem = format!("the study has no site {site}");
                    let at = format!("{at}/sites/{place}");
                    self.faults.add(
                        at,
                        "site.unknown",
                        problem,
                        "use the id of a site in `sites`, or add the site there",
                    );
                }
            }
            for (place, language) in asked.languages.iter().enumerate() {
                if !study.languages.contains(language) {
                    let problem = format!("the study does not have the language {language}");
                    let at = format!("{at}/languages/{place}");
                    self.faults.add(
                        at,
                        "language.unknown",
                        problem,
                        "use a language of the study's `languages`, or add it there",
                    );
                }
            }
            if asked.every_days.is_some_and(|days| !(1..=MAX_INTERVAL_DAYS).contains(&days)) {
                let problem = format!("a questionnaire is due every 1 to {MAX_INTERVAL_DAYS} days");
                let advice = "write a number of days, or remove it";
                self.faults.add(pointer(&at, "everyDays"), "instrument.interval", problem, advice);
            }
            self.rule_ids(&asked.rules, &asked.without, &format!("{at}/rules"));
            for (group, rules) in &asked.by_group {
                self.rule_ids(rules, &[], &pointer(&format!("{at}/byGroup"), group));
            }
        }
    }

    fn rule_ids(&mut self, rules: &[RuleDefinition], without: &[RuleId], at: &str) {
        for (place, rule) in rules.iter().enumerate() {
            let at = format!("{at}/{place}/id");
            if without.contains(&rule.id) {
                let problem = format!("rule {} is both replaced and removed", rule.id);
                self.faults.add(at.clone(), "rule.without", problem, "keep it in either `rules` or `without`");
            }
            if rules[..place].iter().any(|before| before.id == rule.id) {
                let problem = format!("the rule id {} is used twice", rule.id);
                self.faults.add(at, "rule.duplicate", problem, "give each rule a unique id");
            }
        }
    }

    fn instrument<'a>(&mut self, asked: &StudyInstrument, own: &'a Catalog, at: &str) -> Option<&'a Arc<Instrument>> {
        let mut known = BTreeSet::new();
        for catalog in [Catalog::shipped(), own] {
            match catalog.find(&asked.id, &asked.version) {
                Ok(instrument) => return Some(instrument),
                Err(NotFound::Id) => {}
                Err(NotFound::Version { known: versions }) => known.extend(versions),
            }
        }
        if known.is_empty() {
            let problem = format!("there is no instrument {}", asked.id);
            let advice = "use one that `cargo run -- instruments` lists, or put the study's own first: `cargo run -- \
                          instrument put FILE`";
            self.faults.add(pointer(at, "id"), "instrument.unknown", problem, advice);
        } else {
            let known: Vec<&str> = known.iter().map(InstrumentVersion::as_str).collect();
            let problem = format!("{} has no version {}, only {}", asked.id, asked.version, known.join(", "));
            let advice = "use one of these, or put that version first: `cargo run -- instrument put FILE`";
            self.faults.add(pointer(at, "version"), "instrument.version-unknown", problem, advice);
        }
        None
    }

    fn languages(&mut self, study: &StudyDefinition, asked: &StudyInstrument, instrument: &Instrument, at: &str) {
        if instrument.definition().licence.texts == TextLicence::NotIncluded {
            return;
        }
        let languages = if asked.languages.is_empty() { &study.languages } else { &asked.languages };
        for language in languages.iter().filter(|language| study.languages.contains(language)) {
            if !instrument.languages().any(|there| there == language) {
                let there: Vec<&str> = instrument.languages().collect();
                let problem = format!("{} has no texts in {language}, only in {}", asked.id, there.join(", "));
                let advice = "list those of the study's languages that the instrument has, in its `languages`";
                self.faults.add(at.to_owned(), "instrument.language", problem, advice);
            }
        }
    }

    /// The instrument under `rules`, each with its JSON pointer in the study.
    fn under_rules(
        &mut self,
        asked: &StudyInstrument,
        instrument: &Arc<Instrument>,
        rules: &[(String, &RuleDefinition)],
        at: &str,
    ) -> Option<Arc<Instrument>> {
        let own = &instrument.definition().rules;
        for (place, rule) in asked.without.iter().enumerate() {
            if !own.iter().any(|own| own.id == *rule) {
                let problem = format!("{} has no rule {rule}", asked.id);
                self.faults.add(
                    format!("{at}/without/{place}"),
                    "rule.unknown",
                    problem,
                    "use the id of one of its rules, or remove the entry",
                );
                return None;
            }
        }
        if rules.is_empty() && asked.without.is_empty() {
            return Some(Arc::clone(instrument));
        }
        let written: Vec<RuleDefinition> = rules.iter().map(|(_, rule)| (*rule).clone()).collect();
        let faults = match instrument.with_rules(&written, &asked.without) {
            Ok(instrument) => return Some(Arc::new(instrument)),
            Err(faults) => faults,
        };
        // The pointers of these faults are into the resulting list of rules; they are mapped to where the study has
        // them.
        let kept: Vec<&RuleId> = own.iter().map(|rule| &rule.id).filter(|rule| !asked.without.contains(rule)).collect();
        let added = written.iter().map(|rule| &rule.id).filter(|rule| !kept.contains(rule));
        let in_force: Vec<&RuleId> = kept.iter().copied().chain(added).collect();
        for fault in faults {
            let place = fault.pointer.strip_prefix("/rules/").and_then(|rest| {
                let (index, rest) = rest.split_once('/').unwrap_or((rest, ""));
                let rule = in_force.get(index.parse::<usize>().ok()?)?;
                let (at, _) = rules.iter().find(|(_, own)| own.id == **rule)?;
                Some(format!("{at}/{rest}").trim_end_matches('/').to_owned())
            });
            self.faults.push(DefinitionFault { pointer: place.unwrap_or_else(|| at.to_owned()), ..fault });
        }
        None
    }
}

/// `rules`, each with its JSON pointer in the list at `at`.
fn own_rules<'a>(rules: &'a [RuleDefinition], at: &str) -> Vec<(String, &'a RuleDefinition)> {
    rules.iter().enumerate().map(|(place, rule)| (format!("{at}/{place}"), rule)).collect()
}
