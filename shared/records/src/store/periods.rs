//! The submissions and alerts of a site in a period of time, read patient by patient.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use clinical::ids::{PatientId, SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;
use time::OffsetDateTime;

use super::Store;
use crate::items::period::{ATTRIBUTES, PatientPeriod, SitePeriod};
use crate::items::profile;
use crate::table::attributes::{sortable, text};

/// Each read beyond these opens a connection of its own, which costs more than it saves.
const READS_AT_ONCE: usize = 24;

impl Store {
    /// The submissions and alerts of `patients` of `site`, as [`site_patients`](Self::site_patients) returns them, from
    /// `from` on and before `until`. All of them or none, read consistently.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
    pub async fn site_period(
        &self,
        study: &StudyId,
        site: &SiteId,
        (patients, unreadable): (Vec<PatientId>, u64),
        from: OffsetDateTime,
        until: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<SitePeriod, Failure> {
        let read: Vec<(PatientPeriod, u64)> = stream::iter(patients)
            .map(|patient| self.patient_period(study, site, patient, (from, until), deadline))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let unreadable = unreadable + read.iter().map(|(_, unreadable)| unreadable).sum::<u64>();
        Ok(SitePeriod { patients: read.into_iter().map(|(patient, _)| patient).collect(), unreadable })
    }

    async fn patient_period(
        &self,
        study: &StudyId,
        site: &SiteId,
        patient: PatientId,
        (from, until): (OffsetDateTime, OffsetDateTime),
        deadline: Deadline,
    ) -> Result<(PatientPeriod, u64), Failure> {
        // The time of an alert is not written in a fixed width, so that its text may sort wrongly within a second: the
        // query leaves out what is certainly outside of the period, and `add` decides on the rest.
        let (earliest, latest) = (from - time::Duration::SECOND, until + time::Duration::SECOND);
        // Some of the names are reserved words of expressions.
        let names = ATTRIBUTES.iter().chain(&["at"]).map(|name| (format!("#{name}"), (*name).to_owned()));
        let narrow = |query: QueryFluentBuilder| {
            query
                .filter_expression(
                    "#kind = :profile OR #effective_at BETWEEN :earliest AND :latest \
                     OR #place.#at BETWEEN :earliest AND :latest OR #raised_at BETWEEN :earliest AND :latest",
                )
                .projection_expression(ATTRIBUTES.map(|name| format!("#{name}")).join(", "))
                .set_expression_attribute_names(Some(names.collect()))
                .expression_attribute_values(":profile", text(profile::KIND))
                .expression_attribute_values(":earliest", text(sortable(earliest)))
                .expression_attribute_values(":latest", text(sortable(latest)))
        };
        let items = self.items_of_patient(study, &patient, narrow, deadline).await?;
        let mut period = PatientPeriod::new(patient);
        let unreadable = items.iter().filter(|item| period.add(item, site, from, until).is_err()).count();
        period.sort();
        Ok((period, unreadable as u64))
    }
}
