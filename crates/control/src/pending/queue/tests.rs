use longshore_core::ErrorKind;
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(100);

fn by(filters: &[&str]) -> Refused {
    Refused {
        filters: filters.iter().map(ToString::to_string).collect(),
        reason: filters.join(", ").into(),
    }
}

fn newcomer(owner: Owner, priority: i32) -> Newcomer {
    Newcomer {
        owner,
        priority,
        deadline: None,
        comes: Comes::New,
    }
}

fn places(capacity: usize) -> PendingQueue {
    PendingQueue::new(Shares::new("places", capacity, None))
}

fn push(queue: &mut PendingQueue, key: &str, priority: i32, filters: &[&str]) -> Ticket {
    let newcomer = newcomer(Owner::Program, priority);
    queue.push(key.to_owned(), newcomer, &by(filters)).unwrap()
}

fn push_of(queue: &mut PendingQueue, owner: &str, key: &str, priority: i32) -> Ticket {
    let newcomer = newcomer(Owner::named(owner), priority);
    queue
        .push(key.to_owned(), newcomer, &by(&["resources"]))
        .unwrap()
}

#[test]
fn s21_what_was_accepted_comes_back_though_its_place_was_given_away() {
    let mut queue = places(4);
    let first = push_of(&mut queue, "alice", "a", 0);
    queue.relieve(Relief::FREED);
    queue.placed(first);
    let second = push_of(&mut queue, "alice", "a", 0);
    let refused = by(&["resources"]);
    let of_alice = |comes| Newcomer {
        comes,
        ..newcomer(Owner::named("alice"), 0)
    };
    let mut come = |comes| queue.push("a".into(), of_alice(comes), &refused);
    // Into its old place, or one behind the others if it never had one.
    assert_eq!(come(Comes::Back(Some(first))).unwrap(), first);
    let third = come(Comes::Back(None)).unwrap();
    let error = come(Comes::New).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(queue.in_order(), [first, second, third]);
    for ticket in [first, second, third] {
        queue.withdraw(ticket);
    }
    push_of(&mut queue, "alice", "a", 0);
}

#[test]
fn s21_only_a_change_that_can_help_wakes() {
    let mut queue = places(10);
    let labelled = push(&mut queue, "zone", 0, &["constraint"]);
    let big = push(&mut queue, "big", 0, &["constraint", "resources"]);
    assert_eq!(queue.poll(NOW), None);
    assert!(!queue.relieve(Relief::CAME | Relief::IMAGES | Relief::OPENED));
    assert_eq!(queue.poll(NOW), None);
    assert!(queue.relieve(Relief::FREED));
    assert_eq!(queue.poll(NOW), Some(Todo::Try(big)));
    queue.refused(big, &by(&["resources"]));
    // What it waits for is what refused it last.
    assert!(queue.relieve(Relief::LABELS));
    assert_eq!(queue.poll(NOW), Some(Todo::Try(labelled)));
    queue.withdraw(labelled);
    assert_eq!(queue.poll(NOW), None);
    assert_eq!(&*queue.reason(big).unwrap(), "resources");
}

#[test]
fn s21_the_important_and_the_old_come_first_and_a_shape_is_refused_once() {
    let mut queue = places(10);
    let low: Vec<_> = (0..3)
        .map(|_| push(&mut queue, "low", 0, &["resources"]))
        .collect();
    let high = push(&mut queue, "high", 5, &["resources"]);
    let late = push(&mut queue, "late", 0, &["resources"]);
    assert_eq!(queue.in_order(), [high, low[0], low[1], low[2], late]);
    queue.relieve(Relief::FREED);
    // Until its outcome is told it stays the next.
    assert_eq!(queue.poll(NOW), Some(Todo::Try(high)));
    assert_eq!(queue.poll(NOW), Some(Todo::Try(high)));
    queue.withdraw(high);
    // The first of a shape fits, the second does not: nor does the third, and it is not asked for.
    assert_eq!(queue.poll(NOW), Some(Todo::Try(low[0])));
    queue.withdraw(low[0]);
    assert_eq!(queue.poll(NOW), Some(Todo::Try(low[1])));
    queue.refused(low[1], &by(&["resources"]));
    assert_eq!(queue.poll(NOW), Some(Todo::Try(late)));
    queue.refused(late, &by(&["resources"]));
    assert_eq!(queue.poll(NOW), None);
    // Who leaves while the others sleep wakes nobody.
    queue.withdraw(low[1]);
    assert_eq!(queue.poll(NOW), None);
    queue.relieve(Relief::ALL);
    assert_eq!(queue.poll(NOW), Some(Todo::Try(low[2])));
}

