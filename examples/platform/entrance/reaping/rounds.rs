use std::{collections::HashMap, time::Duration};

use longshore::core::{NodeId, Timestamp};

/// Decides which node is looked into, and when: each as soon as it is there, and again a minute later
/// for what its engine was still starting then; each time that it comes back; after a failure, or where
/// something is left, later and later; and again when this life leaves something itself. A few at a
/// time, those that never failed first; who takes long holds up nobody.
#[derive(Debug, Default)]
pub struct Rounds {
    visits: HashMap<NodeId, Visit>,
    /// How many sessions of this life left something, as far as was told.
    unsettled: u64,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Every container was looked into, and nothing is left.
    Through,
    /// Another look may see more.
    Failed,
}

/// One node for as long as it is there.
#[derive(Debug)]
struct Visit {
    since: Timestamp,
    there: bool,
    /// Looks that came through.
    looks: u32,
    /// In a row.
    failures: u32,
    /// When the next look is due, but for a reminder.
    due: Option<Timestamp>,
    /// Since when it is looked into.
    looking: Option<Timestamp>,
    /// It went and came back meanwhile.
    again: bool,
    /// When the last look began.
    looked: Option<Timestamp>,
    /// What sessions of this life left is to be looked for, too.
    reminder: Option<Reminder>,
}

/// Since a look began that could have found it.
#[derive(Clone, Copy, Debug)]
struct Reminder {
    first: Timestamp,
    last: Timestamp,
}

impl Visit {
    fn new(since: Timestamp, now: Timestamp) -> Self {
        Self {
            since,
            there: true,
            looks: 0,
            failures: 0,
            due: Some(now),
            looking: None,
            again: false,
            looked: None,
            reminder: None,
        }
    }

    /// When the next look is due.
    fn due(&self) -> Option<Timestamp> {
        let reminded = self.reminder.map(|reminder| {
            let rested = self.looked.map(|looked| looked.after(AGAIN));
            reminder
                .first
                .after(LATE)
                .max(rested.unwrap_or(Timestamp::ZERO))
        });
        self.due.into_iter().chain(reminded).min()
    }

    fn remind(&mut self, now: Timestamp) {
        let first = self.reminder.map_or(now, |reminder| reminder.first);
        self.reminder = Some(Reminder { first, last: now });
    }

    fn begin(&mut self, now: Timestamp) {
        (self.looking, self.looked, self.due) = (Some(now), Some(now), None);
        // What came too late for this look has another.
        let late = self.reminder.map(|reminder| reminder.last);
        let late = late.filter(|last| last.after(LATE) > now);
        self.reminder = late.map(|last| Reminder { first: last, last });
    }
}

impl Rounds {
    /// These nodes are there now, each since then.
    pub fn see(&mut self, nodes: &[(NodeId, Timestamp)], now: Timestamp) {
        for visit in self.visits.values_mut() {
            visit.there = false;
        }
        for (node, since) in nodes {
            let new = || Visit::new(*since, now);
            let visit = self.visits.entry(node.clone()).or_insert_with(new);
            visit.there = true;
            if visit.since == *since {
                continue;
            }
            visit.since = *since;
            if visit.looking.is_some() {
                visit.again = true;
            } else {
                *visit = new();
            }
        }
        // Who is being looked into is remembered, so that it is not looked into twice at a time.
        self.visits
            .retain(|_, visit| visit.there || visit.looking.is_some());
    }

    /// So many sessions of this life left something so far, somewhere: after each more, every node is
    /// looked into once more, though not too often.
    pub fn unsettled(&mut self, count: u64, now: Timestamp) {
        if count > self.unsettled {
            self.unsettled = count;
            self.visits.values_mut().for_each(|visit| visit.remind(now));
        }
    }

    /// Which node is to be looked into now; call it until there is none.
    pub fn next(&mut self, now: Timestamp) -> Option<NodeId> {
        let looking = || self.visits.values().filter_map(|visit| visit.looking);
        let quick = looking().filter(|since| now.since(*since) < PATIENCE);
        if quick.count() >= AT_A_TIME || looking().count() >= MOST {
            return None;
        }
        let is_due = |visit: &Visit| {
            visit.there && visit.looking.is_none() && visit.due().is_some_and(|due| due <= now)
        };
        let due = self.visits.iter_mut().filter(|(_, visit)| is_due(visit));
        let (node, visit) = due.min_by_key(|(_, visit)| (visit.failures, visit.due()))?;
        visit.begin(now);
        Some(node.clone())
    }

    /// A look ended.
    pub fn came(&mut self, node: &NodeId, came: Came, now: Timestamp) {
        let Some(visit) = self.visits.get_mut(node) else {
            return;
        };
        if visit.again {
            *visit = Visit::new(visit.since, now);
            return;
        }
        visit.looking = None;
        match came {
            Came::Through => {
                (visit.looks, visit.failures) = (visit.looks + 1, 0);
                visit.due = (visit.looks < LOOKS).then(|| now.after(LATE));
            }
            Came::Failed => {
                let pause = FIRST_PAUSE * 2u32.saturating_pow(visit.failures.min(MOST_DOUBLINGS));
                visit.failures = visit.failures.saturating_add(1);
                visit.due = Some(now.after(pause));
            }
        }
    }
}

