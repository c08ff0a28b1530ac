//! A study: which sites it has, which instruments it asks, and what it says otherwise than they do about alerts.
//!
//! A study is versioned data, as an instrument is, in the format of `studies/study.schema.json`. A version once put in
//! force never changes; another version takes its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::bounds;
use crate::canonical::{canonical, sha256};
use crate::catalog::{Catalog, NotFound};
use crate::definition::{RuleDefinition, TextLicence, Texts};
use crate::finding::pointer;
use crate::ids::{GroupId, InstrumentId, InstrumentVersion, RuleId, SiteId, StudyId, StudyVersion};
use crate::instrument::{DefinitionFault, Instrument};
use crate::load;

/// As many bytes as a study's canonical form may have: it is one stored item, which takes 400 KB.
const LARGEST: usize = 350_000;
/// As many characters as an address may have under which an alert is opened.
const LONGEST_LINK: usize = 200;
const ALERT_ID: &str = "{alertId}";
/// How often a questionnaire may be due, in days.
const LONGEST_INTERVAL: u32 = 366;
const LONGEST_ESCALATION_MINUTES: u32 = 10_080;
const MOST_ESCALATIONS: u32 = 10;

/// A study as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyDefinition {
    /// Where the JSON Schema of this format lies; for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The study's id, as tokens name it.
    pub id: StudyId,
    /// The version of this data. A version once put in force never changes.
    pub version: StudyVersion,
    /// The study's name.
    pub title: Texts,
    /// The languages that it is run in, as BCP 47 tags.
    pub languages: Vec<String>,
    /// The day on which its data begin, in the patient's local time: what was completed before is kept, scored and
    /// evaluated, and is nobody's baseline. Without it every submission may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_on: Option<StartDate>,
    /// Whether patients see their own scores.
    #[serde(default, skip_serializing_if = "is_false")]
    pub patients_see_scores: bool,
    /// Whether every subject enrols through the app before any case-report row of theirs is entered, so that a subject
    /// who has sent nothing is not known.
    #[serde(default, skip_serializing_if = "is_false")]
    pub subjects_enrol_first: bool,
    /// The sites.
    pub sites: Vec<Site>,
    /// The instruments that it asks, each in the versions that it takes.
    pub instruments: Vec<StudyInstrument>,
    /// What it says of alerts.
    #[serde(default, skip_serializing_if = "AlertSettings::is_default")]
    pub alerts: AlertSettings,
}

/// The day on which a study's data begin, written `2026-11-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartDate(Date);

const START_DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

impl<'de> Deserialize<'de> for StartDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Date::parse(&text, START_DATE)
            .map(Self)
            .map_err(|_| de::Error::custom("a day is written as year, month and day, for example 2026-11-01"))
    }
}

impl Serialize for StartDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Site {
    /// The site's id, as tokens name it.
    pub id: SiteId,
    /// What people call it.
    pub name: String,
    /// Its time zone, by its IANA name; days of reports are days there.
    pub time_zone: String,
}

/// An instrument that a study asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyInstrument {
    /// The instrument.
    pub id: InstrumentId,
    /// The version. An earlier one stays in the list for as long as phones may still hold answers to it.
    pub version: InstrumentVersion,
    /// The sites that ask it; all, where it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteId>,
    /// The languages that it is asked in; those of the study, where it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Every how many days a patient is to answer it; whenever there is occasion, where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_days: Option<u32>,
    /// Alert rules of the study's own: in the place of the instrument's of the same id, or added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDefinition>,
    /// Alert rules for the patients of a group, as their tokens name it: in the place of those above of the same id, or
    /// added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_group: BTreeMap<GroupId, Vec<RuleDefinition>>,
    /// The instrument's alert rules that the study does without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<RuleId>,
}

/// What a study says of alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertSettings {
    /// Where a clinician opens an alert: an address with `{alertId}` in it; that of the installation, where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// When a critical alert that nobody acknowledges is published again; as the installation does, where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
}

/// When a critical alert that nobody acknowledges is published again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Escalation {
    /// After how many minutes, and again after as many: 1 to 10,080, a week.
    pub after_minutes: u32,
    /// How many times: 0 (never) to 10.
    pub limit: u32,
}

/// A study as it was read. Immutable; the content hash identifies it. With its instruments it is a [`Protocol`], and
/// checked.
#[derive(Debug)]
pub struct Study {
    definition: StudyDefinition,
    json: String,
    hash: String,
}

