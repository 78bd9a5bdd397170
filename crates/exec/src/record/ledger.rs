use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use longshore_core::{Error, ErrorKind, Result, SessionId, Timestamp};

use super::{RecordLimits, Retention, SessionStatus, SessionSummary, tape::RESERVE};
use crate::session::{MOST_RECORDED, RecordReach};

/// All sessions of a store, in order, with the room they take.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sessions: HashMap<SessionId, Arc<SessionSummary>>,
    by_age: BTreeSet<(Timestamp, SessionId)>,
    taken: Taken,
}

/// What all sessions take.
#[derive(Debug, Default)]
struct Taken {
    bytes: u64,
    /// By sessions that have not ended: no record of theirs can be removed.
    active: u64,
    /// How many sessions may yet record more.
    growing: u64,
}

impl Taken {
    fn add(&mut self, summary: &SessionSummary) {
        self.bytes += summary.bytes;
        if summary.status == SessionStatus::Active {
            self.active += summary.bytes;
            self.growing += u64::from(!summary.is_cut);
        }
    }

    fn remove(&mut self, summary: &SessionSummary) {
        self.bytes -= summary.bytes;
        if summary.status == SessionStatus::Active {
            self.active -= summary.bytes;
            self.growing -= u64::from(!summary.is_cut);
        }
    }
}

impl Ledger {
    pub(super) fn get(&self, session: &SessionId) -> Result<&SessionSummary> {
        let found = self.sessions.get(session).map(|summary| &**summary);
        found.ok_or_else(|| no_record(session))
    }

    pub(super) fn put(&mut self, summary: SessionSummary) {
        self.remove(&summary.session.clone());
        self.taken.add(&summary);
        self.by_age
            .insert((summary.created_at, summary.session.clone()));
        self.sessions
            .insert(summary.session.clone(), Arc::new(summary));
    }

    /// A session of the store has changed.
    pub(super) fn update(&mut self, session: &SessionId, change: impl FnOnce(&mut SessionSummary)) {
        if let Some(summary) = self.sessions.get_mut(session) {
            let summary = Arc::make_mut(summary);
            self.taken.remove(summary);
            change(summary);
            self.taken.add(summary);
        }
    }

    pub(super) fn remove(&mut self, session: &SessionId) {
        if let Some(old) = self.sessions.remove(session) {
            self.taken.remove(&old);
            self.by_age.remove(&(old.created_at, old.session.clone()));
        }
    }

    /// Room for one more session.
    ///
    /// # Errors
    /// It has a record already; or [`ErrorKind::ResourceExhausted`] when there is no room and
    /// nothing that may be removed.
    pub(super) fn admit(
        &self,
        session: &SessionId,
        limits: &RecordLimits,
    ) -> Result<Vec<SessionId>> {
        if self.sessions.contains_key(session) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "this session has a record already",
            )
            .with_context("session", session));
        }
        let more = (self.sessions.len() + 1).saturating_sub(limits.sessions);
        self.room(more, FIRST, limits)
    }

    /// Room for so many more bytes: the sessions to remove for it.
    pub(super) fn room(
        &self,
        mut sessions: usize,
        bytes: u64,
        limits: &RecordLimits,
    ) -> Result<Vec<SessionId>> {
        let mut over = (self.taken.bytes + bytes).saturating_sub(limits.total);
        let mut removed = Vec::new();
        if sessions == 0 && over == 0 {
            return Ok(removed);
        }
        if limits.retention == Retention::RemoveOldest {
            let mut finished: Vec<_> = self
                .sessions
                .values()
                .filter(|summary| summary.status != SessionStatus::Active)
                .collect();
            finished.sort_by_key(|summary| summary.ended_at.unwrap_or(summary.created_at));
            for summary in finished {
                if sessions == 0 && over == 0 {
                    break;
                }
                sessions = sessions.saturating_sub(1);
                over = over.saturating_sub(summary.bytes);
                removed.push(summary.session.clone());
            }
        }
        if sessions == 0 && over == 0 {
            return Ok(removed);
        }
        Err(Error::new(
            ErrorKind::ResourceExhausted,
            format!(
                "no room for more records: {} sessions with {} bytes are kept; remove some, or \
                 allow more",
                self.sessions.len(),
                self.taken.bytes
            ),
        ))
    }

    /// How far a session's record goes, and how much may be added to it: by its own bound, and by
    /// that of all, of which only what has ended may be removed. Every session may have a piece under
    /// way that it counted on having room for; all of them have it.
    pub(super) fn reach(&self, session: &SessionId, limits: &RecordLimits) -> Option<RecordReach> {
        let summary = self.sessions.get(session)?;
        let goes_on = summary.status == SessionStatus::Active && !summary.is_cut;
        let own = limits.session.saturating_sub(summary.bytes + RESERVE);
        let Taken {
            bytes,
            active,
            growing,
        } = self.taken;
        let kept = match limits.retention {
            Retention::RemoveOldest => active,
            Retention::Keep => bytes,
        };
        let taken = kept.saturating_add(growing * UNDER_WAY);
        let room = own.min(limits.total.saturating_sub(taken));
        Some(RecordReach::new(
            summary.output,
            if goes_on { room } else { 0 },
        ))
    }

    /// The sessions of a time, newest first, as they are now: to compare them takes time, in which the
    /// ledger is not held.
    pub(super) fn of_time(
        &self,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Vec<Arc<SessionSummary>> {
        self.by_age
            .iter()
            .rev()
            .skip_while(|(at, _)| until.is_some_and(|until| *at >= until))
            .take_while(|(at, _)| *at >= since)
            .filter_map(|(_, session)| self.sessions.get(session).map(Arc::clone))
            .collect()
    }
}

