//! Anti-entropy: two members compare digests of all that they know, and tell each other what differs.

use std::{net::SocketAddr, sync::Arc};

use longshore_core::Timestamp;

use super::{
    super::wire::{BUCKETS, Kind, LARGEST, Record, Status},
    Machine,
};

impl Machine {
    /// Puts a record into the digest, or takes it out again.
    pub(super) fn toggle(&mut self, record: &Record) {
        if record.status <= Status::Suspect {
            self.digest[bucket(record.id)] ^= mix(record.id, record.version);
        }
    }

    pub(super) fn compare(&mut self, address: SocketAddr, answer: bool) {
        let digest = self.own_digest();
        let kind = Kind::Compare { digest, answer };
        let records = vec![self.own.clone()];
        self.send(address, kind, records);
    }

    /// Of everybody, this member included: the others count it too.
    pub(super) fn own_digest(&self) -> Box<[u32; BUCKETS]> {
        let mut digest = self.digest.clone();
        digest[bucket(self.own.id)] ^= mix(self.own.id, self.own.version);
        digest
    }

    pub(super) fn tell_differences(&mut self, to: SocketAddr, theirs: &[u32; BUCKETS]) {
        let ours = self.own_digest();
        let differs: Vec<bool> = ours.iter().zip(theirs).map(|(a, b)| a != b).collect();
        if !differs.contains(&true) {
            return;
        }
        let known = self.members.values().map(|member| &member.record);
        let differing: Vec<Arc<Record>> = std::iter::once(&self.own)
            .chain(known)
            .filter(|record| differs[bucket(record.id)])
            .cloned()
            .collect();
        // From anywhere on, so that what is cut off comes another time.
        let start = (self.random.next_u64() as usize) % differing.len().max(1);
        let (mut records, mut size, mut messages) = (Vec::new(), 9, 0);
        for record in differing[start..].iter().chain(&differing[..start]) {
            if size + record.size() > LARGEST {
                self.send(to, Kind::Tell, std::mem::take(&mut records));
                size = 9;
                messages += 1;
                if messages >= MOST_AT_ONCE {
                    return;
                }
            }
            size += record.size();
            records.push(record.clone());
        }
        if !records.is_empty() {
            self.send(to, Kind::Tell, records);
        }
    }

    /// Calls one who was lost, or a seed: after a partition both sides hold each other for dead,
    /// and nothing else would bring them together.
    pub(super) fn call_lost(&mut self, now: Timestamp) {
        let forget = self.times.forget;
        let old: Vec<u64> = self
            .members
            .iter()
            .filter(|(_, member)| member.lost_at.is_some_and(|at| now.since(at) >= forget))
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            self.members.remove(&id);
            self.lost.remove(&id);
        }
        let strangers = self.seeds.iter().copied();
        let strangers = strangers
            .filter(|seed| *seed != self.own.address && !self.by_address.contains_key(seed));
        let mut choices: Vec<SocketAddr> = strangers.collect();
        let lost = (self.random.next_u64() as usize) % self.lost.len().max(1);
        let lost = self.lost.iter().nth(lost);
        choices.extend(lost.and_then(|id| Some(self.members.get(id)?.record.address)));
        if choices.is_empty() {
            return;
        }
        let choice = choices[(self.random.next_u64() as usize) % choices.len()];
        self.compare(choice, false);
    }
}

fn bucket(id: u64) -> usize {
    (id % BUCKETS as u64) as usize
}

/// Spreads an id and a version over 32 bits (splitmix64's finalizer). It finds differences, it
/// proves nothing.
fn mix(id: u64, version: u64) -> u32 {
    let mut x = id ^ version.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as u32
}

/// Messages with differences at a time.
const MOST_AT_ONCE: usize = 48;
