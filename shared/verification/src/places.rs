//! The items that lead from the public ids of alerts to their rows.

use clinical::ids::{PatientId, StudyId};
use invocation::Deadline;
use invocation::aws::Failure;
use records::{AlertId, AlertPlace, PatientRecords, Store};

use crate::difference::{Difference, Kind};

/// The alerts of a patient whose public ids do not lead to them.
pub(crate) async fn missing(
    records: &PatientRecords,
    store: &Store,
    deadline: Deadline,
) -> Result<Vec<Difference>, Failure> {
    let ids: Vec<AlertId> = records.alerts.iter().map(|row| row.alert.id).collect();
    let places = store.alert_places(&ids, deadline).await?;
    let leads_here = |row: &&records::StoredAlert| {
        let alert = &row.alert;
        places.get(&alert.id).is_some_and(|place| {
            let AlertPlace { study, site, patient, submission, rule } = place;
            (study, site, patient) == (&alert.study, &alert.site, &alert.patient)
                && (*submission, rule) == (alert.submission, &alert.rule)
        })
    };
    let missing = records.alerts.iter().filter(|row| !leads_here(row)).map(|row| {
        let difference = Difference::new(Kind::PlaceMissing, &row.alert.study).at_site(&row.alert.site);
        difference.of_submission(row.alert.submission).of_alert(row.alert.id).about(&row.alert.rule)
    });
    Ok(missing.collect())
}

/// Whether the place of the alert `id` leads to its row.
pub(crate) async fn without_alert(
    id: AlertId,
    place: &AlertPlace,
    store: &Store,
    deadline: Deadline,
) -> Result<Option<Difference>, Failure> {
    let AlertPlace { study, site, patient, submission, rule } = place;
    let alert = store.alert(study, patient, submission, rule, deadline).await?;
    let leads_there = alert.is_some_and(|alert| alert.id == id && alert.site == *site);
    let difference = || Difference::new(Kind::PlaceWithoutAlert, study).at_site(site);
    Ok((!leads_there).then(|| difference().of_submission(*submission).of_alert(id).about(rule)))
}

/// The alert `id`, if it is stored where its place leads.
pub(crate) async fn alert_of(
    id: AlertId,
    study: &StudyId,
    patient: &PatientId,
    store: &Store,
    deadline: Deadline,
) -> Result<Option<records::Alert>, Failure> {
    let Some(place) = store.alert_places(&[id], deadline).await?.remove(&id) else { return Ok(None) };
    if (&place.study, &place.patient) != (study, patient) {
        return Ok(None);
    }
    store.alert(study, patient, &place.submission, &place.rule, deadline).await
}
