use longshore_core::SeededRandom;
use proptest::prelude::*;

use super::*;

struct Bench {
    life: Lifecycle,
    now: Timestamp,
    random: SeededRandom,
}

impl Bench {
    fn new() -> Self {
        Self::with(PlaneOptions::default())
    }

    fn with(options: PlaneOptions) -> Self {
        let now = Timestamp::from_secs(1000);
        Self {
            life: Lifecycle::new("10.0.0.1:2375", &options, now),
            now,
            random: SeededRandom::new(7),
        }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        self.life.handle(input, self.now, &self.random);
        std::iter::from_fn(|| self.life.poll_output()).collect()
    }

    /// Moves to the next deadline.
    fn tick(&mut self) -> Vec<Output> {
        let deadline = self.life.next_deadline().expect("something is due");
        self.now = self.now.max(deadline);
        self.handle(Input::Tick)
    }

    fn fail(&mut self, error: &str) -> Vec<Output> {
        let started = self.now;
        self.now = self.now.after(Duration::from_secs(2));
        self.handle(Input::Failure {
            depth: Depth::Answer,
            started,
            error: error.to_owned(),
        })
    }

    fn healthy() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.tick(), [Output::Validate]);
        bench.handle(Input::Validated("a".into()));
        bench
    }

    fn unhealthy() -> Self {
        let mut bench = Self::healthy();
        for _ in 0..3 {
            bench.fail("refused");
        }
        bench.handle(Input::Confirmed(Err("refused".into())));
        assert_eq!(bench.life.health(), NodeHealth::Unhealthy);
        bench
    }
}

#[test]
fn a_new_node_is_validated_and_registered() {
    let mut bench = Bench::new();
    assert_eq!(bench.tick(), [Output::Validate]);
    let outputs = bench.handle(Input::Validated("a".into()));
    assert_eq!(
        outputs,
        [Output::Event(
            NodeEventKind::Connect,
            "Registered Engine a at 10.0.0.1:2375".into()
        )]
    );
    assert_eq!(bench.life.status().indicator, 100);
    assert_eq!(bench.life.status().next_retry, None);
}

#[test]
fn a_pending_node_always_shows_error_and_next_retry_within_the_cap() {
    let mut bench = Bench::new();
    for round in 0..50 {
        assert_eq!(bench.tick(), [Output::Validate], "{round}");
        assert_eq!(bench.handle(Input::NotValidated("refused".into())), []);
        let status = bench.life.status();
        assert_eq!(status.health, NodeHealth::Pending);
        assert_eq!(status.error.as_deref(), Some("refused"));
        let wait = status.next_retry.unwrap().since(bench.now);
        assert!(
            !wait.is_zero() && wait <= Duration::from_secs(60),
            "{wait:?}"
        );
    }
}

#[test]
fn three_failures_and_a_confirmation_make_it_unhealthy() {
    let mut bench = Bench::healthy();
    let mut indicators = Vec::new();
    let mut confirms = 0;
    for _ in 0..3 {
        let outputs = bench.fail("refused");
        confirms += outputs
            .iter()
            .filter(|output| matches!(output, Output::Confirm(_)))
            .count();
        indicators.push(bench.life.status().indicator);
    }
    assert_eq!((indicators, confirms), (vec![67, 34, 0], 1));
    assert_eq!(bench.life.health(), NodeHealth::Healthy);
    let outputs = bench.handle(Input::Confirmed(Err("refused".into())));
    assert_eq!(
        outputs,
        [Output::Event(
            NodeEventKind::Disconnect,
            "Flagging engine as unhealthy. Connect failed 3 times: refused".into()
        )]
    );
    let status = bench.life.status();
    assert_eq!(status.health, NodeHealth::Unhealthy);
    assert_eq!(status.indicator, 0);
    assert!(status.error.is_some() && status.next_retry.is_some());
}

