//! One member as a pure state machine: Raft, the replicated store, the leases that the leader ends,
//! and this member's own requests on their way.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use longshore_core::{Error, LeaseId, Random, Result, Timestamp};

mod birth;
mod calls;
mod deadlines;
mod serving;
mod work;

use calls::Calls;
use deadlines::Deadlines;
use serving::Serving;
#[cfg(test)]
pub(super) use work::Compaction;
pub(super) use work::{Loaded, NodeOptions, Ready, Save};

use super::{
    codec::malformed,
    command::{Action, Outcome, RequestId},
    core::{Core, HardState, Snapshot},
    identity::{Identity, Status},
    log::{Entry, Log, Position},
    machine::Machine,
    message::Message,
    wire::{decode_command, decode_snapshot, encode_snapshot},
};

/// A call of this member, until it is answered.
pub(super) type Ticket = u64;

#[derive(Debug)]
pub(super) struct Node {
    options: NodeOptions,
    identity: Identity,
    identity_changed: bool,
    core: Core,
    machine: Machine,
    snapshot_bytes: usize,
    new_snapshot: Option<Snapshot>,
    calls: Calls,
    serving: Serving,
    deadlines: Deadlines,
    /// Requests that are in our log and not carried out, while we lead.
    in_flight: HashSet<RequestId>,
    /// The leader and term that calls were sent to.
    sent_to: (Option<usize>, u64),
    birth: birth::Birth,
    messages: Vec<(usize, Message)>,
    answers: Vec<(Ticket, Result<Outcome>)>,
    /// What was agreed on can't be carried out here: this member has to stop.
    failed: Option<Error>,
}

impl Node {
    /// # Errors
    /// The snapshot can't be read.
    pub(super) fn new(
        options: NodeOptions,
        loaded: Loaded,
        random: Arc<dyn Random>,
        now: Timestamp,
    ) -> Result<Self> {
        let (base, snapshot_bytes, machine) = match loaded.snapshot {
            None => (Position::default(), 0, Machine::new()),
            Some(snapshot) => {
                let size = snapshot.data.len();
                let machine = decode_snapshot(snapshot.data)?;
                if machine.applied != snapshot.at {
                    return Err(malformed());
                }
                (snapshot.at, size, machine)
            }
        };
        let log = Log::new(base, loaded.entries);
        let (me, count) = (options.me, options.names.len());
        let core = Core::new(
            (me, count),
            options.times,
            loaded.hard,
            log,
            random.clone(),
            now,
        );
        let mut node = Self {
            calls: Calls::new(me, loaded.identity.incarnation, random.as_ref()),
            birth: birth::Birth::new(count, now),
            options,
            identity: loaded.identity,
            identity_changed: false,
            core,
            machine,
            snapshot_bytes,
            new_snapshot: None,
            serving: Serving::default(),
            deadlines: Deadlines::default(),
            in_flight: HashSet::new(),
            sent_to: (None, 0),
            messages: Vec::new(),
            answers: Vec::new(),
            failed: None,
        };
        node.weigh_in();
        Ok(node)
    }

    /// The state that this member has come to.
    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Whether the member is in touch with a majority, as far as it knows.
    pub(super) fn is_led(&self, now: Timestamp) -> bool {
        self.core.is_led(now)
    }

    #[cfg(test)]
    pub(super) fn is_leader(&self) -> bool {
        self.core.is_leader()
    }

    pub(super) fn leader(&self) -> Option<usize> {
        self.core.leader()
    }

    #[cfg(test)]
    pub(super) fn term(&self) -> u64 {
        self.core.term()
    }

    #[cfg(test)]
    pub(super) fn log(&self) -> &Log {
        self.core.log()
    }

    /// Whether a lost disk is being filled.
    #[cfg(test)]
    pub(super) fn is_joining(&self) -> bool {
        self.identity.joining.is_some()
    }

    pub(super) fn cluster(&self) -> Option<u128> {
        self.identity.cluster
    }

    /// Begins a change. It is answered once, by [`poll_answer`](Self::poll_answer).
    pub(super) fn request(&mut self, action: Action, now: Timestamp) -> Ticket {
        let deadline = now.after(self.options.times.request);
        let ticket = self.calls.request(action, deadline);
        self.pass_on(now, false);
        ticket
    }

    /// Asks that everything acknowledged by now be applied here; or that a lease be kept. Answered
    /// like a [`request`](Self::request).
    pub(super) fn confirm(&mut self, lease: Option<LeaseId>, now: Timestamp) -> Ticket {
        let deadline = now.after(self.options.times.request);
        let ticket = self.calls.confirm(lease, deadline);
        self.pass_on(now, false);
        ticket
    }

