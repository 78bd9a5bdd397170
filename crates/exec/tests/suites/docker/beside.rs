//! Lifelines in helper containers, where containers have no shell.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures::future::try_join_all;
use longshore_core::{
    ClockExt, ErrorKind, ExecBackend, ExecRequest, OsRandom, Signal, Timestamp,
    testkit::programs::Programs,
};
use longshore_exec::{
    Cleanup, CleanupOutcome, CleanupReport, CleanupRung, DockerExec, GatewayLife,
    session::HELPER_SHELL,
};
use serde_json::json;

use super::{InMemory, dies, fresh, id, started};
use crate::{
    daemon::{Fault, NOW, clock},
    programs::Names,
};

/// An engine whose containers have no shell, and which has an image with one.
fn shellless() -> InMemory {
    let mut place = fresh(4096);
    place.daemon.shellless.store(true, Ordering::SeqCst);
    *place.daemon.helpers.images.lock().unwrap() = vec![IMAGE.to_owned()];
    place.exec = place.exec.with_sidecar_image(IMAGE);
    place
}

fn stubborn() -> ExecRequest {
    ExecRequest::new(id("web"), Names.stubborn())
}

/// How many helpers the engine was asked for.
fn asked(place: &InMemory) -> usize {
    let requests = place.daemon.requests();
    let made = |(line, body): &&(String, serde_json::Value)| {
        line == "POST /containers/create" && body["Labels"]["longshore.exec"] == "lifeline"
    };
    requests.iter().filter(made).count()
}

async fn pass(seconds: u64) {
    clock().sleep(Duration::from_secs(seconds)).await;
}

/// Reports as they come.
fn heard(exec: &DockerExec) -> (DockerExec, Arc<Mutex<Vec<CleanupReport>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&reports);
    let exec = exec.clone().with_cleanup_listener(move |report| {
        heard.lock().unwrap().push(report.clone());
    });
    (exec, reports)
}

