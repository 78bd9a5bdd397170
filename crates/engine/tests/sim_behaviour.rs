//! What the simulation does beyond the suites: faults, crashes, repeatability, numbers.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all};
use longshore_core::{
    Clock, ClockExt, Engine, ErrorKind, EventAction, ExecBackend, ExecRequest, ListFilter,
    NodeName, RestartPolicy, SystemClock, WorkloadSpec, WorkloadState,
};
use longshore_engine::{Script, SimCluster, SimEngine, SimFault, SimOptions};

fn engine(options: SimOptions) -> (Arc<SimEngine>, Arc<dyn Clock>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let name = NodeName::new("sim").unwrap();
    let engine = SimEngine::new(name, options, Arc::clone(&clock), 1).unwrap();
    (engine, clock)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_hanging_engine_answers_nothing_until_it_recovers() {
    let (engine, clock) = engine(SimOptions::default());
    engine.set_fault(SimFault::Hang);
    let ping = clock.timeout(60 * SECOND, "ping", engine.ping()).await;
    assert_eq!(ping.unwrap_err().kind(), ErrorKind::Timeout);
    let late = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.ping().await }
    });
    clock.sleep(SECOND).await;
    assert!(!late.is_finished());
    engine.set_fault(SimFault::None);
    late.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_down_leaves_its_workloads_alone() {
    let (engine, clock) = engine(SimOptions::default());
    let id = engine.create(&WorkloadSpec::new("x")).await.unwrap();
    engine.start(&id).await.unwrap();
    let mut events = engine.events(None).await.unwrap();
    engine.set_fault(SimFault::Refuse);
    assert!(events.next().await.is_none(), "the stream ends");
    let error = engine.inspect(&id).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Unavailable, true)
    );
    clock.sleep(60 * SECOND).await;
    engine.set_fault(SimFault::None);
    assert_eq!(
        engine.inspect(&id).await.unwrap().state,
        WorkloadState::Running
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_what_runs_and_keeps_what_is_known() {
    let (engine, clock) = engine(SimOptions::default());
    let once = engine.create(&WorkloadSpec::new("x")).await.unwrap();
    let always = WorkloadSpec::new("x").with_restart(RestartPolicy::Always);
    let always = engine.create(&always).await.unwrap();
    engine.start(&once).await.unwrap();
    engine.start(&always).await.unwrap();
    let session = ExecRequest::new(once.clone(), ["cat"]).with_stdin();
    let session = engine.exec(&session).await.unwrap();
    clock.sleep(SECOND).await;
    let before = clock.now();
    engine.crash();
    assert_eq!(
        engine.ping().await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    let ended = clock.timeout(SECOND, "the session's end", session.wait());
    assert_eq!(ended.await.unwrap().unwrap().code, Some(137));
    clock.sleep(30 * SECOND).await;
    engine.recover();
    let recovered = clock.now();
    clock.sleep(SECOND).await;
    let once = engine.inspect(&once).await.unwrap();
    let detail = once.detail.unwrap();
    assert_eq!(once.state, WorkloadState::Exited);
    assert_eq!(detail.exit.unwrap().code, Some(137));
    let always = engine.inspect(&always).await.unwrap();
    let detail = always.detail.unwrap();
    assert_eq!((always.state, detail.restarts), (WorkloadState::Running, 1));
    assert!(
        detail.started.unwrap() >= recovered,
        "nothing runs on a node that is down"
    );
    let mut events = engine.events(Some(before)).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(events.next().await.unwrap().unwrap().action);
    }
    assert_eq!(
        told,
        [EventAction::Die, EventAction::Die, EventAction::Start]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_an_error_although_the_work_was_done() {
    let (engine, _) = engine(SimOptions::default());
    engine.set_fault(SimFault::LoseAnswers(1.0));
    let spec = WorkloadSpec::new("x");
    assert!(engine.create(&spec).await.unwrap_err().is_retryable());
    engine.set_fault(SimFault::RefuseSome(1.0));
    assert!(engine.create(&spec).await.unwrap_err().is_retryable());
    engine.set_fault(SimFault::None);
    assert_eq!(engine.list(&ListFilter::all()).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn latency_and_slowness_take_virtual_time() {
    let (engine, clock) = engine(SimOptions::default().with_latency(SECOND, Duration::ZERO));
    let start = clock.now();
    engine.ping().await.unwrap();
    let quick = clock.now().since(start);
    assert!(quick >= SECOND && quick < 2 * SECOND);
    engine.set_fault(SimFault::Slow(10 * SECOND));
    engine.ping().await.unwrap();
    assert!(clock.now().since(start) >= 12 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn events_come_in_time_although_nobody_calls() {
    let (engine, clock) = engine(SimOptions::default());
    let mut events = engine.events(None).await.unwrap();
    let script = Script::new().exit(5 * SECOND, 3);
    let spec = WorkloadSpec::new("x").with_command(script.to_command());
    let id = engine.create(&spec).await.unwrap();
    engine.start(&id).await.unwrap();
    let start = clock.now();
    loop {
        let event = events.next().await.unwrap().unwrap();
        if event.action == EventAction::Die {
            let took = event.at.since(start);
            assert!(took >= 5 * SECOND && took < 5 * SECOND + Duration::from_millis(10));
            break;
        }
    }
}

/// What happened, in words that two runs can be compared by.
async fn story(seed: u64) -> Vec<String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let start = clock.now();
    let options = |_| SimOptions::default().with_latency(SECOND / 10, SECOND);
    let cluster = SimCluster::new(3, seed, Arc::clone(&clock), options).unwrap();
    let mut told = Vec::new();
    for engine in cluster.engines() {
        let script = Script::new().exit(SECOND, 1);
        let spec = WorkloadSpec::new("x")
            .with_command(script.to_command())
            .with_restart(RestartPolicy::Always);
        let id = engine.create(&spec).await.unwrap();
        engine.start(&id).await.unwrap();
        clock.sleep(20 * SECOND).await;
        let mut events = engine.events(Some(start)).await.unwrap();
        for _ in 0..10 {
            let event = events.next().await.unwrap().unwrap();
            let at = event.at.since(start).as_millis();
            told.push(format!("{at} {} {}", event.action.as_str(), event.actor));
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn one_seed_is_one_story() {
    let first = story(7).await;
    assert_eq!(first, story(7).await);
    assert_ne!(first, story(8).await);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_engines_run_ten_thousand_workloads() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let before = resident();
    let cluster = SimCluster::new(1000, 1, Arc::clone(&clock), |_| SimOptions::default()).unwrap();
    let bare = resident();
    let runs = cluster.engines().iter().map(|engine| async move {
        for number in 0..10u64 {
            let script = Script::new().exit(Duration::from_secs(600 + number), 0);
            let spec = WorkloadSpec::new("x")
                .with_command(script.to_command())
                .with_restart(RestartPolicy::Always);
            let id = engine.create(&spec).await.unwrap();
            engine.start(&id).await.unwrap();
        }
    });
    join_all(runs).await;
    let busy = resident();
    clock.sleep(3600 * SECOND).await;
    let mut restarts = 0;
    for engine in cluster.engines() {
        let list = engine.list(&ListFilter::all()).await.unwrap();
        assert_eq!(list.len(), 10);
        for workload in list {
            let workload = engine.inspect(&workload.id).await.unwrap();
            let own = workload.detail.unwrap().restarts;
            assert!((4..=5).contains(&own), "{own}");
            restarts += own;
        }
    }
    println!(
        "1000 engines: {} KiB each, {} KiB with ten workloads; {restarts} restarts in an hour",
        (bare - before) / 1000,
        (busy - before) / 1000,
    );
    // Generous: about 3 KiB and 40 KiB when this was written.
    assert!(
        (busy - before) / 1000 < 200,
        "{} KiB",
        (busy - before) / 1000
    );
}

/// Memory in use by this program, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