    /// Takes what a member of the list sent, with the cluster that it is about.
    pub(super) fn handle(
        &mut self,
        from: usize,
        cluster: Option<u128>,
        message: Message,
        now: Timestamp,
    ) {
        if from == self.options.me || from >= self.options.names.len() {
            return;
        }
        match message {
            Message::Ask(status) => {
                self.hear(from, status);
                let own = self.status();
                self.messages.push((from, Message::Status(own)));
                return;
            }
            Message::Status(status) => return self.hear(from, status),
            _ => {}
        }
        if self.identity.cluster.is_none() || !self.is_ours(from, cluster) {
            return;
        }
        match message {
            Message::Propose(command) => self.propose(from, command),
            Message::Confirm { id, lease } => {
                self.serving.ask(&mut self.core, Some(from), id, lease);
            }
            Message::Confirmed { id, index, lives } => self.calls.confirmed(id, index, lives),
            about_the_log if self.leaps(from, &about_the_log) => {}
            about_the_log => self.core.handle(from, about_the_log, now),
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.ask_around(now);
        if self.identity.cluster.is_some() {
            self.core.tick(now);
        }
        if self.core.is_leader() {
            let due = self.deadlines.take_due(now);
            if !due.is_empty() {
                let command = self.calls.of_the_leader(Action::Expire(due));
                self.core.propose(command);
            }
        }
        self.pass_on(now, false);
        if self.calls.is_overdue(now) {
            let why = self.why_not();
            self.calls.give_up(now, &why, &mut self.answers);
        }
    }

    pub(super) fn next_deadline(&self) -> Timestamp {
        let raft = match self.identity.cluster {
            None => self.birth.due,
            Some(_) => self.core.next_deadline(),
        };
        let leases = self.deadlines.next();
        let patience = self.core.leader().map(|_| self.options.times.election);
        let calls = self.calls.next_deadline(patience);
        [leases, calls]
            .into_iter()
            .flatten()
            .fold(raft, Timestamp::min)
    }

    /// Goes as far as possible, and says what to do.
    pub(super) fn ready(&mut self, now: Timestamp) -> Ready {
        self.settle(now);
        let unsaved = self.core.take_unsaved();
        let save = Save {
            identity: std::mem::take(&mut self.identity_changed).then(|| self.identity.clone()),
            hard: unsaved.hard,
            snapshot: self.new_snapshot.take(),
            truncate: unsaved.truncate,
            entries: unsaved.entries,
            up_to: self.core.log().last(),
        };
        let mut messages = std::mem::take(&mut self.messages);
        messages.append(&mut self.core.take_messages());
        // Nothing is told in a term that the disk does not know.
        let is_known = save.hard.is_none() && save.identity.is_none();
        let (at_once, once_saved) = messages
            .into_iter()
            .partition(|(_, message)| is_known && promises_nothing(message));
        Ready {
            at_once,
            save,
            once_saved,
        }
    }

    /// What [`ready`](Self::ready) gave to save is on the disk.
    pub(super) fn saved(&mut self, up_to: Position) {
        self.core.saved(up_to);
    }

    pub(super) fn poll_answer(&mut self) -> Option<(Ticket, Result<Outcome>)> {
        self.answers.pop()
    }

    /// Whether a call that is not answered is a change that a leader has.
    pub(super) fn may_take_effect(&self, ticket: Ticket) -> bool {
        self.calls.may_take_effect(ticket)
    }

    /// Why this member can't go on, once.
    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    fn settle(&mut self, now: Timestamp) {
        self.settle_birth(now);
        self.install();
        let leader = (self.core.leader(), self.core.term());
        if leader != self.sent_to {
            self.sent_to = leader;
            self.in_flight.clear();
            self.serving.forget();
            self.deadlines = Deadlines::default();
            self.pass_on(now, true);
        }
        self.core.settle(now);
        self.apply(now);
        self.serve(now);
        while let Some(peer) = self.core.needs_snapshot() {
            let snapshot = self.take_snapshot();
            self.core.start_transfer(peer, snapshot);
        }
        self.core.settle(now);
        self.compact();
        self.rejoin();
    }

    /// Sends calls to the leader: new ones, or all.
    fn pass_on(&mut self, now: Timestamp, all: bool) {
        let Some(leader) = self.core.leader() else {
            return;
        };
        let patience = self.options.times.election;
        for message in self.calls.take_due(now, patience, all) {
            match message {
                Message::Propose(command) if leader == self.options.me => {
                    self.propose(leader, command);
                }
                Message::Confirm { id, lease } if leader == self.options.me => {
                    self.serving.ask(&mut self.core, None, id, lease);
                }
                message => self.messages.push((leader, message)),
            }
        }
    }

    /// Appends a member's command, unless it is there.
    fn propose(&mut self, from: usize, command: Bytes) {
        let Ok(decoded) = decode_command(command.clone()) else {
            return;
        };
        // The leader's own decisions come from nobody else.
        let Some(request) = decoded.request else {
            return;
        };
        // Nobody asks in another's name: all would take that one's requests for old ones.
        if usize::from(request.member) != from {
            return;
        }
        let is_full = self.core.log().bytes() > MOST_LOG_BYTES;
        if is_full || self.in_flight.contains(&request) {
            return;
        }
        if self.core.propose(command).is_some() {
            self.in_flight.insert(request);
        }
    }

    fn apply(&mut self, now: Timestamp) {
        while self.machine.applied.index < self.core.commit() {
            let next = self.machine.applied.index + 1;
            let Some(entry) = self.core.log().entry(next).cloned() else {
                return;
            };
            if entry.data.is_empty() {
                self.machine.applied = entry.at;
                if self.core.first_of_term() == Some(next) {
                    // Whoever renewed with an earlier leader did so before now.
                    self.deadlines.begin(self.machine.leases(), now);
                }
                continue;
            }
            // The leader could read it. Who can't must not go on without it: its state would not be
            // that of the others any more.
            let Ok(command) = decode_command(entry.data) else {
                self.failed = Some(Error::unsupported(format!(
                    "entry {next} of the managers' log can't be read: it was written by a newer \
                     longshore, or this member's directory is damaged; run the same version on all \
                     managers, or move the directory away while all others are there"
                )));
                return;
            };
            self.machine.applied = entry.at;
            if let Some(request) = &command.request {
                self.in_flight.remove(request);
            }
            match &command.action {
                Action::Revoke(lease) => self.deadlines.remove(&[*lease]),
                Action::Expire(leases) => self.deadlines.remove(leases),
                _ => {}
            }
            let Some((request, outcome)) = self.machine.apply(command) else {
                continue;
            };
            if let Outcome::Granted { lease, ttl } = outcome {
                self.deadlines.grant(lease, ttl, now);
            }
            if usize::from(request.member) == self.options.me {
                let newer = self.machine.newest_incarnation(request.member);
                self.calls.done(request, outcome, newer, &mut self.answers);
            }
        }
        self.calls.applied(&self.machine, &mut self.answers);
    }

    /// Answers those whom a majority's word was asked for.
    fn serve(&mut self, now: Timestamp) {
        let applied = self.machine.applied.index;
        for served in self.serving.poll(&mut self.core, applied) {
            let lives = served
                .lease
                .is_none_or(|lease| self.deadlines.keep(lease, now));
            let (id, index) = (served.id, served.index);
            match served.peer {
                None => self.calls.confirmed(id, index, lives),
                Some(peer) => self
                    .messages
                    .push((peer, Message::Confirmed { id, index, lives })),
            }
        }
        self.calls.applied(&self.machine, &mut self.answers);
    }

    /// Takes over the state that a leader sent.
    fn install(&mut self) {
        let Some(snapshot) = self.core.take_received() else {
            return;
        };
        let Ok(machine) = decode_snapshot(snapshot.data.clone()) else {
            self.birth.complain("the leader's snapshot can't be read");
            return;
        };
        if machine.applied != snapshot.at || snapshot.at.index <= self.machine.applied.index {
            return;
        }
        self.machine = machine;
        self.snapshot_bytes = snapshot.data.len();
        self.core.installed(snapshot.at);
        self.new_snapshot = Some(snapshot);
        self.calls.skipped(&self.machine, &mut self.answers);
    }

    fn take_snapshot(&self) -> Snapshot {
        Snapshot {
            at: self.machine.applied,
            data: encode_snapshot(&self.machine),
        }
    }

    fn compact(&mut self) {
        let (rules, log) = (self.options.compaction, self.core.log());
        let applied = self.machine.applied.index;
        let bytes = rules.bytes.max(self.snapshot_bytes);
        let is_long = log.len() > rules.entries || log.bytes() > bytes;
        if !is_long || applied <= log.base().index + rules.trail {
            return;
        }
        let snapshot = self.take_snapshot();
        self.snapshot_bytes = snapshot.data.len();
        self.core.compact(applied - rules.trail);
        if self.core.log().bytes() > bytes / 2 {
            self.core.compact(applied);
        }
        self.new_snapshot = Some(snapshot);
    }

    fn status(&self) -> Status {
        Status {
            names: self.identity.names.clone(),
            nonce: self.identity.nonce,
            cluster: self.identity.cluster,
            founders: self.identity.founders.clone(),
            term: self.core.term(),
            last: self.core.log().last(),
        }
    }
}

/// Whether a message may be sent before what led to it is saved: it confirms nothing that a restart
/// would forget.
fn promises_nothing(message: &Message) -> bool {
    match message {
        Message::PreVote { .. }
        | Message::PreVoted { .. }
        | Message::Append { .. }
        | Message::Heartbeat { .. }
        | Message::Snapshot { .. }
        | Message::Propose(_)
        | Message::Confirm { .. }
        | Message::Confirmed { .. } => true,
        Message::Vote { .. }
        | Message::Voted { .. }
        | Message::Appended { .. }
        | Message::HeartbeatAnswer { .. }
        | Message::SnapshotPart { .. }
        | Message::Ask(_)
        | Message::Status(_) => false,
    }
}

/// Beyond this, requests have to wait until a majority has caught up.
const MOST_LOG_BYTES: usize = 512 << 20;

#[cfg(test)]
pub(super) mod tests;
