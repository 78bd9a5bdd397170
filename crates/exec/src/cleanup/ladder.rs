use std::{collections::VecDeque, time::Duration};

use longshore_core::Timestamp;

use super::{CleanupOutcome, CleanupRung, Findings};

/// Decides what is done behind a session: look, wait, try the next way, or report.
///
/// It believes only what it sees: [`CleanupOutcome::Clean`] needs two looks in a row that find
/// nobody, and no time that passes stands in for them.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// At work from inside already, or just tried.
    current: Option<CleanupRung>,
    left: VecDeque<CleanupRung>,
    tried: Vec<CleanupRung>,
    /// Until when the current rung may take.
    settled: Timestamp,
    /// Until when looks may fail.
    patience: Timestamp,
    /// Before then a look that finds nobody means nothing.
    conclusive: Timestamp,
    next_look: Timestamp,
    pause: Duration,
    empty_looks: u32,
    /// How often the last rung may still be tried again.
    repeats: u32,
    last: Findings,
    sweeping: bool,
    outcome: Option<CleanupOutcome>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look at the container's processes, and tell [`Ladder::looked`].
    Look,
    /// Nothing before then.
    Wait(Timestamp),
    /// Try this, and tell [`Ladder::swept`].
    Sweep(CleanupRung),
    /// It is over.
    Done(CleanupOutcome),
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Found(Findings),
    /// The container does not run.
    Gone,
    /// The engine shows processes, but not what marks them.
    Blind(String),
    /// The engine did not answer, for now.
    Failed(String),
}

impl Ladder {
    /// Behind a session that has just ended. `working` acts by itself; `others` are tried in turn
    /// while it is seen that something is left.
    pub(crate) fn new(
        now: Timestamp,
        working: Option<CleanupRung>,
        others: impl IntoIterator<Item = CleanupRung>,
    ) -> Self {
        Self {
            current: working,
            left: others.into_iter().collect(),
            tried: working.into_iter().collect(),
            settled: now.after(working.map_or(Duration::ZERO, |_| SETTLE)),
            patience: now.after(PATIENCE),
            conclusive: now,
            next_look: now.after(working.map_or(Duration::ZERO, head_start)),
            pause: SHORTEST,
            empty_looks: 0,
            repeats: REPEATS,
            last: Findings::default(),
            sweeping: false,
            outcome: None,
        }
    }

    /// Behind a start that the engine may yet carry out. Looks go on until it has had its time, or
    /// the command [`has_begun`](Self::has_begun).
    pub(crate) fn with_late_start(mut self, now: Timestamp) -> Self {
        self.conclusive = now.after(LATE_START);
        self
    }

    /// The engine has carried out the start. What has no environment yet will soon be seen by it.
    pub(crate) fn has_begun(&mut self, now: Timestamp) {
        self.conclusive = self.conclusive.min(now.after(BECOMING));
    }

