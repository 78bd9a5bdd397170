use longshore_core::SeededRandom;
use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy {
    most: 4,
    pause: Duration::from_secs(1),
    longest: Duration::from_secs(8),
    certain: Duration::from_secs(120),
    start: true,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000 + seconds)
}

struct Told(Course, SeededRandom);

impl Told {
    fn new(policy: Policy, deadline: Option<Timestamp>) -> Self {
        Self(Course::new(policy, deadline), SeededRandom::new(1))
    }

    fn is(&mut self, outcome: Outcome, seconds: u64) -> Next {
        self.0.handle(outcome, at(seconds), &self.1)
    }

    /// The step that follows, at latest then.
    #[track_caller]
    fn then(&mut self, outcome: Outcome, seconds: u64, step: Step, latest: u64) {
        match self.is(outcome, seconds) {
            Next::At(when, next) => {
                assert_eq!(next, step);
                assert!(at(seconds) <= when && when <= at(latest), "{when}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn s21_what_passes_is_tried_so_often_and_what_does_not_ends_it() {
    let passing = Outcome::NotMade { passes: true };
    let mut told = Told::new(POLICY, None);
    told.then(passing, 0, Step::Make, 1);
    told.then(passing, 10, Step::Make, 12);
    told.then(passing, 20, Step::Make, 24);
    assert_eq!(told.is(passing, 30), Next::Fail);
    assert_eq!(told.0.failures(), 4);
    let mut told = Told::new(POLICY, None);
    assert_eq!(told.is(Outcome::NotMade { passes: false }, 0), Next::Fail);
    // What can't be started for good is not tried again either, and never made anew.
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::Made, 0, Step::Start, 0);
    told.then(Outcome::NotStarted { passes: true }, 1, Step::Check, 2);
    told.then(Outcome::NeverRan, 2, Step::Start, 2);
    assert_eq!(told.is(Outcome::Started, 3), Next::Done);
    let mut told = Told::new(POLICY, None);
    assert_eq!(
        told.is(Outcome::NotStarted { passes: false }, 0),
        Next::Fail
    );
}

#[test]
fn s21_what_may_have_been_made_is_looked_for_before_it_is_made_again() {
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::Lost, 0, Step::Look, 1);
    // It may still be on its way.
    told.then(Outcome::Nothing, 1, Step::Look, 3);
    told.then(Outcome::Silent, 60, Step::Look, 68);
    told.then(Outcome::Nothing, 119, Step::Look, 120);
    told.then(Outcome::Nothing, 120, Step::Make, 120);
    // Found: it is not made again.
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::Lost, 0, Step::Look, 1);
    told.then(Outcome::Made, 1, Step::Start, 1);
    // A node that left took it along.
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::Lost, 0, Step::Look, 1);
    told.then(Outcome::Left, 1, Step::Make, 1);
    // A node that is silent for too long ends it, without a second try elsewhere.
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::Lost, 0, Step::Look, 1);
    told.then(Outcome::Silent, 1, Step::Look, 3);
    told.then(Outcome::Silent, 3, Step::Look, 7);
    assert_eq!(told.is(Outcome::Silent, 7), Next::Fail);
}

#[test]
fn s21_what_may_have_been_started_is_asked_about_before_it_is_started_again() {
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::Made, 0, Step::Start, 0);
    told.then(Outcome::StartLost, 0, Step::Check, 1);
    // It may still be on its way.
    told.then(Outcome::NeverRan, 1, Step::Check, 3);
    told.then(Outcome::Unsaid { passes: true }, 60, Step::Check, 68);
    told.then(Outcome::NeverRan, 119, Step::Check, 120);
    told.then(Outcome::NeverRan, 120, Step::Start, 120);
    // It ran: whatever became of it, it is not started again.
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::Made, 0, Step::Start, 0);
    told.then(Outcome::StartLost, 0, Step::Check, 1);
    assert_eq!(told.is(Outcome::Started, 1), Next::Done);
    // So it is where the engine refused, and its user started it meanwhile.
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::NotStarted { passes: true }, 0, Step::Check, 1);
    assert_eq!(told.is(Outcome::Started, 1), Next::Done);
    // Not knowing for too long ends it, without a second start; and so does what is gone.
    let unsaid = Outcome::Unsaid { passes: true };
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::StartLost, 0, Step::Check, 1);
    told.then(unsaid, 1, Step::Check, 3);
    told.then(unsaid, 3, Step::Check, 7);
    assert_eq!(told.is(unsaid, 7), Next::Fail);
    let mut told = Told::new(POLICY, None);
    told.then(Outcome::StartLost, 0, Step::Check, 1);
    assert_eq!(told.is(Outcome::Unsaid { passes: false }, 1), Next::Fail);
}

