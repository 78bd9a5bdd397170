//! The election as a pure state machine: no clock, no I/O, one call to the store at a time.
//!
//! A candidate looks at the lock. While another one's lives, it watches. When it is free, the
//! candidate takes it with a lease (the store lets one win), gives its leadership a number, looks
//! once more whether the lock is still its own, and leads. Each renewal is believed only after the
//! lock was seen to be its own again: a lease that lives on says nothing about a record that was
//! deleted by hand, came loose from it, or stood in a store that was wiped since.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use longshore_core::{Error, ErrorKind, Expect, KvEntry, Random, Timestamp};

use super::{
    call::{Answer, Call, Input, Output},
    lease::Held,
    options::{ElectionOptions, NewStore},
    stage::{Claim, Stage},
};

#[derive(Debug)]
pub(super) struct Machine {
    options: ElectionOptions,
    random: Arc<dyn Random>,
    stage: Stage,
    lease: Option<Held>,
    /// Leases that are of no use any more.
    spent: VecDeque<longshore_core::LeaseId>,
    under_way: Option<UnderWay>,
    /// Whether a call had no answer in time, and no write was quick since.
    silent: bool,
    outputs: VecDeque<Output>,
    /// The largest token ever seen, also those that a wiped store has forgotten.
    seen: u64,
    /// Who leads, and when that was last read.
    leader: Option<(String, Timestamp)>,
    looked: Timestamp,
    /// Others may try first until then.
    cool_until: Timestamp,
    /// When to open a watch; `None` while there is one.
    watch_at: Option<Timestamp>,
    resigning: bool,
}

#[derive(Debug)]
struct UnderWay {
    call: Call,
    sent: Timestamp,
}

impl Machine {
    pub(super) fn new(options: ElectionOptions, random: Arc<dyn Random>, now: Timestamp) -> Self {
        let mut machine = Self {
            options,
            random,
            stage: Stage::Look { at: now },
            lease: None,
            spent: VecDeque::new(),
            under_way: None,
            silent: false,
            outputs: VecDeque::new(),
            seen: 0,
            leader: None,
            looked: Timestamp::ZERO,
            cool_until: Timestamp::ZERO,
            watch_at: Some(now),
            resigning: false,
        };
        machine.step(now);
        machine
    }

    /// The token and until when it counts, if this candidate leads now.
    pub(super) fn leading(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        match (&self.stage, &self.lease) {
            (
                Stage::Own {
                    claim: Claim::Lead { token, .. },
                    ..
                },
                Some(lease),
            ) if lease.is_valid(now) => Some((*token, lease.valid_until)),
            _ => None,
        }
    }

    /// Who leads, as far as is known: not longer than a time to live after it was read.
    pub(super) fn leader(&self, now: Timestamp) -> Option<&str> {
        if self.leading(now).is_some() {
            return self.options.advertise.as_deref();
        }
        let (address, read) = self.leader.as_ref()?;
        (now < read.after(self.options.ttl)).then_some(address)
    }

    /// Whether everything is given up.
    pub(super) fn is_finished(&self) -> bool {
        self.resigning && self.under_way.is_none() && self.spent.is_empty()
    }

    #[cfg(test)]
    pub(super) fn is_resigning(&self) -> bool {
        self.resigning
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let call = self.under_way.as_ref();
        let call = call.map(|call| call.sent.after(self.patience()));
        let lease = self.lease.as_ref().map(|lease| lease.valid_until);
        let work = match call {
            Some(_) => None,
            None => self.due(),
        };
        let forget = self.leader.as_ref();
        let forget = forget.map(|(_, read)| read.after(self.options.ttl));
        let watch = self.watch_at.filter(|_| !self.resigning);
        [call, lease, work, forget, watch]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn handle(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Answer(result) => {
                if let Some(UnderWay { call, sent }) = self.under_way.take() {
                    // Reads are answered by stores whose disks are slow, too.
                    let tells = !matches!(call, Call::ReadLock | Call::ReadToken);
                    self.silent &= !tells || now.since(sent) > self.options.ttl / 6;
                    self.answered(call, sent, result, now);
                }
            }
            Input::Hint => self.hint(now),
            Input::WatchLost => {
                self.watch_at = Some(now.after(self.options.ttl / 10));
                self.hint(now);
            }
            Input::Resign => self.resign(),
            Input::Tick => {}
        }
        self.step(now);
    }

