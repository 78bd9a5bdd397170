//! What is said about members: who is there, suspected or gone, and what counts when two say
//! different things.

use std::sync::Arc;

use longshore_core::Timestamp;

use super::{
    super::{
        member::{Member, Suspicion},
        wire::{Record, Status},
    },
    MOST_DOUBT, Machine,
};

impl Machine {
    /// Takes in what is said about a member, and passes news on.
    pub(super) fn learn(&mut self, record: Arc<Record>, now: Timestamp) {
        if record.id == self.own.id {
            if record.version >= self.own.version && record.status != Status::Alive {
                Arc::make_mut(&mut self.own).version = record.version.saturating_add(1);
                self.doubt = (self.doubt + 1).min(MOST_DOUBT);
                self.spread(self.own.id);
            }
            return;
        }
        let known = self.members.get(&record.id);
        let gone = record.status >= Status::Dead;
        match known {
            Some(known) if !record.overrides(&known.record) => {
                if known.suspicion.is_some() {
                    self.confirm(&record);
                }
                return;
            }
            None if gone || self.members.len() >= MOST_MEMBERS => return,
            _ => {}
        }
        // A process that started again took the address of the one before.
        if !gone && let Some(other) = self.by_address.get(&record.address).copied() {
            let older = self.members.get(&other).map(|other| other.record.version);
            if other != record.id && older.is_some_and(|version| version > record.version) {
                return;
            }
            if other != record.id {
                self.declare_dead(other, now);
            }
        }
        self.replace(record, now);
    }

    pub(super) fn replace(&mut self, record: Arc<Record>, now: Timestamp) {
        let id = record.id;
        let before = self.members.remove(&id);
        if let Some(before) = &before {
            if let Some(suspicion) = &before.suspicion {
                self.suspicions.remove(&(suspicion.ends, id));
            }
            self.toggle(&before.record);
        }
        let was = before
            .as_ref()
            .map(|before| before.record.status <= Status::Suspect);
        let is = record.status <= Status::Suspect;
        match (was.unwrap_or(false), is) {
            (false, true) => {
                self.lost.remove(&id);
                self.by_address.insert(record.address, id);
                let at = (self.random.next_u64() as usize) % (self.order.len() + 1);
                self.order.push(id);
                let last = self.order.len() - 1;
                self.order.swap(at, last);
            }
            (true, false) => {
                self.order.retain(|other| *other != id);
                if self.by_address.get(&record.address) == Some(&id) {
                    self.by_address.remove(&record.address);
                }
                if record.status == Status::Dead {
                    self.lost.insert(id);
                }
            }
            _ => {}
        }
        let was_payload = before.as_ref().map(|before| &before.record.payload);
        if was != Some(is) || is && was_payload != Some(&record.payload) {
            self.changes += 1;
        }
        let suspicion = (record.status == Status::Suspect).then(|| {
            let (shortest, longest) = self.times.suspicion(self.order.len());
            Box::new(Suspicion::new(record.accuser, shortest, longest, now))
        });
        if let Some(suspicion) = &suspicion {
            self.suspicions.insert((suspicion.ends, id));
        }
        self.toggle(&record);
        let lost_at = (!is).then_some(now);
        self.members.insert(
            id,
            Member {
                record,
                suspicion,
                lost_at,
            },
        );
        self.spread(id);
    }

    /// One more accuser shortens a suspicion.
    fn confirm(&mut self, record: &Record) {
        let Some(member) = self.members.get_mut(&record.id) else {
            return;
        };
        let same = (record.version, record.status) == (member.record.version, member.record.status);
        if let Some(suspicion) = member.suspicion.as_mut().filter(|_| same) {
            let before = suspicion.ends;
            if suspicion.confirm(record.accuser) {
                self.suspicions.remove(&(before, record.id));
                self.suspicions.insert((suspicion.ends, record.id));
                Arc::make_mut(&mut member.record).accuser = record.accuser;
                self.spread(record.id);
            }
        }
    }
}

const MOST_MEMBERS: usize = 20_000;
