//! What is kept of exec sessions, and what is said where nothing is.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream;
use longshore::{
    Error, Result,
    core::{OutputKind, SessionId},
    exec::{
        record::{DirectoryRecords, RecordLimits, RecordStore},
        session::{RecordedOutput, RecordingSource, RecordingStream},
    },
};

/// Opens the folder of the records, if one was named; the log says what came of it.
///
/// # Errors
/// The folder can't be used, or another manager uses it.
pub fn open(plan: Option<&(PathBuf, RecordLimits)>) -> Result<Option<Arc<dyn RecordStore>>> {
    let Some((folder, limits)) = plan else {
        tracing::info!("exec sessions are not recorded: --exec-records DIR records them");
        return Ok(None);
    };
    let records = DirectoryRecords::open(folder, *limits)
        .map_err(|error| error.with_context("exec-records", folder.display()))?;
    for found in records.recovered() {
        match &found.damage {
            Some(damage) => tracing::warn!(
                session = %found.session,
                "the record of a session is not sound, and left as it is: {damage}"
            ),
            None => tracing::info!(
                session = %found.session,
                torn = found.torn,
                "the record of a session ends where its manager did"
            ),
        }
    }
    tracing::info!("exec sessions are recorded in {}", folder.display());
    Ok(Some(Arc::new(records)))
}

/// Says to whoever wants a replay why there is none: LAIN's own words for it tell to try again.
#[derive(Debug)]
pub struct NotRecorded;

#[async_trait]
impl RecordingSource for NotRecorded {
    async fn open(&self, _: &SessionId) -> Result<RecordingStream> {
        let words = RecordedOutput {
            at: Duration::ZERO,
            kind: OutputKind::Stdout,
            bytes: NOTHING.into(),
        };
        let none = Error::not_found("no records are kept here");
        Ok(Box::pin(stream::iter([Ok(words), Err(none)])))
    }
}

const NOTHING: &str = "\x1b[31m>>> Nothing is recorded here: sessions are only where the control plane \
                       is started with --exec-records.\x1b[0m\r\n";
