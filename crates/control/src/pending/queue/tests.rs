use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(100);

fn by(filters: &[&str]) -> Refused {
    Refused {
        filters: filters.iter().map(ToString::to_string).collect(),
        reason: filters.join(", ").into(),
    }
}

fn push(queue: &mut PendingQueue, key: &str, priority: i32, filters: &[&str]) -> Ticket {
    let refused = by(filters);
    queue
        .push(key.to_owned(), priority, &refused, None)
        .unwrap()
}

#[test]
fn s21_only_a_change_that_can_help_wakes() {
    let mut queue = PendingQueue::new(10);
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
    let mut queue = PendingQueue::new(10);
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
    let mut queue = PendingQueue::new(2);
    let soon = NOW.after(std::time::Duration::from_secs(1));
    let refused = by(&["resources"]);
    let brief = queue.push("a".into(), 0, &refused, Some(soon)).unwrap();
    push(&mut queue, "a", 0, &["resources"]);
    let error = queue.push("b".into(), 0, &refused, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(queue.next_deadline(), Some(soon));
    assert_eq!(queue.poll(NOW), None);
    assert_eq!(queue.poll(soon), Some(Todo::GiveUp(brief)));
    assert_eq!(&*queue.reason(brief).unwrap(), "resources");
    queue.withdraw(brief);
    assert_eq!((queue.poll(soon), queue.next_deadline()), (None, None));
    push(&mut queue, "b", 0, &["resources"]);
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
    Push((u8, u8), i32),
    Withdraw(usize),
    Label(usize, u8),
    Free(usize, u8),
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => ((0..3u8, 1..5u8), 0..2i32).prop_map(|(shape, priority)| Step::Push(shape, priority)),
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
        let mut queue = PendingQueue::new(1000);
        let mut world = World(vec![(0, 0), (1, 2), (1, 0)]);
        let mut waiting: BTreeMap<Ticket, (u8, u8)> = BTreeMap::new();
        for step in steps {
            let nodes = world.0.len();
            match step {
                Step::Push(shape, priority) => {
                    let key = format!("{shape:?} {priority}");
                    let refused = match queue.has_shape(&key) {
                        true => by(&[]),
                        false => match world.place(shape) {
                            Ok(()) => continue,
                            Err(refused) => refused,
                        },
                    };
                    let ticket = queue.push(key, priority, &refused, None).unwrap();
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
                        queue.withdraw(ticket);
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
        prop_assert!(queue.shapes.is_empty() && queue.by_key.is_empty() && queue.ready.is_empty());
    }
}
