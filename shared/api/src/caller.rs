//! Callers: their identity, role, scopes and sites.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::LazyLock;

use clinical::ids::{GroupId, PatientId, SiteId, StudyId};
use invocation::{Environment, Principal};
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

use crate::access::Access;
use crate::{Problem, ProblemKind};

/// The prefix of scopes in the tokens of the deployment's issuer, such as `epro/` of a Cognito resource server, from
/// the variable `SCOPE_PREFIX`. It is the same for all tokens, so it is read once.
static SCOPE_PREFIX: LazyLock<String> =
    LazyLock::new(|| Environment::of_process().optional("SCOPE_PREFIX").unwrap_or_default().to_owned());

/// The caller of a request, from the claims of an access token whose signature API Gateway has verified. The scope,
/// which the gateway checks by route, is checked again, so that a route without a guard in the template is not open.
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

/// The role of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers questionnaires; sees its own submissions.
    Patient,
    /// Runs a site; sees its sites.
    Staff,
    /// Is responsible for the patients of its sites; acknowledges alerts.
    Clinician,
    /// A program of the sponsor.
    Service,
    /// Verifies the work of sites for the sponsor; changes nothing.
    Monitor,
    /// Maintains a study's definition and its subjects.
    DataManager,
}

impl Role {
    /// All roles.
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

impl Role {
    /// The role that the claim `role` names.
    fn of_claim(role: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The scope that a token must have for a route.
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
    /// Acknowledge and snooze alerts.
    pub const ALERTS_WRITE: Self = Self("alerts:write");
    /// Read the instruments' definitions.
    pub const INSTRUMENTS_READ: Self = Self("instruments:read");
    /// Read a site's patients.
    pub const PATIENTS_READ: Self = Self("patients:read");
    /// Enrol, transfer and withdraw patients.
    pub const PATIENTS_WRITE: Self = Self("patients:write");
    /// Read what is due.
    pub const DUE_READ: Self = Self("due:read");
    /// Read a site's audit entries.
    pub const AUDIT_READ: Self = Self("audit:read");
    /// Read a site's reports and audit entries.
    pub const REPORTS_READ: Self = Self("reports:read");
    /// Validate batches of case-report rows.
    pub const FORMS_VALIDATE: Self = Self("forms:validate");
    /// Put studies and instruments in force.
    pub const STUDIES_WRITE: Self = Self("studies:write");
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Caller {
    /// The caller of `request`, who has [`Access`] to its route.
    ///
    /// # Errors
    /// 401 if no authorizer passed the request, or if the token is not an access token or lacks a required claim; 403 if
    /// its scope or its role does not permit the route.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
            return Err(unauthenticated("the request has no access token; send one as `Authorization: Bearer …`"));
        };
        let Some(jwt) = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref()) else {
            return Err(unauthenticated("the request has no access token; send one as `Authorization: Bearer …`"));
        };
        let caller = Self::from_claims(&jwt.claims, &SCOPE_PREFIX)?;
        caller.use_route(context.route_key.as_deref().unwrap_or_default())?;
        Ok(caller)
    }

    /// Requires the [`Access`] to `route` of the caller.
    fn use_route(&self, route: &str) -> Result<(), Problem> {
        let Some(access) = Access::to(route) else { return Err(forbidden("no role may use this route")) };
        self.require_scope(access.scopes)?;
        self.require_role(access.roles())
    }

    fn from_claims(claims: &HashMap<String, String>, scope_prefix: &str) -> Result<Self, Problem> {
        let claim = |name: &str| claims.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        // Cognito sets it; Entra ID, Auth0 and Keycloak do not, and their ID tokens are for another audience.
        if claims.get("token_use").is_some_and(|token_use| token_use != "access") {
            return Err(unauthenticated("the token is not an access token; send the access token"));
        }
        let principal = Principal::new(claim("sub").unwrap_or_default(), claim("iss").unwrap_or_default());
        let Some(principal) = principal else {
            return Err(unauthenticated("the token's claims `sub` or `iss` are missing, null or not printable ASCII"));
        };
        let study = claim("study").and_then(|study| study.parse().ok());
        let role = claim("role").and_then(Role::of_claim);
        let (Some(study), Some(role)) = (study, role) else {
            return Err(unauthenticated("the token's claims `study` and `role` are missing or unknown"));
        };
        let patient = claim("patient").map(str::parse).transpose();
        let sites = values(claim("sites").unwrap_or_default()).map(str::parse).collect();
        let group = claim("group").map(str::parse).transpose();
        let (Ok(patient), Ok(sites), Ok(group)) = (patient, sites, group) else {
            return Err(unauthenticated("the token's claims `patient`, `sites` or `group` are invalid"));
        };
        if role == Role::Patient && patient.is_none() {
            return Err(unauthenticated("the token has the role patient but no claim `patient`"));
        }
        let scopes = ["scope", "scp"].into_iter().flat_map(|name| values(claim(name).unwrap_or_default()));
        let scopes = scopes.map(|scope| scope.strip_prefix(scope_prefix).unwrap_or(scope).to_owned()).collect();
        Ok(Self { principal, study, role, sites, patient, group, scopes })
    }

    fn require_scope(&self, scopes: &[Scope]) -> Result<(), Problem> {
        if scopes.iter().any(|scope| self.scopes.contains(scope.0)) {
            return Ok(());
        }
        let names: Vec<&str> = scopes.iter().map(|scope| scope.0).collect();
        Err(forbidden(format!("the token lacks the scope {}", names.join(" or "))))
    }

