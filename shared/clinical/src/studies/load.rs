//! Checking a study with its instruments.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::definition::{AlertSettings, Escalation, StudyDefinition, StudyInstrument};
use super::protocol::{Chosen, Protocol};
use super::study::{SCHEMA, Study};
use crate::document::{DefinitionFault, Faults, NotFound, pointer};
use crate::ids::{InstrumentVersion, RuleId, SiteId};
use crate::instruments::definition::{RuleDefinition, TextLicence};
use crate::instruments::{Catalog, Instrument};

/// As many bytes as a study's canonical form may have: it is one stored item, which takes 400 KB.
const LARGEST: usize = 350_000;
/// As many characters as an address may have under which an alert is opened.
const LONGEST_LINK: usize = 200;
const ALERT_ID: &str = "{alertId}";
/// How often a questionnaire may be due, in days.
const LONGEST_INTERVAL: u32 = 366;
const LONGEST_ESCALATION_MINUTES: u32 = 10_080;
const MOST_ESCALATIONS: u32 = 10;

impl Study {
    /// The study with its instruments, of which `own` are those that do not ship with the library, checked.
    /// `is_time_zone` says whether the IANA database has a name: the database is large, and who reads what was checked
    /// before it was stored does without.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each fault with its place and what to do.
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
        let catalog = Chosen::Study { for_all: Catalog::of(instruments), of_groups };
        // It is canonical JSON, so that reading it cannot fail.
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
        if bytes > LARGEST {
            let problem = format!("the study has {bytes} bytes, and may have {LARGEST}");
            self.faults.add(String::new(), "study.too-large", problem, "shorten names and texts, or split the study");
        }
        let study = study.definition();
        self.texts(study);
        self.sites(study);
        self.instruments(study);
        self.alerts(&study.alerts);
    }

    fn texts(&mut self, study: &StudyDefinition) {
        if study.languages.is_empty() {
            let advice = "name at least one, for example \"en\"";
            self.faults.add("/languages".to_owned(), "study.languages", "there is no language", advice);
        }
        for (index, language) in study.languages.iter().enumerate() {
            if study.languages[..index].contains(language) {
                let problem = format!("the language {language} is named before");
                self.faults.add(format!("/languages/{index}"), "study.languages", problem, "name each once");
            }
            if study.title.get(language).is_none_or(|title| title.trim().is_empty()) {
                let problem = format!("the study has no title in {language}");
                self.faults.add(pointer("/title", language), "study.title", problem, "add it");
            }
        }
    }

    fn sites(&mut self, study: &StudyDefinition) {
        if study.sites.is_empty() {
            self.faults.add("/sites".to_owned(), "site.none", "there is no site", "add at least one");
        }
        for (index, site) in study.sites.iter().enumerate() {
            let at = format!("/sites/{index}");
            if study.sites[..index].iter().any(|before| before.id == site.id) {
                let problem = format!("site {} is there before", site.id);
                self.faults.add(pointer(&at, "id"), "site.duplicate", problem, "give each site an id of its own");
            }
            if site.name.trim().is_empty() {
                self.faults.add(
                    pointer(&at, "name"),
                    "site.name",
                    "the name is empty",
                    "say what people call the site",
                );
            }
            if !(self.is_time_zone)(&site.time_zone) {
                let problem = format!("there is no time zone {:?}", site.time_zone);
                let advice = "write its name in the IANA database, for example Asia/Shanghai";
                self.faults.add(pointer(&at, "timeZone"), "site.time-zone", problem, advice);
            }
        }
    }

    fn instruments(&mut self, study: &StudyDefinition) {
        if study.instruments.is_empty() {
            self.faults.add("/instruments".to_owned(), "instrument.none", "there is no instrument", "add at least one");
        }
        let sites: BTreeSet<&SiteId> = study.sites.iter().map(|site| &site.id).collect();
        for (index, asked) in study.instruments.iter().enumerate() {
            let at = format!("/instruments/{index}");
            let same = |before: &StudyInstrument| before.id == asked.id && before.version == asked.version;
            if study.instruments[..index].iter().any(same) {
                let problem = format!("{} {} is there before", asked.id, asked.version);
                self.faults.add(at.clone(), "instrument.duplicate", problem, "name each version once");
            }
            for (place, site) in asked.sites.iter().enumerate() {
                if !sites.contains(site) {
                    let problem = format!("the study has no site {site}");
                    let at = format!("{at}/sites/{place}");
                    self.faults.add(at, "site.unknown", problem, "name a site of `sites`, or add it there");
                }
            }
            for (place, language) in asked.languages.iter().enumerate() {
                if !study.languages.contains(language) {
                    let problem = format!("the study is not run in {language}");
                    let at = format!("{at}/languages/{place}");
                    self.faults.add(at, "language.unknown", problem, "name a language of `languages`, or add it there");
                }
            }
            if asked.every_days.is_some_and(|days| !(1..=LONGEST_INTERVAL).contains(&days)) {
                let problem = format!("a questionnaire is due every 1 to {LONGEST_INTERVAL} days");
                let advice = "write a number of days, or leave it out";
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
                let problem = format!("rule {} is both changed and done without", rule.id);
                self.faults.add(at.clone(), "rule.without", problem, "keep one of the two");
            }
            if rules[..place].iter().any(|before| before.id == rule.id) {
                let problem = format!("rule {} is there before", rule.id);
                self.faults.add(at, "rule.duplicate", problem, "give each rule an id of its own");
            }
        }
    }

    fn alerts(&mut self, alerts: &AlertSettings) {
        if let Some(link) = &alerts.link {
            let begins = ["https://", "http://"].iter().any(|scheme| link.starts_with(scheme));
            let plain = link.bytes().all(|byte| byte.is_ascii_graphic());
            if !begins || !plain || !link.contains(ALERT_ID) || link.len() > LONGEST_LINK {
                let problem = "this is no address under which an alert can be opened";
                let advice = format!(
                    "write an address that begins with https://, contains {ALERT_ID}, and has at most {LONGEST_LINK} \
                     characters"
                );
                self.faults.add("/alerts/link".to_owned(), "alerts.link", problem, advice);
            }
        }
        if let Some(Escalation { after_minutes, limit }) = alerts.escalation {
            let at = "/alerts/escalation";
            if !(1..=LONGEST_ESCALATION_MINUTES).contains(&after_minutes) {
                let problem = format!("an alert escalates after 1 to {LONGEST_ESCALATION_MINUTES} minutes");
                self.faults.add(pointer(at, "afterMinutes"), "alerts.escalation", problem, "write a number of minutes");
            }
            if limit > MOST_ESCALATIONS {
                let problem = format!("an alert escalates at most {MOST_ESCALATIONS} times");
                self.faults.add(pointer(at, "limit"), "alerts.escalation", problem, "write a lower number; 0 is never");
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
            let advice = "name one that `cargo run -- instruments` lists, or put the study's own first: `cargo run -- \
                          instrument put FILE`";
            self.faults.add(pointer(at, "id"), "instrument.unknown", problem, advice);
        } else {
            let known: Vec<&str> = known.iter().map(InstrumentVersion::as_str).collect();
            let problem =
                format!("{} is not there in version {}, but in {}", asked.id, asked.version, known.join(", "));
            let advice = "name one of these, or put that version first: `cargo run -- instrument put FILE`";
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
                let problem = format!("{} has no texts in {language}, but in {}", asked.id, there.join(", "));
                let advice = "say in which of the study's languages it is asked: `languages` of this instrument";
                self.faults.add(at.to_owned(), "instrument.language", problem, advice);
            }
        }
    }

    /// The instrument under `rules`, each with its place in the study.
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
                    "name one of its rules, or none",
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
        // Its faults lie in the rules as they would be in force; here they are told where the study has them.
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

/// `rules`, each with its place in the list at `at`.
fn own_rules<'a>(rules: &'a [RuleDefinition], at: &str) -> Vec<(String, &'a RuleDefinition)> {
    rules.iter().enumerate().map(|(place, rule)| (format!("{at}/{place}"), rule)).collect()
}