#[test]
fn a_confirmation_that_is_answered_clears_the_failures() {
    let mut bench = Bench::healthy();
    for _ in 0..3 {
        bench.fail("timeout");
    }
    bench.handle(Input::Confirmed(Ok(())));
    let status = bench.life.status();
    assert_eq!(
        (status.health, status.indicator),
        (NodeHealth::Healthy, 100)
    );
    assert_eq!(status.error, None);
}

#[test]
fn coming_back_is_a_reconnect_after_a_full_validation() {
    let mut bench = Bench::unhealthy();
    for _ in 0..2 {
        assert_eq!(bench.tick(), [Output::Validate]);
        bench.handle(Input::NotValidated("refused".into()));
    }
    assert_eq!(bench.tick(), [Output::Validate]);
    let outputs = bench.handle(Input::Validated("a".into()));
    assert_eq!(
        outputs,
        [Output::Event(
            NodeEventKind::Reconnect,
            "Engine came back to life after 2 retries. Hooray!".into()
        )]
    );
    assert_eq!(bench.life.status().indicator, 100);
}

#[test]
fn the_retries_of_an_unhealthy_node_are_capped() {
    let mut bench = Bench::unhealthy();
    for _ in 0..500 {
        let before = bench.now;
        assert_eq!(bench.tick(), [Output::Validate]);
        assert!(bench.now.since(before) <= Duration::from_secs(60));
        bench.handle(Input::NotValidated("refused".into()));
    }
}

#[test]
fn dialling_in_ends_the_wait() {
    let mut bench = Bench::unhealthy();
    assert_eq!(bench.handle(Input::DialledIn), [Output::Validate]);
    // While that goes on, another one changes nothing.
    assert_eq!(bench.handle(Input::DialledIn), []);
}

#[test]
fn another_identity_is_pending_and_validated_by_itself() {
    let mut bench = Bench::healthy();
    let (old, new) = (NodeId::new("A").unwrap(), NodeId::new("B").unwrap());
    let text = "Engine (ID: A, Addr: 10.0.0.1:2375) shows up with another ID:B. Please remove it \
                from cluster, it can be added back.";
    let outputs = bench.handle(Input::IdentityChanged { old, new });
    assert_eq!(
        outputs,
        [Output::Event(NodeEventKind::Disconnect, text.into())]
    );
    let status = bench.life.status();
    assert_eq!(status.health, NodeHealth::Pending);
    assert_eq!(status.error.as_deref(), Some(text));
    assert_eq!(bench.tick(), [Output::Validate]);
    let outputs = bench.handle(Input::Validated("b".into()));
    assert!(matches!(
        outputs.as_slice(),
        [Output::Event(NodeEventKind::Connect, _)]
    ));
}

#[test]
fn removal_is_final() {
    let mut bench = Bench::healthy();
    let outputs = bench.handle(Input::Removed("left discovery".into()));
    assert_eq!(
        outputs,
        [Output::Event(
            NodeEventKind::Disconnect,
            "Removed Engine a: left discovery".into()
        )]
    );
    assert_eq!(bench.handle(Input::Validated("a".into())), []);
    assert_eq!(bench.life.health(), NodeHealth::Disconnected);
    assert_eq!(bench.life.next_deadline(), None);
}

#[test]
fn a_lost_event_stream_is_followed_by_a_ping_at_once() {
    let mut bench = Bench::healthy();
    assert_eq!(bench.handle(Input::StreamLost), [Output::Ping]);
}

#[test]
fn a_wish_to_look_again_is_not_lost_in_a_refresh_that_goes_on() {
    let mut bench = Bench::healthy();
    assert_eq!(
        bench.handle(Input::LookAgain { specs: false }),
        [Output::Refresh { specs: false }]
    );
    assert_eq!(bench.handle(Input::LookAgain { specs: true }), []);
    assert_eq!(
        bench.handle(Input::RefreshDone { specs: false }),
        [Output::Refresh { specs: true }]
    );
    assert_eq!(bench.handle(Input::RefreshDone { specs: true }), []);
}

