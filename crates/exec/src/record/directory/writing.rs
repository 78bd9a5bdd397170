use std::fs::File;

use longshore_core::{Error, Result, SessionId, Timestamp};

use super::files::Files;
use crate::{
    record::{
        RecordLimits, SessionSummary,
        tape::{Step, Tape},
    },
    session::{RecordEvent, SessionAbout},
};

/// A log that is being written.
#[derive(Debug)]
pub(super) struct Writing {
    tape: Tape,
    file: File,
    /// The end of the file is not known: nothing may be appended any more.
    broken: bool,
}

impl Writing {
    pub(super) fn begin(
        files: &Files,
        session: &SessionId,
        at: Timestamp,
        about: &SessionAbout,
        limits: &RecordLimits,
    ) -> Result<Self> {
        let (tape, step) = Tape::open(session, at, about)?;
        let file = files.new_log(session)?;
        let mut writing = Self {
            tape,
            file,
            broken: false,
        };
        let begun = writing
            .append(files, step, limits)
            .and_then(|()| writing.keep(files));
        match begun {
            Ok(()) => Ok(writing),
            Err(error) => {
                // The session does not open, so nothing was recorded of it.
                files.remove(session);
                Err(error)
            }
        }
    }

    /// Goes on with a log that was read to its end.
    pub(super) fn resume(tape: Tape, file: File) -> Self {
        Self {
            tape,
            file,
            broken: false,
        }
    }

    pub(super) fn summary(&self) -> &SessionSummary {
        self.tape.summary()
    }

    pub(super) fn next(
        &self,
        at: Timestamp,
        event: &RecordEvent,
        limits: &RecordLimits,
    ) -> Result<Step> {
        self.tape.next(at, event, limits)
    }

    /// Appends all of a step or nothing of it.
    pub(super) fn append(
        &mut self,
        files: &Files,
        step: Step,
        limits: &RecordLimits,
    ) -> Result<()> {
        if self.broken {
            return Err(Error::unavailable(
                "the record could not be repaired after a failed write",
            ));
        }
        if let Err(error) = step.bytes.write_to(&mut self.file) {
            self.broken = self.file.set_len(self.summary().bytes).is_err();
            return Err(Error::io("cannot write the record of a session", error)
                .with_context("session", &self.summary().session));
        }
        let (command, result) = self.tape.accept(step, limits);
        if let Some(command) = command {
            files.add_command(&command)?;
        }
        if self.summary().ended_at.is_some() {
            self.keep(files)?;
        }
        result
    }

    /// Forces log and summary to the disk.
    fn keep(&self, files: &Files) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|error| Error::io("cannot sync the record of a session", error))?;
        files.write_summary(self.summary())?;
        files.sync()
    }
}