    /// Tries the first way without a look before.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.climb(now);
    }

    /// What acts by itself says that it has: whether it worked is to be seen now.
    pub(crate) fn acted(&mut self, now: Timestamp) {
        self.next_look = self.next_look.min(now);
    }

    /// What is to be done now.
    pub(crate) fn step(&mut self, now: Timestamp) -> Step {
        if let Some(outcome) = &self.outcome {
            return Step::Done(outcome.clone());
        }
        if self.sweeping
            && let Some(rung) = self.current
        {
            return Step::Sweep(rung);
        }
        if now < self.next_look {
            return Step::Wait(self.next_look);
        }
        Step::Look
    }

    pub(crate) fn looked(&mut self, now: Timestamp, look: Look) {
        match look {
            Look::Gone => {
                self.last = Findings::default();
                self.outcome = Some(CleanupOutcome::ContainerGone);
            }
            Look::Failed(_) if now < self.patience => {
                self.empty_looks = 0;
                self.later(now);
            }
            // Blind, what can still be tried is tried all the same.
            Look::Failed(why) | Look::Blind(why) => {
                self.empty_looks = 0;
                if !self.climb(now) {
                    self.outcome = Some(CleanupOutcome::Unverified(why));
                }
            }
            Look::Found(found) if found.left.is_empty() => {
                self.last = found;
                if now < self.conclusive {
                    self.later(now);
                    return;
                }
                self.empty_looks += 1;
                self.pause = SHORTEST;
                if self.empty_looks >= EMPTY_LOOKS {
                    self.outcome = Some(CleanupOutcome::Clean);
                } else {
                    self.next_look = now.after(self.pause);
                }
            }
            Look::Found(found) => {
                self.last = found;
                self.empty_looks = 0;
                if now < self.settled {
                    self.later(now);
                } else if !self.climb(now) && !self.repeat() {
                    self.outcome = Some(CleanupOutcome::Incomplete);
                }
            }
        }
    }

    /// The sweep that was asked for has ended, well or not: what it did is seen by looking.
    pub(crate) fn swept(&mut self, now: Timestamp) {
        self.sweeping = false;
        // A lifeline was only told to.
        let (settle, wait) = match self.current {
            Some(CleanupRung::Lifeline) => (SETTLE, head_start(CleanupRung::Lifeline)),
            _ => (Duration::ZERO, Duration::ZERO),
        };
        self.settled = now.after(settle);
        self.patience = now.after(PATIENCE);
        self.pause = SHORTEST;
        self.next_look = now.after(wait);
    }

    /// What the last look found.
    pub(crate) fn findings(&self) -> &Findings {
        &self.last
    }

    pub(crate) fn tried(&self) -> &[CleanupRung] {
        &self.tried
    }

    /// The next rung, if there is one.
    fn climb(&mut self, now: Timestamp) -> bool {
        let Some(next) = self.left.pop_front() else {
            return false;
        };
        self.current = Some(next);
        self.tried.push(next);
        self.sweeping = true;
        self.next_look = now;
        true
    }

    /// The last rung once more: what becomes another program just then has no environment to be
    /// known by, and a machine with much to do is slow.
    fn repeat(&mut self) -> bool {
        let sweeps = matches!(
            self.current,
            Some(CleanupRung::Sweep | CleanupRung::Sidecar)
        );
        if !sweeps || self.repeats == 0 {
            return false;
        }
        self.repeats -= 1;
        self.sweeping = true;
        true
    }

    fn later(&mut self, now: Timestamp) {
        self.next_look = now.after(self.pause);
        self.pause = (self.pause * 2).min(LONGEST);
    }
}

/// How long nobody looks while a rung is at work, unless it says that it is done. Each look has the
/// engine's host list its processes, which takes the processor from whoever is ending them. A stub's
/// end is the end of its stream, which was waited for.
fn head_start(rung: CleanupRung) -> Duration {
    match rung {
        CleanupRung::Lifeline => Duration::from_millis(400),
        _ => Duration::ZERO,
    }
}