#[test]
fn s21_patience_ends_and_the_queue_is_bounded() {
    let mut queue = places(2);
    let soon = NOW.after(std::time::Duration::from_secs(1));
    let refused = by(&["resources"]);
    let hasty = Newcomer {
        deadline: Some(soon),
        ..newcomer(Owner::Program, 0)
    };
    let brief = queue.push("a".into(), hasty, &refused).unwrap();
    push(&mut queue, "a", 0, &["resources"]);
    let another = newcomer(Owner::Program, 0);
    let error = queue.push("b".into(), another, &refused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(queue.next_deadline(), Some(soon));
    assert_eq!(queue.poll(NOW), None);
    assert_eq!(queue.poll(soon), Some(Todo::GiveUp(brief)));
    assert_eq!(&*queue.reason(brief).unwrap(), "resources");
    queue.withdraw(brief);
    assert_eq!((queue.poll(soon), queue.next_deadline()), (None, None));
    push(&mut queue, "b", 0, &["resources"]);
}

#[test]
fn s21_owners_take_turns_whatever_they_have_waiting() {
    let mut queue = places(1000);
    let many: Vec<_> = (0..100)
        .map(|_| push_of(&mut queue, "alice", "a", 0))
        .collect();
    let few: Vec<_> = (0..2).map(|_| push_of(&mut queue, "bob", "a", 0)).collect();
    let one = push_of(&mut queue, "carol", "other", 0);
    let first = [many[0], few[0], one, many[1], few[1], many[2], many[3]];
    assert_eq!(queue.in_order()[..7], first);
    queue.relieve(Relief::FREED);
    for ticket in first {
        assert_eq!(queue.poll(NOW), Some(Todo::Try(ticket)));
        queue.placed(ticket);
    }
    // Who comes again is behind those who wait since.
    let again = push_of(&mut queue, "bob", "a", 0);
    assert_eq!(queue.in_order()[..3], [many[4], again, many[5]]);
    // What is given up is no turn.
    queue.withdraw(many[4]);
    assert_eq!(queue.in_order()[..2], [many[5], again]);
    // Importance goes before turns.
    let urgent = push_of(&mut queue, "alice", "urgent", 1);
    assert_eq!(queue.in_order()[..2], [urgent, again]);
}

#[test]
fn s21_what_comes_back_has_its_place_again() {
    let mut queue = places(100);
    let first = push_of(&mut queue, "alice", "a", 0);
    let second = push_of(&mut queue, "alice", "a", 0);
    queue.relieve(Relief::FREED);
    queue.placed(first);
    let back = Newcomer {
        comes: Comes::Back(Some(first)),
        ..newcomer(Owner::named("alice"), 0)
    };
    // In a shape that is about to be tried, and in one of its own.
    for key in ["a", "b"] {
        let refused = by(&["resources"]);
        let ticket = queue.push(key.into(), back.clone(), &refused).unwrap();
        assert_eq!(ticket, first);
        assert_eq!(queue.in_order(), [first, second]);
        queue.relieve(Relief::FREED);
        assert_eq!(queue.poll(NOW), Some(Todo::Try(first)));
        queue.placed(first);
        assert_eq!(queue.poll(NOW), Some(Todo::Try(second)));
    }
}

#[test]
fn s21_an_owner_has_a_share_and_no_more() {
    let mut queue = places(8);
    let held: Vec<_> = (0..2)
        .map(|_| push_of(&mut queue, "alice", "a", 0))
        .collect();
    let more = newcomer(Owner::named("alice"), 0);
    let error = queue.push("b".into(), more.clone(), &by(&[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(error.message().starts_with("alice holds 2 of the 8 places"));
    push_of(&mut queue, "bob", "a", 0);
    queue.withdraw(held[0]);
    queue.push("b".into(), more, &by(&[])).unwrap();
}

/// A cluster of labels and free places, and what a scheduler would say of it.
#[derive(Clone, Debug)]
struct World(Vec<(u8, u8)>);

impl World {
    /// Work of a shape wants a label and so many places.
    fn place(&mut self, (label, places): (u8, u8)) -> std::result::Result<(), Refused> {
        let fits = |node: &&mut (u8, u8)| node.0 == label && node.1 >= places;
        if let Some(node) = self.0.iter_mut().find(fits) {
            node.1 -= places;
            return Ok(());
        }
        let first = |node: &(u8, u8)| match node.0 == label {
            true => "resources",
            false => "constraint",
        };
        let filters: BTreeSet<&str> = self.0.iter().map(first).collect();
        Err(by(&filters.into_iter().collect::<Vec<_>>()))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push((u8, u8), i32, u8),
    Withdraw(usize),
    Label(usize, u8),
    Free(usize, u8),
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => ((0..3u8, 1..5u8), 0..2i32, 0..3u8)
            .prop_map(|(shape, priority, owner)| Step::Push(shape, priority, owner)),
        1 => any::<usize>().prop_map(Step::Withdraw),
        1 => (any::<usize>(), 0..3u8).prop_map(|(node, label)| Step::Label(node, label)),
        2 => (any::<usize>(), 1..4u8).prop_map(|(node, places)| Step::Free(node, places)),
        1 => any::<usize>().prop_map(Step::Take),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever could be placed is never left asleep, and what sleeps is not tried.
    #[test]
    fn s21_nobody_sleeps_who_could_be_placed(steps in proptest::collection::vec(step(), 1..80)) {
        let mut queue = places(1000);
        let mut world = World(vec![(0, 0), (1, 2), (1, 0)]);
        let mut waiting: BTreeMap<Ticket, (u8, u8)> = BTreeMap::new();
        for step in steps {
            let nodes = world.0.len();
            match step {
                Step::Push(shape, priority, owner) => {
                    let key = format!("{shape:?} {priority}");
                    let refused = match queue.has_shape(&key) {
                        true => by(&[]),
                        false => match world.place(shape) {
                            Ok(()) => continue,
                            Err(refused) => refused,
                        },
                    };
                    let owner = Owner::named(&format!("owner-{owner}"));
                    let ticket = queue.push(key, newcomer(owner, priority), &refused).unwrap();
                    waiting.insert(ticket, shape);
                }
                Step::Withdraw(which) => {
                    let which = which % (waiting.len() + 1);
                    if let Some(ticket) = waiting.keys().nth(which).copied() {
                        waiting.remove(&ticket);
                        queue.withdraw(ticket);
                    }
                }
                Step::Label(node, label) => {
                    world.0[node % nodes].0 = label;
                    queue.relieve(Relief::LABELS);
                }
                Step::Free(node, places) => {
                    world.0[node % nodes].1 += places;
                    queue.relieve(Relief::FREED);
                }
                Step::Take(node) => world.0[node % nodes].1 = 0,
            }
            let mut tries = 0;
            while let Some(Todo::Try(ticket)) = queue.poll(NOW) {
                tries += 1;
                prop_assert!(tries <= 2 * waiting.len() + 40, "it is tried for ever");
                match world.place(waiting[&ticket]) {
                    Ok(()) => {
                        waiting.remove(&ticket);
                        queue.placed(ticket);
                    }
                    Err(refused) => queue.refused(ticket, &refused),
                }
            }
            for shape in waiting.values() {
                prop_assert!(world.clone().place(*shape).is_err(), "{shape:?} sleeps in {world:?}");
            }
            prop_assert_eq!(queue.is_empty(), waiting.is_empty());
            prop_assert_eq!(queue.in_order().len(), waiting.len());
        }
        for ticket in waiting.into_keys() {
            queue.withdraw(ticket);
        }
        prop_assert!(queue.shapes.is_empty() && queue.by_key.is_empty() && queue.lanes.is_empty());
    }

    /// With room for one at a time, an owner waits for at most one piece of work of each other, and the
    /// order is the one that was told.
    #[test]
    fn s21_nobody_is_passed_twice_by_the_same_owner(
        arrivals in proptest::collection::vec((0..5_u8, 0..3_u8), 1..60),
        places_between in 1..4_usize,
    ) {
        let mut queue = places(1000);
        let mut waiting: BTreeMap<Ticket, String> = BTreeMap::new();
        let mut passed: HashMap<String, BTreeMap<String, u32>> = HashMap::new();
        let mut arrivals = arrivals.into_iter();
        loop {
            let come = arrivals.by_ref().take(places_between);
            let come: Vec<_> = come.collect();
            for (owner, shape) in &come {
                let (owner, key) = (format!("owner-{owner}"), format!("shape-{shape}"));
                waiting.insert(push_of(&mut queue, &owner, &key, 0), owner);
            }
            queue.relieve(Relief::FREED);
            let Some(Todo::Try(ticket)) = queue.poll(NOW) else { break };
            prop_assert_eq!(queue.in_order()[0], ticket);
            queue.placed(ticket);
            let served = waiting.remove(&ticket).unwrap();
            passed.remove(&served);
            let still: BTreeSet<_> = waiting.values().cloned().collect();
            passed.retain(|owner, _| still.contains(owner));
            for owner in still.into_iter().filter(|owner| *owner != served) {
                let count = passed.entry(owner).or_default().entry(served.clone()).or_default();
                *count += 1;
                prop_assert!(*count <= 1, "{served} passes twice");
            }
        }
        prop_assert!(waiting.is_empty() && queue.lanes.is_empty());
    }
}
