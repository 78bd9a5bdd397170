//! Probing: directly, through others, then suspicion, then death.

use std::sync::Arc;

use bytes::Bytes;
use longshore_core::Timestamp;

use super::{
    super::wire::{Kind, LARGEST, Record, Status},
    FANOUT, MOST_DOUBT, Machine,
};

/// The one that is under way.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) sequence: u64,
    pub(super) target: u64,
    pub(super) indirect_at: Option<Timestamp>,
    pub(super) ends: Timestamp,
}

impl Machine {
    pub(super) fn acknowledged(&mut self, sequence: u64, now: Timestamp) {
        if self
            .probe
            .as_ref()
            .is_some_and(|probe| probe.sequence == sequence)
        {
            self.probe = None;
            self.doubt = self.doubt.saturating_sub(1);
            return;
        }
        self.errands.retain(|errand| errand.3 > now);
        let errand = self.errands.iter().position(|errand| errand.0 == sequence);
        if let Some((_, theirs, asker, _)) = errand.and_then(|at| self.errands.remove(at)) {
            self.send(asker, Kind::Ack { sequence: theirs }, Vec::new());
        }
    }

    pub(super) fn probe(&mut self, now: Timestamp) {
        if let Some(probe) = &mut self.probe {
            if probe.indirect_at.is_some_and(|at| now >= at) {
                probe.indirect_at = None;
                let (sequence, target) = (probe.sequence, probe.target);
                self.probe_through_others(sequence, target);
            } else if now >= probe.ends {
                let target = probe.target;
                self.probe = None;
                self.doubt = (self.doubt + 1).min(MOST_DOUBT);
                self.suspect(target, now);
            }
        }
        if now < self.next_probe || self.probe.is_some() {
            return;
        }
        // A member that hears little itself takes more time before it accuses others.
        let slower = self.doubt + 1;
        self.next_probe = now.after(self.jittered(self.times.probe) * slower);
        if self.position >= self.order.len() {
            self.position = 0;
            self.shuffle();
        }
        let Some(target) = self.order.get(self.position).copied() else {
            return;
        };
        self.position += 1;
        let Some(member) = self.members.get(&target) else {
            return;
        };
        let (address, suspect) = (member.record.address, member.record.clone());
        let sequence = self.next_sequence();
        let timeout = self.times.timeout * slower;
        self.probe = Some(Probe {
            sequence,
            target,
            indirect_at: Some(now.after(timeout)),
            ends: now.after(timeout + self.times.probe * slower),
        });
        let mut records = self.take_news(LARGEST - 25 - suspect.size());
        if suspect.status == Status::Suspect {
            // The accused hears of it first.
            records.insert(0, suspect);
        }
        self.send(address, Kind::Ping { sequence, target }, records);
    }

    pub(super) fn probe_through_others(&mut self, sequence: u64, target: u64) {
        let Some(address) = self
            .members
            .get(&target)
            .map(|member| member.record.address)
        else {
            return;
        };
        for _ in 0..FANOUT {
            if let Some(helper) = self.pick().filter(|helper| *helper != address) {
                let kind = Kind::PingFor {
                    sequence,
                    target,
                    address,
                };
                self.send(helper, kind, Vec::new());
            }
        }
    }

    pub(super) fn suspect(&mut self, id: u64, now: Timestamp) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let mut record = Record::clone(&member.record);
        if record.status <= Status::Suspect {
            record.status = Status::Suspect;
            record.accuser = self.own.id;
            self.learn(Arc::new(record), now);
        }
    }

    pub(super) fn declare_dead(&mut self, id: u64, now: Timestamp) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let mut record = Record::clone(&member.record);
        record.status = Status::Dead;
        record.accuser = self.own.id;
        record.payload = Bytes::new();
        self.learn(Arc::new(record), now);
    }
}
