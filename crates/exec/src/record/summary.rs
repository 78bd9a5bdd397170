use longshore_core::{Result, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::log::{Head, LogDecoder};
use crate::session::{RecordEvent, SessionAbout, SessionEnd};

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SessionStatus {
    /// It goes on.
    Active,
    /// It has ended.
    Inactive,
    /// Its server ended before it did.
    Interrupted,
    /// Its record is not what was written.
    Damaged,
}

impl SessionStatus {
    /// The word in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Interrupted => "interrupted",
            Self::Damaged => "damaged",
        }
    }
}

/// A session as the index shows it. Everything but the status can be read from its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionSummary {
    /// Its id.
    pub session: SessionId,
    /// Who, what, where.
    pub about: SessionAbout,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ended, as far as it is known: for an interrupted session, the last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How far it is.
    pub status: SessionStatus,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<SessionEnd>,
    /// Bytes of the log.
    pub bytes: u64,
    /// Records in the log.
    pub records: u64,
    /// The hash of the last record, lower-case hexadecimal.
    pub head: String,
    /// Bytes of output from the first one on, as far as none is missing.
    #[serde(default)]
    pub output: u64,
    /// Whether the record is not the whole session.
    #[serde(default)]
    pub is_cut: bool,
    /// How often a rule was met.
    #[serde(default)]
    pub hits: u64,
}

impl SessionSummary {
    pub(super) fn new(session: SessionId, about: SessionAbout, at: Timestamp) -> Self {
        Self {
            session,
            about,
            created_at: at,
            ended_at: None,
            status: SessionStatus::Active,
            end: None,
            bytes: 0,
            records: 0,
            head: String::new(),
            output: 0,
            is_cut: false,
            hits: 0,
        }
    }

    /// Takes an event in that was written, behind one of the time `last`.
    pub(super) fn note(&mut self, last: Timestamp, at: Timestamp, event: &RecordEvent) {
        match event {
            RecordEvent::Output { offset, bytes, .. } if *offset == self.output => {
                self.output += bytes.len() as u64;
            }
            RecordEvent::Hit(_) => self.hits += 1,
            RecordEvent::Full => self.is_cut = true,
            RecordEvent::Ended(end) => {
                self.status = SessionStatus::Inactive;
                self.ended_at = Some(at);
                self.end = Some(end.clone());
            }
            RecordEvent::Interrupted => {
                self.status = SessionStatus::Interrupted;
                self.is_cut = true;
                self.ended_at = Some(last);
            }
            _ => {}
        }
    }

    /// Becomes a newer one of the same session. What never changes is not copied: this is done for
    /// each piece of a flood.
    pub(super) fn catch_up(&mut self, newer: &Self) {
        let Self {
            session: _,
            about: _,
            created_at: _,
            ended_at,
            status,
            end,
            bytes,
            records,
            head,
            output,
            is_cut,
            hits,
        } = newer;
        (self.ended_at, self.status) = (*ended_at, *status);
        (self.bytes, self.records, self.output) = (*bytes, *records, *output);
        (self.is_cut, self.hits) = (*is_cut, *hits);
        self.head.clone_from(head);
        self.end.clone_from(end);
    }

    pub(super) fn moved(&mut self, head: &Head, bytes: u64) {
        (self.records, self.bytes) = (head.records, bytes);
        self.head = head.hash();
    }

    /// From the log alone: reads what the decoder was given.
    pub(super) fn follow(
        known: &mut Option<Self>,
        decoder: &mut LogDecoder,
        session: &SessionId,
    ) -> Result<()> {
        loop {
            let last = decoder.at();
            let Some(entry) = decoder.next_entry()? else {
                break;
            };
            if let RecordEvent::Opened(about) = &entry.event {
                *known = Some(Self::new(session.clone(), (**about).clone(), entry.at));
            }
            if let Some(summary) = known {
                summary.note(last, entry.at, &entry.event);
            }
        }
        if let Some(summary) = known {
            summary.moved(&decoder.head(), decoder.whole());
        }
        Ok(())
    }
}
