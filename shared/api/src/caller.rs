//! Who calls, and what they may see.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use clinical::ids::{GroupId, PatientId, SiteId, StudyId};
use invocation::{Environment, Principal};
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

use crate::{Problem, ProblemKind};

/// What the deployment's issuer writes before each scope, such as the `epro/` of a resource server of Cognito's; the
/// variable `SCOPE_PREFIX`. A process reads all tokens alike, so it is read once.
static SCOPE_PREFIX: LazyLock<String> =
    LazyLock::new(|| Environment::of_process().optional("SCOPE_PREFIX").unwrap_or_default().to_owned());

/// Who calls, by the claims of an access token whose signature API Gateway has checked. What the gateway checked by route
/// (the scope) is checked again: a route that somebody forgets to guard in the template must not open the door.
#[derive(Clone, Debug)]
pub struct Caller {
    principal: Principal,
    study: StudyId,
    role: Role,
    sites: BTreeSet<SiteId>,
    patient: Option<PatientId>,
    group: Option<GroupId>,
    scopes: BTreeSet<String>,
}

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers questionnaires; sees its own.
    Patient,
    /// Runs a site; sees its sites.
    Staff,
    /// Answers for patients at its sites; gets the alerts.
    Clinician,
    /// A program of the sponsor's.
    Service,
    /// Verifies for the sponsor what sites do; changes nothing.
    Monitor,
    /// Keeps a study's definition and its subjects.
    DataManager,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Patient, Self::Staff, Self::Clinician, Self::Service, Self::Monitor, Self::DataManager];

    fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Staff => "staff",
            Self::Clinician => "clinician",
            Self::Service => "service",
            Self::Monitor => "monitor",
            Self::DataManager => "data-manager",
        }
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(role: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|known| known.as_str() == role).ok_or(())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a token must allow for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(&'static str);

impl Scope {
    /// Send submissions.
    pub const SUBMISSIONS_WRITE: Self = Self("submissions:write");
    /// Read submissions.
    pub const SUBMISSIONS_READ: Self = Self("submissions:read");
    /// Read a site's counts.
    pub const COUNTS_READ: Self = Self("counts:read");
    /// Record a site's API calls.
    pub const COUNTS_WRITE: Self = Self("counts:write");
    /// Read a site's alerts.
    pub const ALERTS_READ: Self = Self("alerts:read");
    /// Acknowledge alerts.
    pub const ALERTS_WRITE: Self = Self("alerts:write");
    /// Read the instruments' definitions.
    pub const INSTRUMENTS_READ: Self = Self("instruments:read");
    /// Read a site's patients.
    pub const PATIENTS_READ: Self = Self("patients:read");
    /// Read a site's audit entries.
    pub const AUDIT_READ: Self = Self("audit:read");
    /// Read a site's reports, and who read and changed what.
    pub const REPORTS_READ: Self = Self("reports:read");
    /// Check batches of case-report rows.
    pub const FORMS_VALIDATE: Self = Self("forms:validate");
}

impl Caller {
    /// The caller of `request`.
    ///
    /// # Errors
    /// 401 if no authorizer let the request through, or the token is no access token or lacks what every token must have.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
            return Err(unauthenticated("no access token came with the request"));
        };
        match context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref()) {
            Some(jwt) => Self::from_claims(&jwt.claims, &SCOPE_PREFIX),
            None => Err(unauthenticated("no access token came with the request")),
        }
    }

    fn from_claims(claims: &HashMap<String, String>, scope_prefix: &str) -> Result<Self, Problem> {
        let claim = |name: &str| claims.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        // Cognito writes it; Entra ID, Auth0 and Keycloak do not, and their ID tokens are for another audience.
        if claims.get("token_use").is_some_and(|token_use| token_use != "access") {
            return Err(unauthenticated("the token is no access token"));
        }
        let principal = Principal::new(claim("sub").unwrap_or_default(), claim("iss").unwrap_or_default());
        let Some(principal) = principal else {
            return Err(unauthenticated("the token's sub or iss is missing, null or not printable ASCII"));
        };
        let study = claim("study").and_then(|study| study.parse().ok());
        let role = claim("role").and_then(|role| role.parse().ok());
        let (Some(study), Some(role)) = (study, role) else {
            return Err(unauthenticated("the token does not say which study and role it is for"));
        };
        let patient = claim("patient").map(str::parse).transpose();
        let sites = words(claim("sites").unwrap_or_default()).map(str::parse).collect();
        let group = claim("group").map(str::parse).transpose();
        let (Ok(patient), Ok(sites), Ok(group)) = (patient, sites, group) else {
            return Err(unauthenticated("the token's patient, sites or group cannot be read"));
        };
        if role == Role::Patient && patient.is_none() {
            return Err(unauthenticated("the token is a patient's, and does not say whose"));
        }
        let scopes = ["scope", "scp"].into_iter().flat_map(|name| words(claim(name).unwrap_or_default()));
        let scopes = scopes.map(|scope| scope.strip_prefix(scope_prefix).unwrap_or(scope).to_owned()).collect();
        Ok(Self { principal, study, role, sites, patient, group, scopes })
    }

    /// Lets the caller through who has `scope` and one of `roles`.
    ///
    /// # Errors
    /// 403 for everybody else.
    pub fn require(&self, scope: Scope, roles: &[Role]) -> Result<(), Problem> {
        self.require_one_of(&[scope], roles)
    }

    /// Lets the caller through who has one of `scopes` and one of `roles`.
    ///
    /// # Errors
    /// 403 for everybody else.
    pub fn require_one_of(&self, scopes: &[Scope], roles: &[Role]) -> Result<(), Problem> {
        if !scopes.iter().any(|scope| self.scopes.contains(scope.0)) {
            let names: Vec<&str> = scopes.iter().map(|scope| scope.0).collect();
            return Err(forbidden(format!("the token lacks the scope {}", names.join(" or "))));
        }
        if !roles.contains(&self.role) {
            return Err(forbidden(format!("this is not for the role {}", self.role)));
        }
        Ok(())
    }

    /// Who calls: the token's `sub` and `iss`.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The token's `sub`.
    pub fn sub(&self) -> &str {
        self.principal.sub()
    }

    /// The group of patients that the caller is of, where the study tells such apart.
    pub fn group(&self) -> Option<&GroupId> {
        self.group.as_ref()
    }

    /// The study that the token is for.
    pub fn study(&self) -> &StudyId {
        &self.study
    }

    /// What the caller is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The sites that the caller may see.
    pub fn sites(&self) -> &BTreeSet<SiteId> {
        &self.sites
    }

    /// The patient that the caller is.
    ///
    /// # Errors
    /// 403 if the token names none.
    pub fn patient(&self) -> Result<&PatientId, Problem> {
        self.patient.as_ref().ok_or_else(|| forbidden("the token names no patient"))
    }

    /// The one site that the caller belongs to.
    ///
    /// # Errors
    /// 403 if the token names none or several: which of them is meant is unclear.
    pub fn only_site(&self) -> Result<&SiteId, Problem> {
        match (self.sites.first(), self.sites.len()) {
            (Some(site), 1) => Ok(site),
            (_, count) => Err(forbidden(format!("the token must name one site, and names {count}"))),
        }
    }

    /// The site named `site`, if it is one of the caller's.
    ///
    /// # Errors
    /// 404 if it is not, whether there is such a site or not.
    pub fn own_site(&self, site: &str) -> Result<&SiteId, Problem> {
        self.sites
            .iter()
            .find(|own| own.as_str() == site)
            .ok_or_else(|| Problem::new(ProblemKind::NotFound, "no such site is open to this token"))
    }
}