pub(super) fn no_record(session: &SessionId) -> Error {
    Error::not_found("this session has no record").with_context("session", session)
}

/// Room for the beginning and the end of a record.
const FIRST: u64 = 16 << 10;
/// The most that one session records at a time, with its frames.
const UNDER_WAY: u64 = MOST_RECORDED as u64 + (1 << 10);

#[cfg(test)]
mod tests {
    use longshore_core::{ExecRequest, Identity, WorkloadId};

    use super::*;
    use crate::session::{Launch, SessionAbout, SessionOrigin};

    /// The least room with which a session goes on without its client.
    const MARGIN: u64 = 2 * MOST_RECORDED as u64;
    const PIECE: u64 = MOST_RECORDED as u64;
    const TOTAL: u64 = 8 << 20;

    fn id(number: usize) -> SessionId {
        SessionId::new(format!("s{number}")).unwrap()
    }

    fn summary(number: usize, status: SessionStatus, bytes: u64) -> SessionSummary {
        let request = ExecRequest::new(WorkloadId::new("web").unwrap(), ["sh"]);
        let who = Identity::new("alice", "token");
        let about = SessionAbout::new(who, &Launch::Exec(request), SessionOrigin::new());
        let mut summary = SessionSummary::new(id(number), about, Timestamp::ZERO);
        (summary.status, summary.bytes) = (status, bytes);
        summary
    }

    fn limits(retention: Retention) -> RecordLimits {
        RecordLimits::default()
            .with_bytes(64 << 20, TOTAL)
            .with_retention(retention)
    }

    /// Sessions that go on as long as they are told that there is room; each has asked before any
    /// of a round has written.
    fn nobody_is_cut_off(sessions: usize, retention: Retention) -> Ledger {
        let limits = limits(retention);
        let mut ledger = Ledger::default();
        ledger.put(summary(1000, SessionStatus::Inactive, 2 << 20));
        for number in 0..sessions {
            ledger.put(summary(number, SessionStatus::Active, 1 << 10));
        }
        loop {
            let asked = (0..sessions).filter(|&number| {
                let reach = ledger.reach(&id(number), &limits);
                reach.is_some_and(|reach| reach.room >= MARGIN)
            });
            let going: Vec<_> = asked.collect();
            if going.is_empty() {
                return ledger;
            }
            for number in going {
                let removed = ledger.room(0, PIECE, &limits).expect("there is room");
                removed.iter().for_each(|session| ledger.remove(session));
                ledger.update(&id(number), |summary| summary.bytes += PIECE);
            }
        }
    }

    #[test]
    fn sessions_that_go_on_by_themselves_stop_before_the_room_of_all_is_used_up() {
        for retention in [Retention::Keep, Retention::RemoveOldest] {
            for sessions in [1, 3, 8, 20] {
                let ledger = nobody_is_cut_off(sessions, retention);
                let removes = retention == Retention::RemoveOldest;
                let at_most = MARGIN + (sessions as u64 + 1) * UNDER_WAY;
                let free = TOTAL - ledger.taken.bytes;
                assert!(
                    free <= at_most || removes,
                    "{retention:?} {sessions}: {free}"
                );
                // What has ended is in nobody's way where it may be removed.
                assert!(!removes || TOTAL - ledger.taken.active <= at_most);
            }
        }
    }

    #[test]
    fn what_is_taken_is_what_all_sessions_take() {
        let mut ledger = Ledger::default();
        ledger.put(summary(0, SessionStatus::Active, 100));
        ledger.put(summary(1, SessionStatus::Inactive, 1000));
        ledger.put(summary(0, SessionStatus::Active, 200));
        ledger.update(&id(0), |summary| summary.bytes += 5);
        let Taken {
            bytes,
            active,
            growing,
        } = ledger.taken;
        assert_eq!((bytes, active, growing), (1205, 205, 1));
        ledger.update(&id(0), |summary| summary.is_cut = true);
        assert_eq!((ledger.taken.active, ledger.taken.growing), (205, 0));
        ledger.update(&id(0), |summary| summary.status = SessionStatus::Inactive);
        assert_eq!((ledger.taken.bytes, ledger.taken.active), (1205, 0));
        (0..2).for_each(|number| ledger.remove(&id(number)));
        assert_eq!((ledger.taken.bytes, ledger.taken.growing), (0, 0));
    }
}