    /// Everything that time alone brings about, and the next call.
    fn step(&mut self, now: Timestamp) {
        if let Some(UnderWay { call, sent }) = &self.under_way
            && now >= sent.after(self.patience())
        {
            let (call, sent) = (call.clone(), *sent);
            self.under_way = None;
            self.silent = true;
            self.outputs.push_back(Output::Abandon);
            let silence = Error::new(ErrorKind::Timeout, "the store did not answer in time");
            self.answered(call, sent, Err(silence), now);
        }
        if self
            .lease
            .as_ref()
            .is_some_and(|lease| !lease.is_valid(now))
        {
            self.lose(now);
        }
        if let Some((_, read)) = &self.leader
            && now >= read.after(self.options.ttl)
        {
            self.leader = None;
        }
        if self.watch_at.is_some_and(|at| now >= at) && !self.resigning {
            self.watch_at = None;
            self.outputs.push_back(Output::Watch);
        }
        if self.under_way.is_none()
            && let Some(call) = self.next_call(now)
        {
            self.outputs.push_back(Output::Call(call.clone()));
            self.under_way = Some(UnderWay { call, sent: now });
        }
    }

    fn next_call(&mut self, now: Timestamp) -> Option<Call> {
        if let Some(lease) = self.spent.pop_front() {
            return Some(Call::Revoke(lease));
        }
        if self.resigning || self.due().is_none_or(|due| now < due) {
            return None;
        }
        if let Some(lease) = &self.lease
            && now >= lease.renew_at
        {
            return Some(match lease.unverified {
                Some(_) => Call::ReadLock,
                None => Call::KeepAlive(lease.id),
            });
        }
        match &self.stage {
            Stage::Look { .. } => {
                self.looked = now;
                Some(Call::ReadLock)
            }
            Stage::Take { expect } => Some(match &self.lease {
                None => Call::Grant,
                Some(lease) => Call::TakeLock {
                    lease: lease.id,
                    expect: *expect,
                },
            }),
            Stage::Own { claim, .. } => match claim {
                Claim::ReadToken { .. } => Some(Call::ReadToken),
                Claim::WriteToken { expect, .. } => Some(Call::WriteToken {
                    // Also not below the clock: a candidate that never saw the tokens of a wiped
                    // store is above them as long as clocks differ by less than the wait.
                    token: self.seen.max(now.as_micros()) + 1,
                    expect: *expect,
                }),
                Claim::Confirm { .. } | Claim::Lead { .. } => {
                    self.looked = now;
                    Some(Call::ReadLock)
                }
            },
        }
    }

    /// When the next call is to be made.
    fn due(&self) -> Option<Timestamp> {
        if !self.spent.is_empty() {
            return Some(Timestamp::ZERO);
        }
        if self.resigning {
            return None;
        }
        let renewal = self.lease.as_ref().map(|lease| lease.renew_at);
        let stage = self.stage.due();
        [renewal, stage].into_iter().flatten().min()
    }

