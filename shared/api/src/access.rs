//! Access: which role may use which route, with which scope, and what it sees through it. [`Caller::of`] requires it of
//! each request, and the guide's table is generated from it (`tests/house/tests/access.rs`).
//!
//! [`Caller::of`]: crate::Caller::of

use std::fmt;

use crate::{Role, Scope};

/// The access to one route.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The route as the template names it.
    pub route: &'static str,
    /// The scopes of which a token must have one.
    pub scopes: &'static [Scope],
    /// The roles that may use it, by what they see.
    pub grants: &'static [(Sees, &'static [Role])],
}

/// What a role sees, or writes, through a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// The submissions of the token's patient.
    OwnSubmissions,
    /// The drafts of the token's patient.
    OwnDrafts,
    /// What belongs to the sites of the token.
    OwnSites,
    /// The study of the token.
    OwnStudy,
    /// What all studies share.
    AllStudies,
}

impl fmt::Display for Sees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnSubmissions => "its own submissions",
            Self::OwnDrafts => "its own drafts",
            Self::OwnSites => "the sites of its token",
            Self::OwnStudy => "the study of its token",
            Self::AllStudies => "what all studies share",
        })
    }
}

const SENDS: &[(Sees, &[Role])] = &[(Sees::OwnSubmissions, &[Role::Patient])];
const DRAFTS: &[(Sees, &[Role])] = &[(Sees::OwnDrafts, &[Role::Patient])];
const READS_INSTRUMENTS: &[(Sees, &[Role])] = &[(Sees::OwnStudy, &Role::ALL)];
const REGISTERS: &[(Sees, &[Role])] = &[(Sees::OwnSites, &[Role::Staff]), (Sees::OwnStudy, &[Role::DataManager])];
const READS_SITES: &[(Sees, &[Role])] = &[(Sees::OwnSites, &[Role::Staff, Role::Monitor])];