impl Study {
    /// Reads a study.
    ///
    /// # Errors
    ///
    /// The first fault of its form, with its place and what to do.
    pub fn parse(json: &str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, document) = load::read(json, &bounds::STUDY)?;
        let json = canonical(&document);
        let hash = sha256(&json);
        Ok(Self { definition, json, hash })
    }

    /// The study's id.
    pub fn id(&self) -> &StudyId {
        &self.definition.id
    }

    /// The version of its data.
    pub fn version(&self) -> &StudyVersion {
        &self.definition.version
    }

    /// The SHA-256, in hexadecimal, of its canonical form.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Its canonical form: its JSON as it was read, with keys sorted and no white space.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The study as it is written.
    pub fn definition(&self) -> &StudyDefinition {
        &self.definition
    }

    /// The site `id`.
    pub fn site(&self, id: &SiteId) -> Option<&Site> {
        self.definition.sites.iter().find(|site| site.id == *id)
    }

    /// Its instruments that do not ship with the library.
    pub fn own_instruments(&self) -> impl Iterator<Item = (&InstrumentId, &InstrumentVersion)> {
        let named = self.definition.instruments.iter().map(|asked| (&asked.id, &asked.version));
        named.filter(|(id, version)| Catalog::shipped().find(id, version).is_err())
    }

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
        let mut checks = Checks { faults: Vec::new(), is_time_zone };
        checks.study(&self);
        let (mut instruments, mut of_groups) = (Vec::new(), HashMap::new());
        for (index, asked) in self.definition.instruments.iter().enumerate() {
            let at = format!("/instruments/{index}");
            let Some(instrument) = checks.instrument(asked, &own, &at) else { continue };
            checks.languages(&self.definition, asked, instrument, &at);
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
        let document = serde_json::from_str(&self.json).unwrap_or_default();
        checks.faults.extend(bounds::STUDY.beyond_bounds(&document, &checks.faults));
        checks.done(Protocol { study: Some(self), catalog })
    }
}

/// What is in force for the patients of a study: which sites, which instruments under which rules.
///
/// A study of which no data is stored is run all the same: with every shipped instrument under its own rules, at
/// whatever sites the tokens name.
#[derive(Debug)]
pub struct Protocol {
    study: Option<Study>,
    catalog: Chosen,
}

#[derive(Debug)]
enum Chosen {
    Shipped,
    Study {
        for_all: Catalog,
        /// Those that have rules of their own for a group.
        of_groups: HashMap<(InstrumentId, InstrumentVersion, GroupId), Arc<Instrument>>,
    },
}

impl Protocol {
    /// What is in force for a study of which no data is stored.
    pub fn of_no_study() -> Self {
        Self { study: None, catalog: Chosen::Shipped }
    }

    /// The study's data; `None` if none is stored.
    pub fn study(&self) -> Option<&Study> {
        self.study.as_ref()
    }

    /// Its instruments, with the alert rules that are in force.
    pub fn catalog(&self) -> &Catalog {
        match &self.catalog {
            Chosen::Shipped => Catalog::shipped(),
            Chosen::Study { for_all, .. } => for_all,
        }
    }

    /// The instrument `id` in `version` as it is scored for the patients of `group`, under the rules that are in force for
    /// them; for those of none, and of one that neither the study nor the instrument tells apart, as for all.
    ///
    /// # Errors
    ///
    /// There is no such instrument in the study, or not in this version.
    pub fn instrument_for(
        &self,
        id: &InstrumentId,
        version: &InstrumentVersion,
        group: Option<&GroupId>,
    ) -> Result<&Arc<Instrument>, NotFound> {
        let of_group = match (&self.catalog, group) {
            (Chosen::Study { of_groups, .. }, Some(group)) => {
                of_groups.get(&(id.clone(), version.clone(), group.clone()))
            }
            _ => None,
        };
        of_group.map_or_else(|| self.catalog().find(id, version), Ok).map(|instrument| instrument.for_group(group))
    }

    /// Whether `site` is one of its sites.
    pub fn has_site(&self, site: &SiteId) -> bool {
        self.study.as_ref().is_none_or(|study| study.site(site).is_some())
    }

    /// Whether `site` asks the instrument `id` in `version`, which is one of the catalog.
    pub fn asks(&self, site: &SiteId, id: &InstrumentId, version: &InstrumentVersion) -> bool {
        self.instrument(id, version).is_none_or(|asked| asked.sites.is_empty() || asked.sites.contains(site))
    }