    fn answered(
        &mut self,
        call: Call,
        sent: Timestamp,
        result: longshore_core::Result<Answer>,
        now: Timestamp,
    ) {
        if self.resigning {
            // A lease that was just granted, or a lock taken with it, is given back too.
            if let (Call::Grant, Ok(Answer::Granted(lease))) = (call, result) {
                self.spent.push_back(lease.id);
            }
            return;
        }
        let kind = result.as_ref().err().map(Error::kind);
        match (call, result) {
            (Call::ReadLock, Ok(Answer::Lock(entry))) => self.saw_lock(entry, now),
            (Call::Grant, Ok(Answer::Granted(lease))) => {
                let jitter = self.random.unit();
                self.lease = Some(Held::new(&lease, sent, self.options.margin, jitter));
            }
            (Call::TakeLock { .. }, Ok(Answer::Taken)) => self.own(None, now),
            (Call::ReadToken, Ok(Answer::Token(entry))) => self.saw_token(entry, now),
            (Call::WriteToken { token, .. }, Ok(Answer::TokenWritten)) => {
                self.seen = self.seen.max(token);
                self.claim(Claim::Confirm { token, at: now });
            }
            (Call::KeepAlive(id), Ok(Answer::KeptAlive)) => {
                if let Some(lease) = self.lease.as_mut().filter(|lease| lease.id == id) {
                    lease.unverified = Some(sent);
                }
            }
            (Call::Revoke(_), _) => {}
            // The lease has ended: so has whatever it held.
            (Call::KeepAlive(_) | Call::TakeLock { .. }, _)
                if kind == Some(ErrorKind::NotFound) =>
            {
                self.lease = None;
                self.look(now);
            }
            // Somebody was faster, or an answer of ours was lost: the lock tells.
            (Call::TakeLock { .. }, _) if kind == Some(ErrorKind::Conflict) => self.look(now),
            (Call::WriteToken { .. }, _) => {
                let pause = match kind {
                    Some(ErrorKind::Conflict) => Duration::ZERO,
                    _ => self.pause(),
                };
                self.claim(Claim::ReadToken {
                    at: now.after(pause),
                });
            }
            (Call::ReadToken, _) => {
                let at = now.after(self.pause());
                self.claim(Claim::ReadToken { at });
            }
            (Call::KeepAlive(_), _) => self.renew_later(now),
            (Call::ReadLock, _) if matches!(self.stage, Stage::Own { .. }) => {
                self.renew_later(now);
                self.read_later(now);
            }
            (Call::ReadLock | Call::Grant | Call::TakeLock { .. }, _) => {
                let at = now.after(self.pause());
                self.stage = Stage::Look { at };
            }
        }
    }

    fn saw_lock(&mut self, entry: Option<KvEntry>, now: Timestamp) {
        // A record that no lease backs is what a leader of long ago left behind.
        let backed = entry.as_ref().filter(|entry| entry.lease.is_some());
        let ours = match (backed, &self.lease, &self.options.advertise) {
            (Some(entry), Some(lease), Some(address)) => {
                entry.lease == Some(lease.id) && entry.value == address.as_bytes()
            }
            _ => false,
        };
        if ours {
            let revision = entry.map(|entry| entry.revision);
            return self.own(revision, now);
        }
        self.leader = backed.map(|entry| {
            let address = String::from_utf8_lossy(&entry.value).into_owned();
            (address, now)
        });
        if matches!(self.stage, Stage::Own { .. }) {
            return self.lose(now);
        }
        if backed.is_none() && self.options.advertise.is_some() {
            let expect = entry.map_or(Expect::Absent, |entry| Expect::Revision(entry.revision));
            self.stage = Stage::Take { expect };
            return;
        }
        self.drop_lease();
        let at = now.after((self.options.ttl / 2).mul_f64(0.9 + 0.2 * self.random.unit()));
        self.stage = Stage::Look { at };
    }

    /// The lock is ours, as it was answered or read. From its revision on, it must stay the same.
    fn own(&mut self, revision: Option<longshore_core::Revision>, now: Timestamp) {
        let Stage::Own {
            revision: known,
            claim,
            ..
        } = &mut self.stage
        else {
            self.leader = None;
            self.stage = Stage::Own {
                since: now,
                revision,
                claim: Claim::ReadToken { at: now },
            };
            return;
        };
        if known.is_some() && *known != revision {
            return self.lose(now);
        }
        *known = revision;
        if let Some(lease) = &mut self.lease
            && let Some(sent) = lease.unverified
        {
            lease.extend(sent, self.random.unit());
        }
        match claim {
            Claim::Confirm { token, .. } => {
                *claim = Claim::Lead {
                    token: *token,
                    look: None,
                }
            }
            Claim::Lead { look, .. } => *look = None,
            Claim::ReadToken { .. } | Claim::WriteToken { .. } => {}
        }
    }