/// The words of a claim: separated by spaces, in brackets where the token had a list, as API Gateway writes one.
fn words(claim: &str) -> impl Iterator<Item = &str> {
    let inner = claim.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(claim);
    inner.split([' ', ',']).filter(|word| !word.is_empty())
}

fn unauthenticated(detail: &'static str) -> Problem {
    Problem::new(ProblemKind::Unauthenticated, detail)
}

fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Forbidden, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [&str; 5] = [
        include_str!("../../../tests/tokens/cognito-user.json"),
        include_str!("../../../tests/tokens/cognito-machine.json"),
        include_str!("../../../tests/tokens/entra-id.json"),
        include_str!("../../../tests/tokens/auth0.json"),
        include_str!("../../../tests/tokens/keycloak.json"),
    ];

    fn caller(changes: &[(&str, &str)]) -> Result<Caller, Problem> {
        let mut claims = HashMap::from(
            [
                ("sub", "u-1"),
                ("iss", "https://issuer.example"),
                ("token_use", "access"),
                ("scope", "submissions:write submissions:read"),
                ("study", "DEMO"),
                ("sites", "S01"),
                ("patient", "P-001"),
                ("role", "patient"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        claims.extend(changes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Caller::from_claims(&claims, "epro/")
    }

    #[test]
    fn a_patient_is_known_by_its_token() {
        let caller = caller(&[]).unwrap();
        caller.require(Scope::SUBMISSIONS_WRITE, &[Role::Patient]).unwrap();
        let (sub, iss) = (caller.principal().sub(), caller.principal().iss());
        assert_eq!((sub, iss, caller.study().as_str()), ("u-1", "https://issuer.example", "DEMO"));
        assert_eq!(caller.patient().unwrap().as_str(), "P-001");
        assert_eq!(caller.only_site().unwrap().as_str(), "S01");
    }

    #[test]
    fn who_called_is_in_no_debug_text() {
        let text = format!("{:?}", caller(&[]).unwrap());
        assert!(!text.contains("u-1") && !text.contains("issuer.example"), "{text}");
    }

    #[test]
    fn a_token_that_is_not_clearly_an_access_token_is_refused() {
        let long = "x".repeat(256);
        let unclear = [
            ("sub", ""),
            ("sub", "<nil>"),
            ("sub", "null"),
            ("iss", ""),
            ("iss", "<nil>"),
            ("sub", "a b"),
            ("sub", "ä"),
            ("sub", "a\nb"),
            ("sub", &long),
            ("token_use", "id"),
            ("token_use", ""),
            ("study", ""),
            ("study", "a#b"),
            ("role", "admin"),
            ("role", ""),
            ("patient", "a b"),
            ("patient", ""),
            ("sites", "S01 S#2"),
        ];
        for change in unclear {
            assert_eq!(caller(&[change]).unwrap_err().kind(), ProblemKind::Unauthenticated, "{change:?}");
        }
    }

    #[test]
    fn scope_and_role_must_both_fit() {
        for change in [("scope", "submissions:read"), ("scope", "xsubmissions:write"), ("role", "staff")] {
            let refused = caller(&[change]).unwrap().require(Scope::SUBMISSIONS_WRITE, &[Role::Patient]);
            assert_eq!(refused.unwrap_err().kind(), ProblemKind::Forbidden, "{change:?}");
        }
    }

    #[test]
    fn a_scope_may_carry_the_deployments_prefix_and_no_other() {
        let writes = |claim, value| {
            let caller = caller(&[("scope", ""), (claim, value)]).unwrap();
            caller.require(Scope::SUBMISSIONS_WRITE, &[Role::Patient]).is_ok()
        };
        for claim in ["scope", "scp"] {
            for value in ["submissions:write", "openid epro/submissions:write", "[epro/submissions:write openid]"] {
                assert!(writes(claim, value), "{claim} {value}");
            }
            for value in ["other/submissions:write", "/submissions:write", "epro/epro/submissions:write", "epro/", ""] {
                assert!(!writes(claim, value), "{claim} {value}");
            }
        }
    }

    /// What the tokens of known issuers hold, and how API Gateway passes it. The local gateway is tested with the same.
    #[test]
    fn tokens_of_known_issuers_are_read() {
        for file in TOKENS {
            let known: serde_json::Value = serde_json::from_str(file).unwrap();
            let claims: HashMap<String, String> = serde_json::from_value(known["passed"].clone()).unwrap();
            let caller = Caller::from_claims(&claims, known["scopePrefix"].as_str().unwrap()).unwrap();
            let expected = &known["caller"];
            assert_eq!(caller.principal().sub(), known["token"]["sub"], "{}", known["issuer"]);
            assert_eq!(caller.principal().iss(), known["token"]["iss"]);
            assert_eq!(caller.study().as_str(), expected["study"]);
            assert_eq!(caller.role().to_string(), expected["role"]);
            let sites: Vec<&str> = caller.sites().iter().map(SiteId::as_str).collect();
            assert_eq!(serde_json::json!(sites), expected["sites"]);
            assert_eq!(caller.patient.as_ref().map(PatientId::as_str), expected["patient"].as_str());
            for scope in expected["scopes"].as_array().unwrap() {
                assert!(caller.scopes.contains(scope.as_str().unwrap()), "{scope}");
            }
            // The same token without its study is nobody's.
            let without = claims.into_iter().filter(|(name, _)| name != "study").collect();
            assert_eq!(Caller::from_claims(&without, "").unwrap_err().kind(), ProblemKind::Unauthenticated);
        }
    }

    #[test]
    fn lists_are_read_as_the_gateway_writes_them() {
        let caller = caller(&[("role", "staff"), ("sites", "[S01 S02]"), ("scope", "[counts:read]")]).unwrap();
        caller.require(Scope::COUNTS_READ, &[Role::Staff]).unwrap();
        assert_eq!(caller.sites().len(), 2);
        assert_eq!(caller.own_site("S02").unwrap().as_str(), "S02");
    }

    #[test]
    fn another_site_looks_as_if_it_were_not_there() {
        assert_eq!(caller(&[]).unwrap().own_site("S02").unwrap_err().kind(), ProblemKind::NotFound);
    }

    #[test]
    fn which_site_must_be_clear() {
        for sites in ["", "S01 S02"] {
            let refused = caller(&[("sites", sites)]).unwrap().only_site().unwrap_err();
            assert_eq!(refused.kind(), ProblemKind::Forbidden);
        }
    }
}
