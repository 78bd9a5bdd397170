use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use longshore_core::{Announcement, Endpoint, Error, MembershipEvent, Timestamp};

/// Who is announced, over all discovery backends, as a pure state machine.
///
/// Removal needs evidence (D6): a backend that can't be read removes nothing. When all nodes or
/// more than half of them vanish at once, they are held as stale for a grace period; then the
/// backend is read again, and what it says counts.
#[derive(Debug)]
pub(super) struct Members {
    grace: Duration,
    sources: Vec<Source>,
    outputs: VecDeque<MemberChange>,
    /// What the outputs said last.
    told: BTreeMap<Endpoint, (Announcement, bool)>,
}

#[derive(Debug, Default)]
struct Source {
    known: BTreeMap<Endpoint, Announcement>,
    held: BTreeSet<Endpoint>,
    hold_until: Option<Timestamp>,
    rereading: bool,
    unreadable: bool,
    /// When it is asked whether it can be read again.
    recheck_at: Option<Timestamp>,
    /// Removals one by one, within the last grace period.
    removals: VecDeque<Timestamp>,
}

/// What to do about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MemberChange {
    /// It is announced.
    Join(Announcement),
    /// It is no longer announced.
    Leave(Endpoint),
    /// Its entry became stale, or fresh again.
    Stale(Endpoint, bool),
    /// Read this source's full set again and tell [`Members::reread`].
    Reread(usize),
}