    fn saw_token(&mut self, entry: Option<KvEntry>, now: Timestamp) {
        let Stage::Own { since, .. } = self.stage else {
            return;
        };
        let found = entry.as_ref().and_then(|entry| parse(&entry.value));
        let expect = entry.map_or(Expect::Absent, |entry| Expect::Revision(entry.revision));
        // A token that is missing, or older than one that we saw: the store has lost its past, and
        // somebody who leads by it may not know yet.
        let wiped = found.is_none_or(|token| token < self.seen);
        let at = match self.options.new_store {
            NewStore::Wait if wiped => since.after(self.options.ttl),
            _ => now,
        };
        self.seen = self.seen.max(found.unwrap_or(0));
        self.claim(Claim::WriteToken { expect, at });
    }

    fn claim(&mut self, next: Claim) {
        if let Stage::Own { claim, .. } = &mut self.stage {
            *claim = next;
        }
    }

    fn hint(&mut self, now: Timestamp) {
        let soon = self.looked.after(self.options.ttl / 50);
        let soon = soon.max(now).max(self.cool_until);
        match &mut self.stage {
            Stage::Look { at } => *at = soon.min(*at),
            Stage::Own {
                claim: Claim::Lead { look, .. },
                ..
            } => *look = Some(look.map_or(soon, |at| at.min(soon))),
            Stage::Take { .. } | Stage::Own { .. } => {}
        }
    }

    fn renew_later(&mut self, now: Timestamp) {
        if let Some(lease) = &mut self.lease {
            lease.renew_at = now.after(lease.retry()).max(lease.renew_at);
        }
    }

    /// A look at our own lock failed: try again.
    fn read_later(&mut self, now: Timestamp) {
        let pause = self.options.ttl / 15;
        if let Stage::Own { claim, .. } = &mut self.stage {
            match claim {
                Claim::Confirm { at, .. } => *at = now.after(pause),
                Claim::Lead { look: Some(at), .. } => *at = now.after(pause),
                _ => {}
            }
        }
    }

    /// The lock is not ours any more, or can't be known to be.
    fn lose(&mut self, now: Timestamp) {
        self.drop_lease();
        // Others go first: they may reach the store better.
        let at = now.after((self.options.ttl / 5).mul_f64(0.5 + self.random.unit()));
        self.cool_until = at;
        self.stage = Stage::Look { at };
    }

    fn look(&mut self, now: Timestamp) {
        self.stage = Stage::Look { at: now };
    }

    fn drop_lease(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.spent.push_back(lease.id);
        }
    }

    fn resign(&mut self) {
        if self.resigning {
            return;
        }
        self.resigning = true;
        self.drop_lease();
        self.stage = Stage::Look {
            at: Timestamp::ZERO,
        };
        if self
            .under_way
            .as_ref()
            .is_some_and(|under_way| !matches!(under_way.call, Call::Revoke(_) | Call::Grant))
        {
            self.under_way = None;
            self.outputs.push_back(Output::Abandon);
        }
    }

    /// How long a call may take: several fit into the time to live. Behind one without an answer it
    /// is longer, as a store may be slow rather than gone; a grant and a write still fit in.
    fn patience(&self) -> Duration {
        match self.silent {
            false => self.options.ttl / 6,
            true => self.options.ttl / 3,
        }
    }

    /// Before trying again.
    fn pause(&self) -> Duration {
        (self.options.ttl / 15).mul_f64(0.5 + self.random.unit())
    }
}

/// A token as it stands in the store; `None` for what is none, or so large that none comes behind.
fn parse(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse().ok().filter(|token| *token < u64::MAX / 2)
}