    fn require_role(&self, mut roles: impl Iterator<Item = Role>) -> Result<(), Problem> {
        if roles.any(|role| role == self.role) {
            return Ok(());
        }
        Err(forbidden(format!("the role {} may not use this route", self.role)))
    }

    /// The token's `sub` and `iss`.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The token's `sub`.
    pub fn sub(&self) -> &str {
        self.principal.sub()
    }

    /// The caller's group of patients, where the study distinguishes groups.
    pub fn group(&self) -> Option<&GroupId> {
        self.group.as_ref()
    }

    /// The study that the token is for.
    pub fn study(&self) -> &StudyId {
        &self.study
    }

    /// The role that the token grants.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The sites that the caller may see.
    pub fn sites(&self) -> &BTreeSet<SiteId> {
        &self.sites
    }

    /// The patient whom the token names.
    ///
    /// # Errors
    /// 403 if the token names none.
    pub fn patient(&self) -> Result<&PatientId, Problem> {
        self.patient.as_ref().ok_or_else(|| forbidden("the token names no patient"))
    }

    /// The only site of the caller.
    ///
    /// # Errors
    /// 403 if the token names none, or several, so that the site of the request is unclear.
    pub fn only_site(&self) -> Result<&SiteId, Problem> {
        match (self.sites.first(), self.sites.len()) {
            (Some(site), 1) => Ok(site),
            (_, count) => Err(forbidden(format!("the token must name one site, and names {count}"))),
        }
    }

    /// The site named `site`, if it is one of the caller's.
    ///
    /// # Errors
    /// 404 if it is not, whether the site exists or not.
    pub fn own_site(&self, site: &str) -> Result<&SiteId, Problem> {
        self.sites
            .iter()
            .find(|own| own.as_str() == site)
            .ok_or_else(|| Problem::new(ProblemKind::NotFound, "there is no such site for this token"))
    }
}

/// The values of a claim: separated by spaces, in brackets where the token has a list, as API Gateway passes it.
fn values(claim: &str) -> impl Iterator<Item = &str> {
    let inner = claim.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(claim);
    inner.split([' ', ',']).filter(|value| !value.is_empty())
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

    fn require(caller: &Caller, scope: Scope, role: Role) -> Result<(), Problem> {
        caller.require_scope(&[scope])?;
        caller.require_role([role].into_iter())
    }

    #[test]
    fn a_patient_is_read_from_the_claims() {
        let caller = caller(&[]).unwrap();
        require(&caller, Scope::SUBMISSIONS_WRITE, Role::Patient).unwrap();
        let (sub, iss) = (caller.principal().sub(), caller.principal().iss());
        assert_eq!((sub, iss, caller.study().as_str()), ("u-1", "https://issuer.example", "DEMO"));
        assert_eq!(caller.patient().unwrap().as_str(), "P-001");
        assert_eq!(caller.only_site().unwrap().as_str(), "S01");
    }

    #[test]
    fn debug_output_does_not_identify_the_caller() {
        let text = format!("{:?}", caller(&[]).unwrap());
        assert!(!text.contains("u-1") && !text.contains("issuer.example"), "{text}");
    }

    #[test]
    fn a_token_with_missing_or_invalid_claims_is_refused() {
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
    fn scope_and_role_are_both_required() {
        for change in [("scope", "submissions:read"), ("scope", "xsubmissions:write"), ("role", "staff")] {
            let refused = require(&caller(&[change]).unwrap(), Scope::SUBMISSIONS_WRITE, Role::Patient);
            assert_eq!(refused.unwrap_err().kind(), ProblemKind::Forbidden, "{change:?}");
        }
    }

    #[test]
    fn a_route_that_is_not_listed_is_open_to_nobody() {
        let patient = caller(&[]).unwrap();
        patient.use_route("POST /v1/submissions").unwrap();
        for route in ["", "POST /v1/submissions/", "DELETE /v1/submissions", "$default"] {
            assert_eq!(patient.use_route(route).unwrap_err().kind(), ProblemKind::Forbidden, "{route}");
        }
    }

    #[test]
    fn a_scope_may_carry_the_deployments_prefix_and_no_other() {
        let writes = |claim, value| {
            let caller = caller(&[("scope", ""), (claim, value)]).unwrap();
            require(&caller, Scope::SUBMISSIONS_WRITE, Role::Patient).is_ok()
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

    /// Tokens of known issuers, and their claims as API Gateway passes them. The local gateway is tested with the same.
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
            // The same token without its study is refused.
            let without = claims.into_iter().filter(|(name, _)| name != "study").collect();
            assert_eq!(Caller::from_claims(&without, "").unwrap_err().kind(), ProblemKind::Unauthenticated);
        }
    }

    #[test]
    fn lists_are_read_as_the_gateway_passes_them() {
        let caller = caller(&[("role", "staff"), ("sites", "[S01 S02]"), ("scope", "[counts:read]")]).unwrap();
        require(&caller, Scope::COUNTS_READ, Role::Staff).unwrap();
        assert_eq!(caller.sites().len(), 2);
        assert_eq!(caller.own_site("S02").unwrap().as_str(), "S02");
    }

    #[test]
    fn a_site_of_others_is_answered_as_one_that_does_not_exist() {
        assert_eq!(caller(&[]).unwrap().own_site("S02").unwrap_err().kind(), ProblemKind::NotFound);
    }

    #[test]
    fn a_token_with_several_sites_has_no_only_site() {
        for sites in ["", "S01 S02"] {
            let refused = caller(&[("sites", sites)]).unwrap().only_site().unwrap_err();
            assert_eq!(refused.kind(), ProblemKind::Forbidden);
        }
    }
}