#[test]
fn what_began_before_the_recovery_does_not_count() {
    let mut bench = Bench::unhealthy();
    let started = bench.now;
    assert_eq!(bench.tick(), [Output::Validate]);
    bench.now = bench.now.after(Duration::from_secs(1));
    bench.handle(Input::Validated("a".into()));
    bench.handle(Input::Failure {
        depth: Depth::Answer,
        started,
        error: "timeout".into(),
    });
    assert_eq!(bench.life.status().indicator, 100);
}

#[test]
fn a_healthy_node_is_pinged_and_refreshed_for_ever() {
    let mut bench = Bench::healthy();
    let start = bench.now;
    let (mut pings, mut refreshes, mut specs) = (0, 0, 0);
    while bench.now.since(start) < Duration::from_secs(3600) {
        for output in bench.tick() {
            match output {
                Output::Ping => {
                    pings += 1;
                    bench.handle(Input::Success(Depth::Answer));
                    bench.handle(Input::PingDone);
                }
                Output::Refresh { specs: also } => {
                    refreshes += 1;
                    specs += u32::from(also);
                    bench.handle(Input::Success(Depth::Work));
                    bench.handle(Input::RefreshDone { specs: also });
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((280..=480).contains(&pings), "{pings} pings");
    assert!((60..=120).contains(&refreshes), "{refreshes} refreshes");
    assert!((9..=12).contains(&specs), "{specs} specs");
}

fn inputs() -> impl Strategy<Value = (u8, u64)> {
    (0u8..15, 0u64..90_000)
}

proptest! {
    /// Whatever happens in whatever order: one job of a kind at a time, something is always due
    /// for a node that is not gone, and one that is not healthy shows why and when it is tried.
    #[test]
    fn the_machine_never_gets_stuck(steps in proptest::collection::vec(inputs(), 1..200)) {
        let mut bench = Bench::new();
        let (mut validating, mut pinging, mut refreshing, mut confirming) = (0, 0, 0, 0);
        for (what, millis) in steps {
            bench.now = bench.now.after(Duration::from_millis(millis));
            let started = bench.now.before(Duration::from_millis(millis / 2));
            let input = match what {
                0 | 1 if validating > 0 => { validating -= 1; Input::Validated("a".into()) }
                2 if validating > 0 => { validating -= 1; Input::NotValidated("no".into()) }
                3 if validating > 0 => {
                    validating -= 1;
                    Input::IdentityChanged { old: NodeId::new("A").unwrap(), new: NodeId::new("B").unwrap() }
                }
                4 if pinging > 0 => { pinging -= 1; Input::PingDone }
                5 if refreshing > 0 => { refreshing -= 1; Input::RefreshDone { specs: millis % 2 == 0 } }
                6 if confirming > 0 => { confirming -= 1; Input::Confirmed(Ok(())) }
                7 if confirming > 0 => { confirming -= 1; Input::Confirmed(Err("no".into())) }
                8 => Input::Success(Depth::Answer),
                9 | 10 => Input::Failure { depth: Depth::Answer, started, error: "no".into() },
                11 => Input::Failure { depth: Depth::Work, started, error: "no".into() },
                12 => Input::DialledIn,
                13 => Input::StreamLost,
                14 => Input::LookAgain { specs: millis % 2 == 0 },
                _ => Input::Tick,
            };
            for output in bench.handle(input) {
                match output {
                    Output::Validate => validating += 1,
                    Output::Ping => pinging += 1,
                    Output::Refresh { .. } => refreshing += 1,
                    Output::Confirm(_) => confirming += 1,
                    Output::Event(..) => {}
                }
            }
            prop_assert!(validating <= 1 && pinging <= 1 && refreshing <= 1);
            let status = bench.life.status();
            let busy = validating + pinging + refreshing + confirming > 0;
            prop_assert!(busy || bench.life.next_deadline().is_some());
            match status.health {
                NodeHealth::Healthy => {}
                NodeHealth::Unhealthy => {
                    prop_assert!(status.error.is_some() && status.next_retry.is_some());
                    prop_assert_eq!(status.indicator, 0);
                }
                _ => prop_assert!(status.next_retry.is_some()),
            }
        }
    }
}