    /// What the study says of the instrument `id` in `version`.
    pub fn instrument(&self, id: &InstrumentId, version: &InstrumentVersion) -> Option<&StudyInstrument> {
        let mut asked = self.study.as_ref()?.definition.instruments.iter();
        asked.find(|asked| asked.id == *id && asked.version == *version)
    }

    /// Every how many days a patient is to answer the instrument `id`, in whichever version; `None` if that is not said.
    pub fn every_days(&self, id: &InstrumentId) -> Option<u32> {
        let asked = self.study.as_ref()?.definition.instruments.iter().filter(|asked| asked.id == *id);
        asked.max_by_key(|asked| &asked.version)?.every_days
    }

    /// Whether what was `completed` at a time, with the patient's offset, belongs to the study's data: a baseline is looked
    /// for only there.
    pub fn has_begun(&self, completed: OffsetDateTime) -> bool {
        let starts_on = self.study.as_ref().and_then(|study| study.definition.starts_on);
        starts_on.is_none_or(|StartDate(first_day)| completed.date() >= first_day)
    }

    /// Whether patients see their own scores.
    pub fn patients_see_scores(&self) -> bool {
        self.study.as_ref().is_some_and(|study| study.definition.patients_see_scores)
    }

    /// Whether a subject who has sent nothing is not known.
    pub fn subjects_enrol_first(&self) -> bool {
        self.study.as_ref().is_some_and(|study| study.definition.subjects_enrol_first)
    }

    /// Where a clinician opens an alert, where the study says that.
    pub fn alert_link(&self) -> Option<&str> {
        self.study.as_ref()?.definition.alerts.link.as_deref()
    }

    /// When a critical alert that nobody acknowledges is published again, where the study says that.
    pub fn escalation(&self) -> Option<Escalation> {
        self.study.as_ref()?.definition.alerts.escalation
    }
}

struct Checks {
    faults: Vec<DefinitionFault>,
    is_time_zone: fn(&str) -> bool,
}

impl Checks {
    fn done<T>(self, checked: T) -> Result<T, Vec<DefinitionFault>> {
        if self.faults.is_empty() { Ok(checked) } else { Err(self.faults) }
    }

    fn fault(&mut self, pointer: String, code: &'static str, problem: impl Into<String>, advice: impl Into<String>) {
        let (problem, advice) = (problem.into(), advice.into());
        self.faults.push(DefinitionFault { file: None, pointer, code, problem, advice });
    }

    fn study(&mut self, Study { definition: study, json, .. }: &Study) {
        let bytes = json.len();
        if bytes > LARGEST {
            let problem = format!("the study has {bytes} bytes, and may have {LARGEST}");
            self.fault(String::new(), "study.too-large", problem, "shorten names and texts, or split the study");
        }
        self.texts(study);
        self.sites(study);
        self.instruments(study);
        self.alerts(&study.alerts);
    }

    fn texts(&mut self, study: &StudyDefinition) {
        if study.languages.is_empty() {
            let advice = "name at least one, for example \"en\"";
            self.fault("/languages".to_owned(), "study.languages", "there is no language", advice);
        }
        for (index, language) in study.languages.iter().enumerate() {
            if study.languages[..index].contains(language) {
                let problem = format!("the language {language} is named before");
                self.fault(format!("/languages/{index}"), "study.languages", problem, "name each once");
            }
            if study.title.get(language).is_none_or(|title| title.trim().is_empty()) {
                let problem = format!("the study has no title in {language}");
                self.fault(pointer("/title", language), "study.title", problem, "add it");
            }
        }
    }

    fn sites(&mut self, study: &StudyDefinition) {
        if study.sites.is_empty() {
            self.fault("/sites".to_owned(), "site.none", "there is no site", "add at least one");
        }
        for (index, site) in study.sites.iter().enumerate() {
            let at = format!("/sites/{index}");
            if study.sites[..index].iter().any(|before| before.id == site.id) {
                let problem = format!("site {} is there before", site.id);
                self.fault(pointer(&at, "id"), "site.duplicate", problem, "give each site an id of its own");
            }
            if site.name.trim().is_empty() {
                self.fault(pointer(&at, "name"), "site.name", "the name is empty", "say what people call the site");
            }
            if !(self.is_time_zone)(&site.time_zone) {
                let problem = format!("there is no time zone {:?}", site.time_zone);
                let advice = "write its name in the IANA database, for example Asia/Shanghai";
                self.fault(pointer(&at, "timeZone"), "site.time-zone", problem, advice);
            }
        }
    }