/// The access to each route. A route that is not listed is open to nobody.
pub const ACCESS: [Access; 29] = [
    Access { route: "POST /v1/submissions", scopes: &[Scope::SUBMISSIONS_WRITE], grants: SENDS },
    Access { route: "POST /v1/submissions/batch", scopes: &[Scope::SUBMISSIONS_WRITE], grants: SENDS },
    Access { route: "POST /v1/fhir/QuestionnaireResponse", scopes: &[Scope::SUBMISSIONS_WRITE], grants: SENDS },
    Access {
        route: "GET /v1/submissions/{id}",
        scopes: &[Scope::SUBMISSIONS_READ],
        grants: &[(Sees::OwnSubmissions, &[Role::Patient]), (Sees::OwnSites, &[Role::Staff, Role::Monitor])],
    },
    Access { route: "PUT /v1/drafts/{id}", scopes: &[Scope::SUBMISSIONS_WRITE], grants: DRAFTS },
    Access { route: "GET /v1/drafts/{id}", scopes: &[Scope::SUBMISSIONS_READ], grants: DRAFTS },
    Access { route: "GET /v1/instruments", scopes: &[Scope::INSTRUMENTS_READ], grants: READS_INSTRUMENTS },
    Access {
        route: "GET /v1/instruments/{id}/{version}",
        scopes: &[Scope::INSTRUMENTS_READ],
        grants: READS_INSTRUMENTS,
    },
    Access { route: "GET /v1/fhir/Questionnaire/{id}", scopes: &[Scope::INSTRUMENTS_READ], grants: READS_INSTRUMENTS },
    Access {
        route: "PUT /v1/instruments/{id}/{version}",
        scopes: &[Scope::STUDIES_WRITE],
        grants: &[(Sees::AllStudies, &[Role::DataManager])],
    },
    Access {
        route: "PUT /v1/studies/{study}",
        scopes: &[Scope::STUDIES_WRITE],
        grants: &[(Sees::OwnStudy, &[Role::DataManager])],
    },
    Access {
        route: "GET /v1/patients/{patient}",
        scopes: &[Scope::PATIENTS_READ],
        grants: &[(Sees::OwnSites, &[Role::Staff, Role::Monitor]), (Sees::OwnStudy, &[Role::DataManager])],
    },
    Access { route: "PUT /v1/patients/{patient}", scopes: &[Scope::PATIENTS_WRITE], grants: REGISTERS },
    Access { route: "POST /v1/patients/{patient}/transfer", scopes: &[Scope::PATIENTS_WRITE], grants: REGISTERS },
    Access { route: "POST /v1/patients/{patient}/withdrawal", scopes: &[Scope::PATIENTS_WRITE], grants: REGISTERS },
    Access { route: "PUT /v1/patients/{patient}/events/{event}", scopes: &[Scope::PATIENTS_WRITE], grants: REGISTERS },
    Access { route: "GET /v1/sites/{site}/patients", scopes: &[Scope::PATIENTS_READ], grants: READS_SITES },
    Access { route: "GET /v1/due", scopes: &[Scope::DUE_READ], grants: &[(Sees::OwnSubmissions, &[Role::Patient])] },
    Access { route: "GET /v1/sites/{site}/due", scopes: &[Scope::DUE_READ], grants: READS_SITES },
    Access { route: "GET /v1/sites/{site}/report", scopes: &[Scope::REPORTS_READ], grants: READS_SITES },
    Access {
        route: "GET /v1/sites/{site}/audit",
        scopes: &[Scope::AUDIT_READ, Scope::REPORTS_READ],
        grants: &[(Sees::OwnSites, &[Role::Staff, Role::Monitor, Role::DataManager])],
    },
    Access {
        route: "GET /v1/sites/{site}/alerts",
        scopes: &[Scope::ALERTS_READ],
        grants: &[(Sees::OwnSites, &[Role::Clinician, Role::Monitor])],
    },
    Access { route: "GET /v1/alerts", scopes: &[Scope::ALERTS_READ], grants: &[(Sees::OwnSites, &[Role::Clinician])] },
    Access {
        route: "POST /v1/alerts/{alertId}/snooze",
        scopes: &[Scope::ALERTS_WRITE],
        grants: &[(Sees::OwnSites, &[Role::Clinician])],
    },
    Access {
        route: "POST /v1/alerts/{alertId}/acknowledge",
        scopes: &[Scope::ALERTS_WRITE],
        grants: &[(Sees::OwnSites, &[Role::Clinician])],
    },
    Access {
        route: "POST /v1/forms/{form}/{version}/validate",
        scopes: &[Scope::FORMS_VALIDATE],
        grants: &[(Sees::OwnSites, &[Role::Staff])],
    },
    Access { route: "GET /v1/sites/counts", scopes: &[Scope::COUNTS_READ], grants: READS_SITES },
    Access { route: "GET /v1/sites/{site}/counts", scopes: &[Scope::COUNTS_READ], grants: READS_SITES },
    Access {
        route: "POST /v1/sites/{site}/calls",
        scopes: &[Scope::COUNTS_WRITE],
        grants: &[(Sees::OwnSites, &[Role::Service])],
    },
];

impl Access {
    /// The access to `route`.
    pub fn to(route: &str) -> Option<&'static Self> {
        const TABLE: &[Access] = &ACCESS;
        TABLE.iter().find(|access| access.route == route)
    }

    /// The roles that may use the route, in the order of the table.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.grants.iter().flat_map(|(_, roles)| roles.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_listed_once_and_each_role_once_for_it() {
        for (index, access) in ACCESS.iter().enumerate() {
            assert!(ACCESS[..index].iter().all(|before| before.route != access.route), "{}", access.route);
            let roles: Vec<Role> = access.roles().collect();
            assert!(
                roles.iter().all(|role| roles.iter().filter(|other| *other == role).count() == 1),
                "{}",
                access.route
            );
            assert!(!roles.is_empty() && !access.scopes.is_empty(), "{}", access.route);
        }
    }

    #[test]
    fn whoever_uses_a_route_of_one_site_sees_the_sites_of_its_token() {
        let of_a_site: Vec<&Access> = ACCESS.iter().filter(|access| access.route.contains("{site}")).collect();
        assert!(of_a_site.len() > 4, "{of_a_site:?}");
        for access in of_a_site {
            assert!(access.grants.iter().all(|(sees, _)| *sees == Sees::OwnSites), "{}", access.route);
        }
    }

    #[test]
    fn a_monitor_writes_nothing() {
        for access in ACCESS.iter().filter(|access| access.roles().any(|role| role == Role::Monitor)) {
            assert!(access.route.starts_with("GET "), "{}", access.route);
        }
    }
}