/// How many nodes are looked into at a time, not counting those that take longer than [`PATIENCE`].
const AT_A_TIME: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);
/// And counting them. An engine's answer is waited for for half a minute.
const MOST: usize = 256;
const LOOKS: u32 = 2;
/// An engine takes half a minute at most to start what it was asked to, as far as was seen.
const LATE: Duration = Duration::from_secs(60);
/// What this life leaves itself has a node looked into so often at most.
const AGAIN: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Five minutes and a bit.
const MOST_DOUBLINGS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn node(number: usize) -> NodeId {
        NodeId::new(format!("node-{number}")).expect("an id")
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.after(Duration::from_secs(seconds))
    }

    fn due(rounds: &mut Rounds, now: Timestamp) -> Vec<NodeId> {
        std::iter::from_fn(|| rounds.next(now)).collect()
    }

    #[test]
    fn a_node_is_looked_into_when_it_comes_and_once_more_a_minute_later() {
        let mut rounds = Rounds::default();
        let there = [(node(1), NOW)];
        rounds.see(&there, NOW);
        assert_eq!(due(&mut rounds, NOW), [node(1)]);
        rounds.see(&there, later(1));
        assert_eq!(due(&mut rounds, later(1)), [], "it is being looked into");
        rounds.came(&node(1), Came::Through, later(2));
        assert_eq!(due(&mut rounds, later(61)), []);
        assert_eq!(due(&mut rounds, later(62)), [node(1)]);
        rounds.came(&node(1), Came::Through, later(63));
        rounds.see(&there, later(10_000));
        assert_eq!(due(&mut rounds, later(10_000)), [], "nothing can be new");
    }

    #[test]
    fn who_comes_back_is_looked_into_again() {
        let mut rounds = Rounds::default();
        rounds.see(&[(node(1), NOW), (node(2), NOW)], NOW);
        assert_eq!(due(&mut rounds, NOW).len(), 2);
        rounds.came(&node(1), Came::Through, NOW);
        // The second came back while it was being looked into; the first was away for a while.
        rounds.see(&[(node(2), later(5))], later(5));
        assert_eq!(due(&mut rounds, later(5)), []);
        rounds.came(&node(2), Came::Through, later(6));
        assert_eq!(due(&mut rounds, later(6)), [node(2)]);
        rounds.see(&[(node(1), later(7)), (node(2), later(5))], later(7));
        assert_eq!(due(&mut rounds, later(7)), [node(1)]);
    }

    #[test]
    fn who_is_away_is_not_asked_and_forgotten() {
        let mut rounds = Rounds::default();
        rounds.see(&[(node(1), NOW)], NOW);
        assert_eq!(due(&mut rounds, NOW), [node(1)]);
        rounds.see(&[], later(1));
        rounds.came(&node(1), Came::Failed, later(2));
        assert_eq!(due(&mut rounds, later(100)), []);
        rounds.see(&[], later(101));
        assert!(rounds.visits.is_empty());
    }

    #[test]
    fn failures_are_tried_again_later_and_later_behind_all_others() {
        let mut rounds = Rounds::default();
        let there: Vec<_> = (0..2).map(|number| (node(number), NOW)).collect();
        rounds.see(&there[..1], NOW);
        let (mut now, mut pauses) = (NOW, Vec::new());
        for _ in 0..9 {
            assert_eq!(due(&mut rounds, now), [node(0)]);
            rounds.came(&node(0), Came::Failed, now);
            let next = rounds.visits[&node(0)].due.expect("it is tried again");
            pauses.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 320, 320]);
        rounds.see(&there, now);
        assert_eq!(due(&mut rounds, now), [node(1), node(0)]);
    }

    #[test]
    fn what_this_life_leaves_has_every_node_looked_into_again_though_not_too_often() {
        let mut rounds = Rounds::default();
        let there = [(node(1), NOW)];
        rounds.see(&there, NOW);
        for at in [0, 60] {
            assert_eq!(due(&mut rounds, later(at)), [node(1)]);
            rounds.came(&node(1), Came::Through, later(at));
        }
        rounds.unsettled(0, later(1000));
        assert_eq!(due(&mut rounds, later(2000)), [], "nothing is left");
        rounds.unsettled(1, later(2000));
        assert_eq!(due(&mut rounds, later(2059)), [], "it may be starting yet");
        // Another, too late for the look that is due for the first.
        rounds.unsettled(2, later(2059));
        assert_eq!(due(&mut rounds, later(2060)), [node(1)]);
        rounds.came(&node(1), Came::Through, later(2061));
        rounds.unsettled(2, later(2062));
        assert_eq!(due(&mut rounds, later(2359)), [], "it was just looked into");
        assert_eq!(due(&mut rounds, later(2360)), [node(1)]);
        rounds.came(&node(1), Came::Through, later(2361));
        assert_eq!(due(&mut rounds, later(10_000)), []);
        // However many come all the time.
        let mut looks = 0;
        for at in 10_000..13_600 {
            rounds.unsettled(at, later(at));
            looks += due(&mut rounds, later(at)).len();
            rounds.came(&node(1), Came::Through, later(at));
        }
        assert!((11..=13).contains(&looks), "{looks}");
    }

    #[test]
    fn eight_at_a_time_and_who_hangs_holds_up_nobody() {
        let mut rounds = Rounds::default();
        let there: Vec<_> = (0..2 * MOST).map(|number| (node(number), NOW)).collect();
        rounds.see(&there, NOW);
        assert_eq!(due(&mut rounds, NOW).len(), AT_A_TIME);
        assert_eq!(due(&mut rounds, later(4)), []);
        // None has answered, and the next have their turn.
        assert_eq!(due(&mut rounds, later(5)).len(), AT_A_TIME);
        let mut asked = 2 * AT_A_TIME;
        for round in 2..200 {
            asked += due(&mut rounds, later(5 * round)).len();
        }
        assert_eq!(asked, MOST, "however many hang");
    }
}
