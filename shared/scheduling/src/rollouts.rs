//! Brings a new version of a study to the plans of its patients, who may have none yet.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use clinical::ids::{PatientId, SiteId};
use invocation::Deadline;
use invocation::aws::Failure;
use records::{Rollout, Store};
use time::OffsetDateTime;

/// The number of patients who are marked at once, in one transaction.
const MARKED_AT_ONCE: usize = 25;

/// Marks the plans of the study's patients to be made for the version that `rollout` is of, site by site, while
/// `has_time`. The next run goes on where it ends. Nothing is marked before the version is in force here.
///
/// The sites are those of all versions: the patients of one that the study has dropped are planned again too.
///
/// # Errors
/// If the store did not confirm it.
pub async fn roll_out(
    store: &Store,
    mut rollout: Rollout,
    now: OffsetDateTime,
    deadline: Deadline,
    has_time: impl Fn() -> bool,
) -> Result<(), Failure> {
    let protocol = store.protocol(&rollout.study, deadline).await?;
    if protocol.study().is_none_or(|study| *study.version() < rollout.version) {
        return Ok(());
    }
    if !store.has_asked(&protocol, deadline).await? {
        rollout.is_done = true;
        return store.advance_rollout(&rollout, &[], now, deadline).await.map(drop);
    }
    let versions = store.study_versions(&rollout.study, deadline).await?;
    let sites: BTreeSet<&SiteId> =
        versions.iter().flat_map(|version| &version.definition().sites).map(|site| &site.id).collect();
    while has_time() {
        let (patients, next) = next(store, &rollout, &sites, deadline).await?;
        match next {
            Some(next) => rollout.after = Some(next),
            None => rollout.is_done = true,
        }
        match store.advance_rollout(&rollout, &patients, now, deadline).await? {
            Some(stored) if !stored.is_done => rollout = stored,
            _ => break,
        }
    }
    Ok(())
}

/// The patients to be marked next, and where the rollout stands then; `None` if that is the end.
async fn next(
    store: &Store,
    rollout: &Rollout,
    sites: &BTreeSet<&SiteId>,
    deadline: Deadline,
) -> Result<(Vec<PatientId>, Option<(SiteId, Option<PatientId>)>), Failure> {
    let (site, after) = match &rollout.after {
        Some((site, after)) => (site, after.as_ref()),
        None => match sites.first() {
            Some(first) => (*first, None),
            None => return Ok((Vec::new(), None)),
        },
    };
    let patients = store.site_patients_after(&rollout.study, site, after, MARKED_AT_ONCE, deadline).await?;
    let next = match patients.last().filter(|_| patients.len() == MARKED_AT_ONCE) {
        Some(last) => Some((site.clone(), Some(last.clone()))),
        None => sites.range::<&SiteId, _>((Excluded(site), Unbounded)).next().map(|next| ((*next).clone(), None)),
    };
    Ok((patients, next))
}
