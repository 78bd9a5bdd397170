use super::*;
use proptest::prelude::*;

const GRACE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1000 + seconds)
}

fn key(number: u8) -> String {
    format!("d/10.0.0.{number}:1")
}

fn entry(number: u8, revision: u64) -> KvEntry {
    KvEntry::new(
        key(number),
        format!("10.0.0.{number}:1"),
        Revision(revision),
    )
}

fn listing(numbers: &[u8], revision: u64) -> Listing {
    Listing {
        entries: numbers
            .iter()
            .map(|number| entry(*number, revision))
            .collect(),
        revision: Revision(revision),
    }
}

/// What a watcher knows, and how many problems it was told of.
#[derive(Default)]
struct Watcher {
    known: BTreeSet<String>,
    problems: usize,
}

impl Watcher {
    fn drain(&mut self, view: &mut View) {
        while let Some(event) = view.poll_event() {
            match event {
                MembershipEvent::Reset(nodes) => {
                    self.known = nodes.iter().map(|node| node.endpoint.to_string()).collect();
                }
                MembershipEvent::Added(node) => drop(self.known.insert(node.endpoint.to_string())),
                MembershipEvent::Removed(endpoint) => {
                    assert!(
                        self.known.remove(&endpoint.to_string()),
                        "{endpoint} was not known"
                    );
                }
                _ => self.problems += 1,
            }
        }
    }
}

#[track_caller]
fn check(view: &mut View, watcher: &mut Watcher, numbers: &[u8]) {
    watcher.drain(view);
    let expected: BTreeSet<_> = numbers.iter().map(|n| format!("10.0.0.{n}:1")).collect();
    assert_eq!(watcher.known, expected);
}

fn started(numbers: &[u8]) -> (View, Watcher) {
    let (mut view, mut watcher) = (View::new(GRACE), Watcher::default());
    view.load(listing(numbers, 10), at(0));
    check(&mut view, &mut watcher, numbers);
    (view, watcher)
}

#[test]
fn changes_count_at_once_while_they_are_few() {
    let (mut view, mut watcher) = started(&[1, 2, 3, 4]);
    view.put(entry(5, 11), at(1));
    view.delete(&key(1), Revision(12), at(2));
    check(&mut view, &mut watcher, &[2, 3, 4, 5]);
    assert_eq!(view.next_deadline(), None);
}

#[test]
fn d6_a_mass_departure_in_single_steps_is_held_until_it_is_confirmed() {
    let (mut view, mut watcher) = started(&[1, 2, 3, 4, 5]);
    for number in 1..=5 {
        view.delete(&key(number), Revision(10 + u64::from(number)), at(1));
    }
    check(&mut view, &mut watcher, &[3, 4, 5]);
    assert_eq!(view.next_deadline(), Some(at(61)));
    view.load(listing(&[], 20), at(60));
    check(&mut view, &mut watcher, &[3, 4, 5]);
    view.load(listing(&[], 20), at(61));
    check(&mut view, &mut watcher, &[]);
    assert_eq!(view.next_deadline(), None);
}

#[test]
fn d6_who_returns_while_held_never_left() {
    let (mut view, mut watcher) = started(&[1]);
    view.delete(&key(1), Revision(11), at(1));
    check(&mut view, &mut watcher, &[1]);
    view.put(entry(1, 12), at(2));
    assert_eq!(view.next_deadline(), None);
    check(&mut view, &mut watcher, &[1]);
}

#[test]
fn d6_a_failure_starts_the_grace_period_again() {
    let (mut view, mut watcher) = started(&[1]);
    view.delete(&key(1), Revision(11), at(1));
    view.failed(Error::unavailable("x"), at(60));
    assert_eq!(view.next_deadline(), Some(at(120)));
    check(&mut view, &mut watcher, &[1]);
    assert_eq!(watcher.problems, 1);
}

#[test]
fn d9_a_bad_value_is_told_once_and_takes_no_node_away() {
    let (mut view, mut watcher) = started(&[1, 2]);
    view.put(KvEntry::new(key(1), "nonsense", Revision(11)), at(1));
    check(&mut view, &mut watcher, &[1, 2]);
    assert_eq!(watcher.problems, 1);
    let mut again = listing(&[2], 12);
    again
        .entries
        .push(KvEntry::new(key(1), "nonsense", Revision(11)));
    view.load(again, at(2));
    check(&mut view, &mut watcher, &[1, 2]);
    assert_eq!(watcher.problems, 1, "the same value is told once");
}

#[test]
fn what_was_read_is_not_undone_by_older_changes() {
    let (mut view, mut watcher) = started(&[1, 2, 3]);
    view.delete(&key(1), Revision(9), at(1));
    view.put(entry(9, 8), at(1));
    check(&mut view, &mut watcher, &[1, 2, 3]);
}

proptest! {
    /// Whatever happens in whatever order: after a confirmed reading the watcher knows the store.
    #[test]
    fn the_view_comes_to_the_store(
        steps in proptest::collection::vec((0u8..12, 0u8..4, 0u64..30), 1..60),
    ) {
        let (mut view, mut watcher) = (View::new(GRACE), Watcher::default());
        let mut store = BTreeSet::new();
        let (mut revision, mut now) = (1u64, at(0));
        view.load(listing(&[], revision), now);
        for (number, what, wait) in steps {
            now = now.after(Duration::from_secs(wait));
            revision += 1;
            match what {
                0 | 1 => { store.insert(number); view.put(entry(number, revision), now); }
                2 => { store.remove(&number); view.delete(&key(number), Revision(revision), now); }
                _ => view.failed(Error::unavailable("x"), now),
            }
            watcher.drain(&mut view);
            let all_known = store.iter().all(|n| watcher.known.contains(&format!("10.0.0.{n}:1")));
            prop_assert!(all_known, "somebody who is there was removed");
        }
        for _ in 0..2 {
            now = view.next_deadline().unwrap_or(now);
            let all: Vec<u8> = store.iter().copied().collect();
            view.load(listing(&all, revision), now);
        }
        watcher.drain(&mut view);
        let expected: BTreeSet<_> = store.iter().map(|n| format!("10.0.0.{n}:1")).collect();
        prop_assert_eq!(watcher.known, expected);
    }
}