#[tokio::test(start_paused = true)]
async fn a_helper_watches_over_all_who_use_a_container_without_a_shell() {
    let place = shellless();
    let (exec, reports) = heard(&place.exec);
    let first = exec.exec(&stubborn()).await.unwrap();
    // Nobody looks for a shell again, whoever it is.
    let mut other = stubborn();
    other.user = "1000".to_owned();
    let second = exec.exec(&other).await.unwrap();
    let third = ExecRequest::new(id("web"), Names.exit_on_usr1(33));
    let third = exec.exec(&third).await.unwrap();
    assert_eq!((started(&place), asked(&place)), (1, 1));
    // Beats keep it for longer than silence may last.
    pass(30).await;
    third.signal(Signal::USR1).await.unwrap();
    assert_eq!(third.wait().await.unwrap().code, Some(33));
    first.close().await.unwrap();
    assert_eq!(place.daemon.running().await, 1);
    drop(second);
    pass(1).await;
    assert_eq!(place.daemon.running().await, 0);
    let ended = reports.lock().unwrap().clone();
    let outcomes: Vec<_> = ended.iter().map(|report| &report.outcome).collect();
    assert_eq!(outcomes, [&CleanupOutcome::Clean; 3]);
    let rungs: Vec<_> = ended.iter().map(|report| report.rungs.as_slice()).collect();
    let by = [CleanupRung::Lifeline];
    assert_eq!(rungs, [&[][..], &by, &by], "{ended:?}");
    // Warm, it is there for the next, and then it goes.
    assert_eq!(place.daemon.helpers.names().len(), 1);
    pass(90).await;
    assert_eq!(place.daemon.helpers.names(), [""; 0]);
    assert_eq!((started(&place), asked(&place)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn many_sessions_at_a_time_make_one_helper() {
    let place = shellless();
    let request = stubborn();
    let sessions = try_join_all((0..20).map(|_| place.exec.exec(&request))).await;
    let sessions = sessions.unwrap();
    assert_eq!((started(&place), asked(&place)), (1, 1));
    assert_eq!(place.daemon.running().await, 20);
    drop(sessions);
    pass(1).await;
    assert_eq!(place.daemon.running().await, 0);
}

/// What it is told, and what it may.
#[tokio::test(start_paused = true)]
async fn a_helper_has_what_it_needs_and_no_more() {
    let place = shellless();
    let life = GatewayLife::begin("gate", &OsRandom);
    let exec = place.exec.clone().with_gateway(life);
    let _session = exec.exec(&stubborn()).await.unwrap();
    let config = place.daemon.helpers.configs().remove(0);
    assert_eq!(config["Image"], IMAGE);
    assert_eq!(
        (&config["OpenStdin"], &config["StdinOnce"]),
        (&json!(true), &json!(true))
    );
    assert_eq!((&config["User"], config.get("Tty")), (&json!("0:0"), None));
    let labels = &config["Labels"];
    assert_eq!(labels["longshore.exec"], "lifeline");
    for label in ["longshore.exec.gateway", "longshore.exec.life"] {
        assert_eq!(labels[label].as_str().map(str::len), Some(16), "{labels}");
    }
    let expected = json!({
        "PidMode": "container:web",
        "NetworkMode": "none",
        "CapDrop": ["ALL"],
        "CapAdd": ["DAC_OVERRIDE", "KILL", "SYS_PTRACE"],
        "ReadonlyRootfs": true,
        "AutoRemove": true,
        "LogConfig": { "Type": "none" },
        "Memory": 64 << 20,
        "PidsLimit": 64,
    });
    assert_eq!(config["HostConfig"], expected);
    let names = place.daemon.helpers.names();
    assert_eq!(names[0].len(), "longshore-exec-lifeline-".len() + 16);
}

#[tokio::test(start_paused = true)]
async fn each_policy_has_a_helper_of_its_own_and_none_has_none() {
    let place = shellless();
    for (policy, count) in [
        (Cleanup::Nothing, 0),
        (Cleanup::Foreground, 1),
        (Cleanup::Tree, 2),
    ] {
        // The request's word counts, whatever the backend's.
        let other = if policy == Cleanup::Nothing {
            Cleanup::Tree
        } else {
            Cleanup::Nothing
        };
        let exec = place.exec.clone().with_cleanup(other);
        assert_eq!(exec.default_cleanup(), Some(other));
        let request = stubborn().with_cleanup(policy);
        let session = exec.exec(&request).await.unwrap();
        assert_eq!(asked(&place), count);
        let running = place.daemon.running().await;
        drop(session);
        pass(1).await;
        let left = usize::from(policy == Cleanup::Nothing);
        assert_eq!(
            place.daemon.running().await,
            running - 1 + left,
            "{policy:?}"
        );
    }
}

/// Where nobody is inside, and nobody can be beside it, the foreground can't be ended. It is said, and nothing
/// is started.
#[tokio::test(start_paused = true)]
async fn what_nobody_can_end_is_not_begun() {
    let place = fresh(4096);
    place.daemon.shellless.store(true, Ordering::SeqCst);
    let foreground = stubborn().with_cleanup(Cleanup::Foreground);
    let error = place.exec.exec(&foreground).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("cleanup foreground"), "{error}");
    assert_eq!(place.daemon.running().await, 0);
    // All of them are looked for from outside, and nothing is what can always be had.
    for cleanup in [Cleanup::Tree, Cleanup::Nothing] {
        let request = stubborn().with_cleanup(cleanup);
        place.exec.exec(&request).await.unwrap();
    }
    // The helper ends with its session, whoever it is.
    let mut helper = ExecRequest::new(id("web"), [HELPER_SHELL]);
    helper.cleanup = Some(Cleanup::Nothing);
    let error = place.exec.exec(&helper).await.unwrap_err();
    assert!(error.to_string().contains("cleanup none"), "{error}");
    assert_eq!(error.context("exit_code"), Some("127"));
}

/// A session begins as if no image had been named, and the next does not pay for it.
#[tokio::test(start_paused = true)]
async fn what_can_not_be_made_is_not_asked_for_again_for_a_minute() {
    for fault in [
        None,
        Some(Fault::RefusesAttach),
        Some(Fault::RefusesStart),
        Some(Fault::SilentShell),
        Some(Fault::SilentCreation(1)),
    ] {
        let place = shellless();
        match fault {
            Some(fault) => *place.daemon.helpers.fault.lock().unwrap() = fault,
            None => place.daemon.helpers.images.lock().unwrap().clear(),
        }
        for (pause, tries) in [(0, 1), (0, 1), (59, 1), (2, 2)] {
            pass(pause).await;
            let request = ExecRequest::new(id("web"), Names.copy()).with_stdin();
            let session = place.exec.exec(&request).await.unwrap();
            let error = session.signal(Signal::USR1).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
            drop(session.take_input());
            assert_eq!(session.wait().await.unwrap().code, Some(0));
            assert_eq!(
                (started(&place), asked(&place)),
                (tries, tries),
                "{fault:?}"
            );
        }
        pass(70).await;
        assert_eq!(place.daemon.helpers.names(), [""; 0], "{fault:?}");
    }
}

/// Without a helper there is the sidecar, as before.
#[tokio::test(start_paused = true)]
async fn without_a_helper_the_next_rung_is_tried() {
    let place = shellless();
    place.daemon.sidecars.store(true, Ordering::SeqCst);
    *place.daemon.helpers.fault.lock().unwrap() = Fault::RefusesStart;
    let (exec, reports) = heard(&place.exec);
    drop(exec.exec(&stubborn()).await.unwrap());
    pass(5).await;
    assert_eq!(place.daemon.running().await, 0);
    let ended = reports.lock().unwrap().clone();
    assert_eq!(ended[0].outcome, CleanupOutcome::Clean);
    assert_eq!(ended[0].rungs, [CleanupRung::Sidecar]);
}

/// The session whose start was given up, too: the helper's own task goes on.
#[tokio::test(start_paused = true)]
async fn a_helper_that_is_made_after_it_was_given_up_does_not_stay() {
    for seconds in [15, 25, 55] {
        let place = shellless();
        *place.daemon.helpers.fault.lock().unwrap() = Fault::SilentCreation(seconds);
        let limit = Duration::from_secs(10);
        let request = stubborn();
        let opening = clock()
            .timeout(limit, "a session", place.exec.exec(&request))
            .await;
        assert_eq!(opening.unwrap_err().kind(), ErrorKind::Timeout);
        pass(seconds - 9).await;
        assert_eq!(place.daemon.helpers.names().len(), 1, "{seconds}");
        pass(100).await;
        assert_eq!(place.daemon.helpers.names(), [""; 0], "{seconds}");
        assert_eq!(asked(&place), 1);
    }
}

/// It reads no end of its input, so it does not go by itself; and nobody new is put under its watch.
#[tokio::test(start_paused = true)]
async fn a_helper_that_somebody_stopped_is_removed() {
    let place = shellless();
    place.daemon.sidecars.store(true, Ordering::SeqCst);
    *place.daemon.helpers.fault.lock().unwrap() = Fault::StoppedShell;
    let (exec, reports) = heard(&place.exec);
    let session = exec.exec(&stubborn()).await.unwrap();
    pass(10).await;
    *place.daemon.helpers.fault.lock().unwrap() = Fault::Nothing;
    let second = exec.exec(&stubborn()).await.unwrap();
    assert_eq!(asked(&place), 2);
    drop((session, second));
    pass(5).await;
    assert_eq!(place.daemon.running().await, 0);
    let rungs: Vec<_> = reports
        .lock()
        .unwrap()
        .iter()
        .map(|report| report.rungs.clone())
        .collect();
    let lifeline = vec![CleanupRung::Lifeline];
    let both = vec![CleanupRung::Lifeline, CleanupRung::Sidecar];
    assert_eq!(rungs, [lifeline, both]);
    pass(300).await;
    assert_eq!(place.daemon.helpers.names(), [""; 0]);
}

/// Another is made in its place, ever more rarely while somebody ends them.
#[tokio::test(start_paused = true)]
async fn a_helper_that_was_killed_is_replaced_under_its_sessions() {
    let place = shellless();
    let session = place.exec.exec(&stubborn()).await.unwrap();
    for _ in 0..40 {
        place.daemon.killed.notify_waiters();
        pass(1).await;
    }
    let made = asked(&place);
    assert!((3..12).contains(&made), "{made}");
    pass(60).await;
    assert_eq!(place.daemon.helpers.names().len(), 1);
    session.signal(Signal::WINCH).await.unwrap();
    session.close().await.unwrap();
    assert_eq!(place.daemon.running().await, 0);
    assert_eq!(started(&place), 1);
}

/// Each that is lost goes on for its own sessions, and the next session would take one more.
#[tokio::test(start_paused = true)]
async fn whoever_ends_helpers_gets_no_more_than_a_few_of_them() {
    let place = shellless();
    place.daemon.sidecars.store(true, Ordering::SeqCst);
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(place.exec.exec(&stubborn()).await.unwrap());
        pass(1).await;
        place.daemon.killed.notify_waiters();
        pass(1).await;
    }
    pass(60).await;
    let count = place.daemon.helpers.names().len();
    assert!((2..=4).contains(&count), "{count} helpers");
    assert_eq!(place.daemon.running().await, 10);
    for session in sessions {
        session.close().await.unwrap();
    }
    assert_eq!(place.daemon.running().await, 0);
    // Then there is room again.
    pass(120).await;
    assert_eq!(place.daemon.helpers.names(), [""; 0]);
    let session = place.exec.exec(&stubborn()).await.unwrap();
    session.signal(Signal::WINCH).await.unwrap();
}

/// It would stand among the host's processes. Nor is a signal said to be sent that nobody gets.
#[tokio::test(start_paused = true)]
async fn no_helper_joins_the_hosts_process_namespace() {
    for has_shell in [false, true] {
        let place = shellless();
        place.daemon.among_hosts.store(true, Ordering::SeqCst);
        place.daemon.sidecars.store(true, Ordering::SeqCst);
        place.daemon.shellless.store(!has_shell, Ordering::SeqCst);
        let session = place.exec.exec(&stubborn()).await.unwrap();
        let error = session.signal(Signal::TERM).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(asked(&place), 0);
        session.close().await.unwrap();
        assert_eq!(place.daemon.running().await, 0);
    }
}

/// It is there, and had no process or memory left for a moment.
#[tokio::test(start_paused = true)]
async fn a_shell_that_fails_for_a_moment_is_not_taken_for_none() {
    let trouble = |place: &InMemory, said: Option<&str>| {
        *place.daemon.trouble.lock().unwrap() = said.map(str::to_owned);
    };
    for (said, tries) in [
        ("sh: fork: Resource temporarily unavailable\n", 0),
        // As one without `tr` does: that may be for good, and a helper is tried.
        ("", 1),
    ] {
        let place = shellless();
        place.daemon.shellless.store(false, Ordering::SeqCst);
        *place.daemon.helpers.fault.lock().unwrap() = Fault::RefusesStart;
        let (exec, reports) = heard(&place.exec);
        trouble(&place, Some(said));
        let first = exec.exec(&stubborn()).await.unwrap();
        assert_eq!(asked(&place), tries, "{said}");
        let error = first.signal(Signal::TERM).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        // What refused the helper does not keep the next from the shell.
        trouble(&place, None);
        let second = exec.exec(&stubborn()).await.unwrap();
        second.signal(Signal::WINCH).await.unwrap();
        assert_eq!(asked(&place), tries, "{said}");
        // And the first is swept by it.
        first.close().await.unwrap();
        let report = reports.lock().unwrap()[0].clone();
        assert_eq!(report.rungs, [CleanupRung::Sweep], "{said}");
        assert_eq!(report.outcome, CleanupOutcome::Clean, "{said}");
        assert_eq!(place.daemon.running().await, 1);
    }
}

/// A helper goes with the container, and none is made for one that does not run.
#[tokio::test(start_paused = true)]
async fn a_container_that_stops_takes_its_helper_with_it() {
    for policy in [Cleanup::Tree, Cleanup::Foreground] {
        let place = shellless();
        let exec = place.exec.clone().with_cleanup(policy);
        let _session = exec.exec(&stubborn()).await.unwrap();
        pass(20).await;
        place.daemon.stop("web").await;
        pass(120).await;
        assert_eq!(place.daemon.helpers.names(), [""; 0]);
        assert_eq!(asked(&place), 1, "{policy:?}");
        let error = exec.exec(&stubborn()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(asked(&place), 1, "{policy:?}");
    }
}

#[test]
fn a_gateway_that_dies_leaves_nothing_where_there_is_no_shell() {
    dies(shellless);
}

/// Those of another life of this gateway, and whoever's are old; not those of this one, which may be
/// about to be started.
#[tokio::test(start_paused = true)]
async fn helpers_that_nobody_will_start_are_reaped() {
    let place = fresh(4096);
    let now = Timestamp::parse_rfc3339(NOW).unwrap().unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let [before, life] = [(); 2].map(|()| GatewayLife::begin("gate", &OsRandom));
    let other = GatewayLife::begin("other", &OsRandom);
    // Their labels, as their gateways write them.
    let mut labels = Vec::new();
    for life in [&before, &life, &other] {
        let place = shellless();
        let exec = place.exec.clone().with_gateway(life.clone());
        let _session = exec.exec(&stubborn()).await.unwrap();
        labels.push(place.daemon.helpers.configs()[0]["Labels"].clone());
    }
    let helpers = &place.daemon.helpers;
    let is = |role: &str| json!({ "longshore.exec": role });
    let (new, old) = (Some(now - 20), Some(now - 700));
    for (name, labels, made) in [
        (
            "longshore-exec-lifeline-of-another-life",
            labels[0].clone(),
            Some(now),
        ),
        (
            "longshore-exec-lifeline-of-this-life",
            labels[1].clone(),
            Some(now),
        ),
        (
            "longshore-exec-lifeline-of-another",
            labels[2].clone(),
            Some(now - 300),
        ),
        ("longshore-exec-lifeline-old", labels[2].clone(), old),
        ("longshore-exec-lifeline-of-no-age", labels[2].clone(), None),
        ("longshore-exec-sidecar-old", is("sidecar"), old),
        ("longshore-exec-sidecar-new", is("sidecar"), new),
        ("longshore-exec-stub-old", is("stub"), old),
        // An image may have a label like ours, and anybody a name like ours.
        ("database", is("lifeline"), old),
        ("database-of-another-life", labels[0].clone(), old),
        ("longshore-exec-other", is("whatever"), old),
        ("longshore-exec-nobodys", json!({ "a": "b" }), old),
    ] {
        helpers.leave(name, labels, made);
    }
    let exec = place.exec.clone().with_gateway(life);
    assert_eq!(exec.reap().await.unwrap().reports, []);
    let stays = [
        "database",
        "database-of-another-life",
        "longshore-exec-lifeline-of-another",
        "longshore-exec-lifeline-of-no-age",
        "longshore-exec-lifeline-of-this-life",
        "longshore-exec-nobodys",
        "longshore-exec-other",
        "longshore-exec-sidecar-new",
    ];
    assert_eq!(helpers.names(), stays);
    // What somebody starts meanwhile stays.
    assert_eq!(*helpers.forced.lock().unwrap(), [""; 0]);
    let requests = place.daemon.requests();
    let lines = requests.iter().map(|(line, _)| line.as_str());
    let removals = lines.clone().filter(|line| line.starts_with("DELETE"));
    assert_eq!(removals.count(), 4);
    // First who may still run, and then what does not.
    let place_of = |what: &str| lines.clone().position(|line| line.contains(what));
    assert!(place_of("/top") < place_of("DELETE"), "{requests:?}");
}

/// However many there are and however long the engine takes for each: whoever reaps is back within half a
/// minute, having removed no more than 64, and what is left is there the next time.
#[tokio::test(start_paused = true)]
async fn removing_what_nobody_will_start_takes_no_more_than_half_a_minute() {
    let now = Timestamp::parse_rfc3339(NOW).unwrap().unwrap().as_secs();
    let made = Some(i64::try_from(now).unwrap() - 700);
    let place = fresh(4096);
    let helpers = &place.daemon.helpers;
    for number in 0..70 {
        let name = format!("longshore-exec-lifeline-{number}");
        helpers.leave(&name, json!({ "longshore.exec": "lifeline" }), made);
    }
    let clock = clock();
    let reap = async || {
        let begun = clock.now();
        place.exec.reap().await.unwrap();
        clock.now().since(begun).as_secs()
    };
    assert_eq!(reap().await, 0);
    assert_eq!(helpers.names().len(), 6);
    *helpers.fault.lock().unwrap() = Fault::SlowRemoval(9);
    assert_eq!(reap().await, 30);
    let left = helpers.names().len();
    assert!((2..=3).contains(&left), "{left}");
    *helpers.fault.lock().unwrap() = Fault::Nothing;
    assert_eq!(reap().await, 0);
    assert_eq!(helpers.names(), [""; 0]);
}

pub(super) const IMAGE: &str = "tools";