    fn instruments(&mut self, study: &StudyDefinition) {
        if study.instruments.is_empty() {
            self.fault("/instruments".to_owned(), "instrument.none", "there is no instrument", "add at least one");
        }
        let sites: BTreeSet<&SiteId> = study.sites.iter().map(|site| &site.id).collect();
        for (index, asked) in study.instruments.iter().enumerate() {
            let at = format!("/instruments/{index}");
            let same = |before: &StudyInstrument| before.id == asked.id && before.version == asked.version;
            if study.instruments[..index].iter().any(same) {
                let problem = format!("{} {} is there before", asked.id, asked.version);
                self.fault(at.clone(), "instrument.duplicate", problem, "name each version once");
            }
            for (place, site) in asked.sites.iter().enumerate() {
                if !sites.contains(site) {
                    let problem = format!("the study has no site {site}");
                    let at = format!("{at}/sites/{place}");
                    self.fault(at, "site.unknown", problem, "name a site of `sites`, or add it there");
                }
            }
            for (place, language) in asked.languages.iter().enumerate() {
                if !study.languages.contains(language) {
                    let problem = format!("the study is not run in {language}");
                    let at = format!("{at}/languages/{place}");
                    self.fault(at, "language.unknown", problem, "name a language of `languages`, or add it there");
                }
            }
            if asked.every_days.is_some_and(|days| !(1..=LONGEST_INTERVAL).contains(&days)) {
                let problem = format!("a questionnaire is due every 1 to {LONGEST_INTERVAL} days");
                let advice = "write a number of days, or leave it out";
                self.fault(pointer(&at, "everyDays"), "instrument.interval", problem, advice);
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
                self.fault(at.clone(), "rule.without", problem, "keep one of the two");
            }
            if rules[..place].iter().any(|before| before.id == rule.id) {
                let problem = format!("rule {} is there before", rule.id);
                self.fault(at, "rule.duplicate", problem, "give each rule an id of its own");
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
                self.fault("/alerts/link".to_owned(), "alerts.link", problem, advice);
            }
        }
        if let Some(Escalation { after_minutes, limit }) = alerts.escalation {
            let at = "/alerts/escalation";
            if !(1..=LONGEST_ESCALATION_MINUTES).contains(&after_minutes) {
                let problem = format!("an alert escalates after 1 to {LONGEST_ESCALATION_MINUTES} minutes");
                self.fault(pointer(at, "afterMinutes"), "alerts.escalation", problem, "write a number of minutes");
            }
            if limit > MOST_ESCALATIONS {
                let problem = format!("an alert escalates at most {MOST_ESCALATIONS} times");
                self.fault(pointer(at, "limit"), "alerts.escalation", problem, "write a lower number; 0 is never");
            }
        }
    }

    fn instrument<'a>(&mut self, asked: &StudyInstrument, own: &'a Catalog, at: &str) -> Option<&'a Arc<Instrument>> {
        let mut known = BTreeSet::new();
        for catalog in [Catalog::shipped(), own] {
            match catalog.find(&asked.id, &asked.version) {
                Ok(instrument) => return Some(instrument),
                Err(NotFound::Instrument) => {}
                Err(NotFound::Version { known: versions }) => known.extend(versions),
            }
        }
        if known.is_empty() {
            let problem = format!("there is no instrument {}", asked.id);
            let advice = "name one that `cargo run -- instruments` lists, or put the study's own first: `cargo run -- \
                          instrument put FILE`";
            self.fault(pointer(at, "id"), "instrument.unknown", problem, advice);
        } else {
            let known: Vec<&str> = known.iter().map(InstrumentVersion::as_str).collect();
            let problem =
                format!("{} is not there in version {}, but in {}", asked.id, asked.version, known.join(", "));
            let advice = "name one of these, or put that version first: `cargo run -- instrument put FILE`";
            self.fault(pointer(at, "version"), "instrument.version-unknown", problem, advice);
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
                self.fault(at.to_owned(), "instrument.language", problem, advice);
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
                self.fault(format!("{at}/without/{place}"), "rule.unknown", problem, "name one of its rules, or none");
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

impl AlertSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}