impl Members {
    pub(super) fn new(sources: usize, grace: Duration) -> Self {
        Self {
            grace,
            sources: (0..sources).map(|_| Source::default()).collect(),
            outputs: VecDeque::new(),
            told: BTreeMap::new(),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<MemberChange> {
        self.outputs.pop_front()
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.sources
            .iter()
            .filter(|source| !source.rereading)
            .filter_map(Source::due)
            .min()
    }

    pub(super) fn handle(&mut self, index: usize, event: MembershipEvent, now: Timestamp) {
        let grace = self.grace;
        let Some(source) = self.sources.get_mut(index) else {
            return;
        };
        match event {
            MembershipEvent::Reset(nodes) => {
                source.unreadable = false;
                source.reset(nodes, now, grace);
            }
            MembershipEvent::Added(node) => {
                source.unreadable = false;
                source.held.remove(&node.endpoint);
                source.known.insert(node.endpoint.clone(), node);
            }
            MembershipEvent::Removed(endpoint) => {
                source.unreadable = false;
                source.remove(endpoint, now, grace);
            }
            // One bad entry says nothing about the others; a backend that can't be read does.
            MembershipEvent::Problem(error) => source.unreadable |= error.is_retryable(),
            _ => {}
        }
        source.look_again(now, grace);
        self.tell();
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        for (index, source) in self.sources.iter_mut().enumerate() {
            if !source.rereading && source.due().is_some_and(|at| at <= now) {
                source.rereading = true;
                self.outputs.push_back(MemberChange::Reread(index));
            }
        }
    }

    /// What a source said when it was read again.
    pub(super) fn reread(
        &mut self,
        index: usize,
        outcome: Result<Vec<Announcement>, Error>,
        now: Timestamp,
    ) {
        let Some(source) = self.sources.get_mut(index) else {
            return;
        };
        source.rereading = false;
        match outcome {
            Ok(nodes) => {
                source.unreadable = false;
                source.recheck_at = None;
                if source.hold_until.is_some_and(|at| at <= now) {
                    source.hold_until = None;
                    source.held.clear();
                    source.known = keyed(nodes);
                } else {
                    source.reset(nodes, now, self.grace);
                }
            }
            Err(_) => {
                if source.hold_until.is_some() {
                    source.hold_until = Some(now.after(self.grace));
                }
                source.recheck_at = None;
                source.look_again(now, self.grace);
            }
        }
        self.tell();
    }

    /// Says how the union of all sources changed.
    fn tell(&mut self) {
        let mut union: BTreeMap<Endpoint, (Announcement, bool)> = BTreeMap::new();
        for source in &self.sources {
            for (endpoint, node) in &source.known {
                let stale = source.unreadable || source.held.contains(endpoint);
                union
                    .entry(endpoint.clone())
                    .and_modify(|(_, known)| *known &= stale)
                    .or_insert_with(|| (node.clone(), stale));
            }
        }
        // Who left goes first, so that an engine that changed its address is not a duplicate.
        for endpoint in self.told.keys() {
            if !union.contains_key(endpoint) {
                self.outputs
                    .push_back(MemberChange::Leave(endpoint.clone()));
            }
        }
        for (endpoint, (node, stale)) in &union {
            let before = self.told.get(endpoint);
            if before.is_none() {
                self.outputs.push_back(MemberChange::Join(node.clone()));
            }
            if *stale != before.is_some_and(|(_, stale)| *stale) {
                self.outputs
                    .push_back(MemberChange::Stale(endpoint.clone(), *stale));
            }
        }
        self.told = union;
    }
}

impl Source {
    /// When it is to be read again.
    fn due(&self) -> Option<Timestamp> {
        let due = [self.hold_until, self.recheck_at];
        due.into_iter().flatten().min()
    }

    /// A backend that says nothing when it can be read again is asked.
    fn look_again(&mut self, now: Timestamp, grace: Duration) {
        self.recheck_at = match self.recheck_at {
            _ if !self.unreadable => None,
            Some(at) => Some(at),
            None => Some(now.after(grace.max(SHORTEST_RECHECK))),
        };
    }

    fn reset(&mut self, nodes: Vec<Announcement>, now: Timestamp, grace: Duration) {
        let new = keyed(nodes);
        let gone: BTreeSet<Endpoint> = self
            .known
            .keys()
            .filter(|endpoint| !new.contains_key(*endpoint))
            .cloned()
            .collect();
        let many = 2 * gone.len() > self.known.len();
        let old = std::mem::replace(&mut self.known, new);
        if many && !grace.is_zero() {
            for endpoint in &gone {
                if let Some(node) = old.get(endpoint) {
                    self.known.insert(endpoint.clone(), node.clone());
                }
            }
            self.hold_until.get_or_insert(now.after(grace));
            self.held = gone;
        } else {
            self.held.clear();
            self.hold_until = None;
        }
    }

    fn remove(&mut self, endpoint: Endpoint, now: Timestamp, grace: Duration) {
        if !self.known.contains_key(&endpoint) || self.held.contains(&endpoint) {
            return;
        }
        while self
            .removals
            .front()
            .is_some_and(|at| now.since(*at) >= grace)
        {
            self.removals.pop_front();
        }
        self.removals.push_back(now);
        let before = self.known.len() - self.held.len() + self.removals.len() - 1;
        if 2 * self.removals.len() > before && !grace.is_zero() {
            self.held.insert(endpoint);
            self.hold_until.get_or_insert(now.after(grace));
        } else {
            self.known.remove(&endpoint);
        }
    }
}

/// Between tries to read a backend that could not be read.
const SHORTEST_RECHECK: Duration = Duration::from_secs(1);

fn keyed(nodes: Vec<Announcement>) -> BTreeMap<Endpoint, Announcement> {
    nodes
        .into_iter()
        .map(|node| (node.endpoint.clone(), node))
        .collect()
}

#[cfg(test)]
mod tests {
    use longshore_core::ErrorKind;

    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn node(number: u16) -> Announcement {
        Announcement::new(Endpoint::new("10.0.0.1", number).unwrap())
    }

    fn reset(numbers: impl IntoIterator<Item = u16>) -> MembershipEvent {
        MembershipEvent::Reset(numbers.into_iter().map(node).collect())
    }

    fn drain(members: &mut Members) -> Vec<String> {
        std::iter::from_fn(|| members.poll_output())
            .map(|change| match change {
                MemberChange::Join(node) => format!("+{}", node.endpoint.port()),
                MemberChange::Leave(endpoint) => format!("-{}", endpoint.port()),
                MemberChange::Stale(endpoint, true) => format!("?{}", endpoint.port()),
                MemberChange::Stale(endpoint, false) => format!("!{}", endpoint.port()),
                MemberChange::Reread(index) => format!("read {index}"),
            })
            .collect()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn who_comes_joins_and_who_goes_leaves_first() {
        let mut members = Members::new(1, GRACE);
        members.handle(0, reset(1..=4), at(0));
        assert_eq!(drain(&mut members), ["+1", "+2", "+3", "+4"]);
        members.handle(0, reset([1, 2, 4, 5]), at(1));
        assert_eq!(drain(&mut members), ["-3", "+5"]);
        members.handle(0, reset([5, 4, 2, 1]), at(2));
        assert_eq!(drain(&mut members), Vec::<String>::new());
    }

    #[test]
    fn a_node_is_a_member_while_any_source_has_it() {
        let mut members = Members::new(2, Duration::ZERO);
        members.handle(0, reset([1]), at(0));
        members.handle(1, reset([1, 2]), at(0));
        assert_eq!(drain(&mut members), ["+1", "+2"]);
        members.handle(0, reset([]), at(1));
        assert_eq!(drain(&mut members), Vec::<String>::new());
        members.handle(1, MembershipEvent::Removed(node(1).endpoint), at(2));
        assert_eq!(drain(&mut members), ["-1"]);
    }

    #[test]
    fn an_unreadable_backend_removes_nothing() {
        let mut members = Members::new(1, GRACE);
        members.handle(0, reset([1, 2]), at(0));
        drain(&mut members);
        let down = Error::new(ErrorKind::Unavailable, "no store");
        members.handle(0, MembershipEvent::Problem(down), at(1));
        assert_eq!(drain(&mut members), ["?1", "?2"]);
        members.handle(0, reset([1, 2]), at(100));
        assert_eq!(drain(&mut members), ["!1", "!2"]);
        members.handle(
            0,
            MembershipEvent::Problem(Error::invalid("line 3")),
            at(101),
        );
        assert_eq!(drain(&mut members), Vec::<String>::new());
    }

    #[test]
    fn a_backend_that_says_nothing_when_it_recovers_is_asked() {
        let mut members = Members::new(1, GRACE);
        members.handle(0, reset([1, 2]), at(0));
        drain(&mut members);
        let down = || Error::new(ErrorKind::Unavailable, "no store");
        members.handle(0, MembershipEvent::Problem(down()), at(1));
        members.handle(0, MembershipEvent::Problem(down()), at(30));
        assert_eq!(drain(&mut members), ["?1", "?2"]);
        assert_eq!(members.next_deadline(), Some(at(61)));
        members.tick(at(61));
        assert_eq!(drain(&mut members), ["read 0"]);
        members.reread(0, Err(down()), at(62));
        assert_eq!(members.next_deadline(), Some(at(122)));
        members.tick(at(122));
        assert_eq!(drain(&mut members), ["read 0"]);
        // What vanished meanwhile is held as ever.
        members.reread(0, Ok(Vec::new()), at(123));
        assert_eq!(drain(&mut members), Vec::<String>::new());
        assert_eq!(members.next_deadline(), Some(at(183)));
        members.handle(0, reset([1, 2]), at(124));
        assert_eq!(drain(&mut members), ["!1", "!2"]);
        assert_eq!(members.next_deadline(), None);
    }

    #[test]
    fn a_mass_disappearance_is_held_and_read_again() {
        let mut members = Members::new(1, GRACE);
        members.handle(0, reset(1..=4), at(0));
        drain(&mut members);
        members.handle(0, reset([1]), at(10));
        assert_eq!(drain(&mut members), ["?2", "?3", "?4"]);
        assert_eq!(members.next_deadline(), Some(at(70)));
        members.tick(at(70));
        assert_eq!(drain(&mut members), ["read 0"]);
        // It can't be read: the grace period begins anew.
        members.reread(0, Err(Error::unavailable("no")), at(71));
        assert_eq!(drain(&mut members), Vec::<String>::new());
        members.tick(at(131));
        assert_eq!(drain(&mut members), ["read 0"]);
        members.reread(0, Ok([1, 3].map(node).to_vec()), at(132));
        assert_eq!(drain(&mut members), ["-2", "-4", "!3"]);
        assert_eq!(members.next_deadline(), None);
    }

    #[test]
    fn removals_one_by_one_add_up() {
        let mut members = Members::new(1, GRACE);
        members.handle(0, reset(1..=4), at(0));
        drain(&mut members);
        for port in 1..=4 {
            members.handle(0, MembershipEvent::Removed(node(port).endpoint), at(1));
        }
        assert_eq!(drain(&mut members), ["-1", "-2", "?3", "?4"]);
        // One at a time, far apart, each is believed.
        let mut members = Members::new(1, GRACE);
        members.handle(0, reset(1..=4), at(0));
        drain(&mut members);
        for port in 1..=3 {
            let now = at(u64::from(port) * 100);
            members.handle(0, MembershipEvent::Removed(node(port).endpoint), now);
        }
        assert_eq!(drain(&mut members), ["-1", "-2", "-3"]);
    }

    #[test]
    fn nodes_that_return_in_time_were_never_gone() {
        let mut members = Members::new(1, GRACE);
        members.handle(0, reset(1..=2), at(0));
        drain(&mut members);
        members.handle(0, reset([]), at(1));
        members.handle(0, reset(1..=2), at(2));
        assert_eq!(drain(&mut members), ["?1", "?2", "!1", "!2"]);
        assert_eq!(members.next_deadline(), None);
    }
}