#[test]
fn s21_patience_is_for_room_and_ends_no_look() {
    let passing = Outcome::NotMade { passes: true };
    let mut told = Told::new(POLICY, Some(at(10)));
    told.then(passing, 0, Step::Make, 1);
    assert_eq!(told.is(passing, 10), Next::Fail);
    let mut told = Told::new(POLICY, Some(at(10)));
    told.then(Outcome::Lost, 9, Step::Look, 10);
    told.then(Outcome::Made, 20, Step::Start, 20);
    let only_made = Policy {
        start: false,
        ..POLICY
    };
    let mut told = Told::new(only_made, Some(at(10)));
    told.then(Outcome::Lost, 9, Step::Look, 10);
    assert_eq!(told.is(Outcome::Made, 20), Next::Done);
}

#[test]
fn s21_no_pause_is_none_at_all() {
    let hasty = Policy {
        pause: Duration::ZERO,
        longest: Duration::ZERO,
        ..POLICY
    };
    let mut told = Told::new(hasty, None);
    for outcome in [Outcome::Lost, Outcome::Nothing, Outcome::Nothing] {
        match told.is(outcome, 0) {
            Next::At(when, Step::Look) => assert!(when > at(0)),
            other => panic!("{other:?}"),
        }
    }
}

/// An engine and the way to it: whether what is asked is done, and whether the answer comes.
fn outcome() -> impl Strategy<Value = (bool, bool)> {
    (any::<bool>(), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the engine does and whichever answers are lost: it is never made twice, it never runs
    /// twice, and it ends.
    #[test]
    fn s21_it_is_never_made_or_started_twice_and_always_ends(
        world in proptest::collection::vec(outcome(), 200),
        late in proptest::collection::vec(0..120_u64, 200),
        seed in any::<u64>(),
    ) {
        let random = SeededRandom::new(seed);
        let mut course = Course::new(POLICY, None);
        let (mut now, mut step) = (at(0), Step::Make);
        // When what was asked for appears, after an answer that was lost.
        let mut made_at: Vec<Timestamp> = Vec::new();
        // The same of its starts.
        let mut ran_at: Vec<Timestamp> = Vec::new();
        let mut ended = false;
        for ((done, answered), late) in world.into_iter().zip(late) {
            let outcome = match step {
                Step::Make => {
                    prop_assert!(made_at.is_empty(), "made twice");
                    match (done, answered) {
                        (true, true) => {
                            made_at.push(now);
                            Outcome::Made
                        }
                        (false, true) => Outcome::NotMade { passes: true },
                        (done, false) => {
                            if done {
                                made_at.push(now.after(Duration::from_secs(late)));
                            }
                            Outcome::Lost
                        }
                    }
                }
                Step::Look if !answered => Outcome::Silent,
                Step::Look if made_at.iter().any(|at| *at <= now) => Outcome::Made,
                Step::Look => Outcome::Nothing,
                Step::Start => {
                    prop_assert!(ran_at.is_empty(), "started twice");
                    match (done, answered) {
                        (true, true) => {
                            ran_at.push(now);
                            Outcome::Started
                        }
                        (false, true) => Outcome::NotStarted { passes: true },
                        (done, false) => {
                            if done {
                                ran_at.push(now.after(Duration::from_secs(late)));
                            }
                            Outcome::StartLost
                        }
                    }
                }
                Step::Check if !answered => Outcome::Unsaid { passes: true },
                Step::Check if ran_at.iter().any(|at| *at <= now) => Outcome::Started,
                Step::Check => Outcome::NeverRan,
            };
            match course.handle(outcome, now, &random) {
                Next::At(at, next) => {
                    prop_assert!(at >= now);
                    (now, step) = (at, next);
                }
                Next::Done | Next::Fail => {
                    ended = true;
                    break;
                }
            }
        }
        prop_assert!(ended, "it goes on for ever");
        prop_assert!(made_at.len() <= 1 && ran_at.len() <= 1);
    }
}
