//! The versions of a study, which scores name and which never change.

use std::sync::Arc;

use clinical::ids::{StudyId, StudyVersion};
use clinical::studies::{Protocol, Study};
use invocation::Deadline;
use invocation::aws::{Failure, call};

use super::{READ, lock};
use crate::table::attributes::{Reader, text};
use crate::table::keys::{self, PK, SK};
use crate::store::Store;

const OPERATION: &str = "GetItem of a study's version";

impl Store {
    /// The `version` of `study` whose content has this `hash`, whichever is in force; `None` if it is not stored. Each is
    /// read once an environment.
    ///
    /// # Errors
    /// If the store did not answer in time, or with something that cannot be read.
    pub(crate) async fn protocol_of_version(
        &self,
        study: &StudyId,
        version: &StudyVersion,
        hash: &str,
        deadline: Deadline,
    ) -> Result<Option<Arc<Protocol>>, Failure> {
        let is_it = |protocol: &Arc<Protocol>| protocol.study().is_some_and(|study| study.hash() == hash);
        let name = (study.clone(), version.clone());
        if let Some(known) = lock(&self.known.versions).get(&name) {
            return Ok(Some(Arc::clone(known)).filter(is_it));
        }
        // Seldom needed, and large.
        let Some(read) = Box::pin(self.read_version(study, version, deadline)).await? else { return Ok(None) };
        lock(&self.known.versions).insert(name, Arc::clone(&read));
        Ok(Some(read).filter(is_it))
    }

    async fn read_version(
        &self,
        study: &StudyId,
        version: &StudyVersion,
        deadline: Deadline,
    ) -> Result<Option<Arc<Protocol>>, Failure> {
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .key(PK, text(keys::study(study)))
            .key(SK, text(keys::version(version)))
            .consistent_read(true);
        let sent =
            call(deadline, READ, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        let Some(item) = sent.await.map_err(|error| error.of(OPERATION))?.item else { return Ok(None) };
        let unreadable = || Failure::unreadable(OPERATION, "the stored study cannot be read");
        let study = Reader(&item).text("json").ok().and_then(|json| Study::parse(json).ok()).ok_or_else(unreadable)?;
        let own: Vec<_> = study.own_instruments().map(|(id, version)| (id.clone(), version.clone())).collect();
        let own = self.own_instruments(&own, deadline).await?;
        study.with_instruments(&own, |_| true).map(|protocol| Some(Arc::new(protocol))).map_err(|_| unreadable())
    }
}
