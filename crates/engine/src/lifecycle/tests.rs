use longshore_core::SeededRandom;
use proptest::prelude::*;

use super::*;

fn steps(life: &mut Lifecycle) -> Vec<Step> {
    std::iter::from_fn(|| life.next_step())
        .filter(|step| !matches!(step, Step::Tell(..)))
        .collect()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn running(policy: RestartPolicy) -> Lifecycle {
    let mut life = Lifecycle::new(policy);
    life.start();
    assert_eq!(steps(&mut life), [Step::Spawn]);
    life.spawned(at(0));
    steps(&mut life);
    life
}

#[test]
fn a_stop_asks_and_kills_when_the_grace_is_over() {
    let mut life = running(RestartPolicy::Always);
    life.stop(Duration::from_secs(10), at(1));
    assert_eq!(steps(&mut life), [Step::Terminate]);
    assert_eq!(life.next_deadline(), Some(at(11)));
    life.tick(at(10));
    assert_eq!(steps(&mut life), []);
    life.tick(at(11));
    assert_eq!(steps(&mut life), [Step::Kill]);
    let random = SeededRandom::new(1);
    life.ended(ExitStatus::signaled(Signal::KILL), at(11), &random);
    assert_eq!(life.state(), WorkloadState::Exited);
    assert_eq!(life.next_deadline(), None);
}

#[test]
fn an_impatient_second_stop_shortens_the_grace_and_a_patient_one_does_not_lengthen_it() {
    let mut life = running(RestartPolicy::Never);
    life.stop(Duration::from_secs(10), at(0));
    life.stop(Duration::from_secs(2), at(1));
    life.stop(Duration::from_secs(60), at(2));
    assert_eq!(life.next_deadline(), Some(at(3)));
}

#[test]
fn the_delay_between_restarts_grows_and_starts_over_after_a_steady_run() {
    let random = SeededRandom::new(1);
    let mut life = running(RestartPolicy::Always);
    let mut now = at(0);
    for _ in 0..12 {
        life.ended(ExitStatus::exited(1), now, &random);
        now = life.next_deadline().expect("a restart");
        life.tick(now);
        assert_eq!(steps(&mut life), [Step::Spawn]);
        life.spawned(now);
    }
    life.ended(ExitStatus::exited(1), now, &random);
    let tired = life.next_deadline().expect("a restart").since(now);
    assert!(tired > Duration::from_secs(3), "{tired:?}");
    life.tick(now.after(tired));
    life.spawned(now);
    now = now.after(Duration::from_secs(11));
    life.ended(ExitStatus::exited(1), now, &random);
    let fresh = life.next_deadline().expect("a restart").since(now);
    assert!(fresh <= FIRST_DELAY, "{fresh:?}");
}

#[test]
fn a_start_that_fails_is_an_answer_at_first_and_an_end_when_restarting() {
    let random = SeededRandom::new(1);
    let mut life = Lifecycle::new(RestartPolicy::OnFailure(1));
    life.start();
    life.spawn_failed("no such program".to_owned(), 127, at(0), &random);
    assert_eq!(life.state(), WorkloadState::Created);
    assert_eq!(life.error(), "no such program");

    let mut life = running(RestartPolicy::OnFailure(1));
    life.ended(ExitStatus::exited(1), at(1), &random);
    life.tick(at(2));
    life.spawn_failed("gone".to_owned(), 127, at(2), &random);
    assert_eq!(life.state(), WorkloadState::Exited);
    assert_eq!(life.exit().and_then(|exit| exit.code), Some(127));
}

#[derive(Clone, Debug)]
enum Input {
    Start,
    Stop(u64),
    Signal(u8),
    End(i64),
    Wait(u64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Start),
        (0..20u64).prop_map(Input::Stop),
        (1..=31u8).prop_map(Input::Signal),
        (0..3i64).prop_map(Input::End),
        (1..30u64).prop_map(Input::Wait),
    ]
}

proptest! {
    /// Whatever happens in whatever order: there is never a second process, a stopped workload
    /// stays stopped until somebody starts it, and what runs past its grace is killed.
    #[test]
    fn no_order_of_events_makes_two_processes(
        inputs in prop::collection::vec(input(), 1..60),
        limit in 0..3u32,
        always in any::<bool>(),
    ) {
        let policy = if always { RestartPolicy::Always } else { RestartPolicy::OnFailure(limit) };
        let random = SeededRandom::new(7);
        let mut life = Lifecycle::new(policy);
        let (mut now, mut process, mut stopped) = (at(0), false, false);
        for input in inputs {
            match input {
                Input::Start => { life.start(); stopped = false; }
                Input::Stop(grace) => {
                    stopped |= life.is_active();
                    life.stop(Duration::from_secs(grace), now);
                }
                Input::Signal(number) => {
                    let result = life.signal(Signal::new(number).unwrap());
                    prop_assert_eq!(result.is_ok(), process);
                }
                Input::End(code) if process => {
                    process = false;
                    life.ended(ExitStatus::exited(code), now, &random);
                }
                Input::End(_) => {}
                Input::Wait(seconds) => {
                    now = now.after(Duration::from_secs(seconds));
                    life.tick(now);
                }
            }
            while let Some(step) = life.next_step() {
                match step {
                    Step::Spawn => {
                        prop_assert!(!process, "a second process");
                        prop_assert!(!stopped, "restarted what was stopped");
                        process = true;
                        life.spawned(now);
                    }
                    Step::Kill if process => {
                        process = false;
                        life.ended(ExitStatus::signaled(Signal::KILL), now, &random);
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(process, life.state() == WorkloadState::Running);
        }
    }
}