/// How long a rung that acts by itself may take. The stub and the lifeline give a hang-up and a
/// request to end a tenth of a second each.
const SETTLE: Duration = Duration::from_secs(3);
/// How long an engine may not answer before that is the answer. A link that is cut is noticed from
/// inside after ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an engine may take to start what it was asked to. A cold one with much to do takes a
/// second or two, on a loaded machine more.
pub(crate) const LATE_START: Duration = Duration::from_secs(30);
/// How long a process may take to become the command that it was started for.
const BECOMING: Duration = Duration::from_secs(1);
const EMPTY_LOOKS: u32 = 2;
const REPEATS: u32 = 2;
const SHORTEST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cleanup::LeftBehind;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn found(count: u32) -> Look {
        let left = (0..count).map(|pid| LeftBehind::new(pid, "sleep"));
        Look::Found(Findings {
            left: left.collect(),
            ..Findings::default()
        })
    }

    #[test]
    fn clean_needs_two_empty_looks_in_a_row() {
        let mut ladder = Ladder::new(NOW, Some(CleanupRung::Stub), []);
        assert_eq!(ladder.step(NOW), Step::Look);
        ladder.looked(NOW, found(0));
        let Step::Wait(then) = ladder.step(NOW) else {
            panic!("one look is not enough");
        };
        ladder.looked(then, found(1));
        let Step::Wait(then) = ladder.step(then) else {
            panic!("it came back, and the stub is at work");
        };
        ladder.looked(then, found(0));
        ladder.looked(then, found(0));
        assert_eq!(ladder.step(then), Step::Done(CleanupOutcome::Clean));
    }

    #[test]
    fn what_survives_is_met_with_the_next_rung_and_then_reported() {
        let mut ladder = Ladder::new(NOW, Some(CleanupRung::Lifeline), [CleanupRung::Sidecar]);
        let Step::Wait(first) = ladder.step(NOW) else {
            panic!("it is at work");
        };
        ladder.looked(first, found(2));
        assert!(matches!(ladder.step(first), Step::Wait(_)));
        let later = NOW.after(SETTLE);
        ladder.looked(later, found(2));
        assert_eq!(ladder.step(later), Step::Sweep(CleanupRung::Sidecar));
        for _ in 0..REPEATS {
            ladder.swept(later);
            assert_eq!(ladder.step(later), Step::Look);
            ladder.looked(later, found(1));
            assert_eq!(ladder.step(later), Step::Sweep(CleanupRung::Sidecar));
        }
        ladder.swept(later);
        ladder.looked(later, found(1));
        assert_eq!(ladder.step(later), Step::Done(CleanupOutcome::Incomplete));
        assert_eq!(ladder.findings().left.len(), 1);
        assert_eq!(
            ladder.tried(),
            [CleanupRung::Lifeline, CleanupRung::Sidecar]
        );
    }

    #[test]
    fn a_lifeline_that_is_told_gets_its_time_before_the_next_is_tried() {
        let mut ladder = Ladder::new(NOW, None, [CleanupRung::Lifeline, CleanupRung::Sidecar]);
        ladder.looked(NOW, found(1));
        assert_eq!(ladder.step(NOW), Step::Sweep(CleanupRung::Lifeline));
        ladder.swept(NOW);
        ladder.looked(NOW, found(1));
        assert!(matches!(ladder.step(NOW), Step::Wait(_)));
        let later = NOW.after(SETTLE);
        ladder.looked(later, found(1));
        assert_eq!(ladder.step(later), Step::Sweep(CleanupRung::Sidecar));
    }

    #[test]
    fn a_lifeline_at_work_is_not_looked_after_until_it_says_that_it_is_done() {
        let mut ladder = Ladder::new(NOW, Some(CleanupRung::Lifeline), []);
        let Step::Wait(until) = ladder.step(NOW) else {
            panic!("not yet");
        };
        assert_eq!(until, NOW.after(head_start(CleanupRung::Lifeline)));
        let done = NOW.after(Duration::from_millis(90));
        assert_eq!(ladder.step(done), Step::Wait(until));
        ladder.acted(done);
        assert_eq!(ladder.step(done), Step::Look);
        // It is not believed.
        ladder.looked(done, found(1));
        assert!(matches!(ladder.step(done), Step::Wait(_)));
        // One that says nothing is not waited for.
        let mut silent = Ladder::new(NOW, Some(CleanupRung::Lifeline), []);
        assert_eq!(silent.step(until), Step::Look);
        silent.looked(until, found(0));
        silent.acted(until);
        assert_eq!(silent.step(until), Step::Look);
    }

    #[test]
    fn a_start_that_was_given_up_is_waited_for_and_then_ended() {
        let mut ladder = Ladder::new(NOW, None, [CleanupRung::Sweep]).with_late_start(NOW);
        ladder.looked(NOW, found(0));
        ladder.looked(NOW, found(0));
        let Step::Wait(then) = ladder.step(NOW) else {
            panic!("it may come yet");
        };
        ladder.looked(then, found(1));
        assert_eq!(ladder.step(then), Step::Sweep(CleanupRung::Sweep));
        ladder.swept(then);
        ladder.looked(then, found(0));
        assert!(matches!(ladder.step(then), Step::Wait(_)), "not yet");
        let late = NOW.after(LATE_START);
        ladder.looked(late, found(0));
        ladder.looked(late, found(0));
        assert_eq!(ladder.step(late), Step::Done(CleanupOutcome::Clean));
    }

    #[test]
    fn once_a_late_start_has_come_two_looks_are_enough() {
        let mut ladder = Ladder::new(NOW, None, []).with_late_start(NOW);
        ladder.looked(NOW, found(0));
        ladder.looked(NOW, found(0));
        assert!(matches!(ladder.step(NOW), Step::Wait(_)));
        let later = NOW.after(Duration::from_secs(4));
        ladder.has_begun(later);
        ladder.looked(later, found(0));
        ladder.looked(later, found(0));
        assert!(
            matches!(ladder.step(later), Step::Wait(_)),
            "it is becoming it"
        );
        let later = later.after(BECOMING);
        ladder.looked(later, found(0));
        ladder.looked(later, found(0));
        assert_eq!(ladder.step(later), Step::Done(CleanupOutcome::Clean));
    }

    #[test]
    fn an_engine_that_does_not_answer_is_asked_again_and_never_taken_for_success() {
        let mut ladder = Ladder::new(NOW, Some(CleanupRung::Stub), []);
        ladder.looked(NOW, Look::Failed("away".to_owned()));
        assert!(matches!(ladder.step(NOW), Step::Wait(_)));
        let late = NOW.after(PATIENCE);
        ladder.looked(late, Look::Failed("away".to_owned()));
        let expected = CleanupOutcome::Unverified("away".to_owned());
        assert_eq!(ladder.step(late), Step::Done(expected));
    }

    #[test]
    fn blind_everything_is_tried_and_nothing_is_claimed() {
        let mut ladder = Ladder::new(NOW, None, [CleanupRung::Sidecar]);
        ladder.looked(NOW, Look::Blind("no ps".to_owned()));
        assert_eq!(ladder.step(NOW), Step::Sweep(CleanupRung::Sidecar));
        ladder.swept(NOW);
        ladder.looked(NOW, Look::Blind("no ps".to_owned()));
        let expected = CleanupOutcome::Unverified("no ps".to_owned());
        assert_eq!(ladder.step(NOW), Step::Done(expected));
    }

    #[test]
    fn a_container_that_is_gone_ends_it() {
        let mut ladder = Ladder::new(NOW, None, []);
        ladder.looked(NOW, Look::Gone);
        assert_eq!(ladder.step(NOW), Step::Done(CleanupOutcome::ContainerGone));
    }

    fn looks() -> impl Strategy<Value = Vec<(Look, u64)>> {
        let look = prop_oneof![
            (0u32..3).prop_map(found),
            Just(Look::Failed("away".to_owned())),
            Just(Look::Blind("blind".to_owned())),
        ];
        proptest::collection::vec((look, 0u64..4000), 0..60)
    }

    proptest! {
        /// Whatever is seen: it is called clean only behind two empty looks in a row, incomplete
        /// only behind a look that found somebody, and it ends once looks go on for long enough.
        #[test]
        fn nothing_is_claimed_that_was_not_seen(
            looks in looks(),
            working in any::<bool>(),
            others in 0usize..3,
        ) {
            let rungs = [CleanupRung::Sweep, CleanupRung::Sidecar];
            let mut ladder = Ladder::new(
                NOW,
                working.then_some(CleanupRung::Stub),
                rungs.into_iter().take(others),
            );
            let mut now = NOW;
            let mut seen = Vec::new();
            for (look, pause) in looks {
                now = now.after(Duration::from_millis(pause));
                match ladder.step(now) {
                    Step::Look => {
                        seen.push(look.clone());
                        ladder.looked(now, look);
                    }
                    Step::Wait(then) => {
                        prop_assert!(then > now && then <= now.after(LONGEST));
                    }
                    Step::Sweep(_) => ladder.swept(now),
                    Step::Done(_) => break,
                }
            }
            match ladder.step(now) {
                Step::Done(CleanupOutcome::Clean) => {
                    prop_assert_eq!(&seen[seen.len() - 2..], [found(0), found(0)]);
                }
                Step::Done(CleanupOutcome::Incomplete) => {
                    let last = seen.last();
                    let somebody = matches!(last, Some(Look::Found(found)) if !found.left.is_empty());
                    prop_assert!(somebody);
                    prop_assert!(ladder.tried().len() == usize::from(working) + others);
                }
                _ => {}
            }
        }
    }
}
