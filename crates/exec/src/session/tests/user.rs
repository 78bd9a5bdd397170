//! What the sessions of one user may take together, over scripted programs.

use std::{sync::Arc, time::Duration};

use longshore_core::{
    Clock, ClockExt, ErrorKind, ExecRequest, Identity, OsRandom, Shutdown, SystemClock,
    TerminalSize, WorkloadId,
};

use crate::{
    ScriptedExec,
    session::{
        Attachment, EndReason, HubLimits, Launch, OpenRequest, Role, SessionEnd, SessionHub,
        SessionOptions, ViewerEvent,
    },
};

fn hub(limits: HubLimits) -> SessionHub {
    let clock = Arc::new(SystemClock::new());
    SessionHub::new(clock, Arc::new(OsRandom), Shutdown::new()).with_limits(limits)
}

fn request(user: &str, command: &str) -> OpenRequest {
    let web = WorkloadId::new("web").unwrap();
    let exec = ScriptedExec::new()
        .with_workload(web.clone())
        .with_program("flood", |process| async move {
            loop {
                process.print(vec![b'x'; 4096]).await;
            }
        })
        .with_program("echo", |mut process| async move {
            while let Some(bytes) = process.read(100).await {
                process.print(bytes).await;
            }
            0
        });
    let request = ExecRequest::new(web, [command]).with_tty(TerminalSize::default());
    OpenRequest::new(
        Arc::new(exec),
        Launch::Exec(request),
        Identity::new(user, "test"),
    )
}

/// Takes output for so long; gives how much it was.
async fn take(session: &Attachment, seconds: u64) -> u64 {
    let mut got = 0;
    let taking = async {
        while let Some(event) = session.next().await {
            if let ViewerEvent::Output { offset, bytes, .. } = event {
                got += bytes.len() as u64;
                session.acknowledge(offset + bytes.len() as u64).unwrap();
            }
        }
    };
    let limit = Duration::from_secs(seconds);
    let _ = SystemClock::new().timeout(limit, "output", taking).await;
    got
}

async fn end(session: &Attachment) -> SessionEnd {
    loop {
        match session.next().await.expect("an end comes first") {
            ViewerEvent::Output { offset, bytes, .. } => {
                session.acknowledge(offset + bytes.len() as u64).unwrap();
            }
            ViewerEvent::Ended(end) => return end,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn floods_of_one_user_share_what_one_may_have() {
    let hub = hub(HubLimits::default().with_user_bandwidth(100_000));
    let open = |user| hub.open(request(user, "flood")).unwrap();
    let (one, two, other) = (open("ann"), open("ann"), open("bob"));
    let watcher = hub.watch(&other.ready().session, Role::Watcher).unwrap();
    let (one, two, other, watched) = tokio::join!(
        take(&one, 20),
        take(&two, 20),
        take(&other, 20),
        take(&watcher, 20)
    );
    let both = one + two;
    assert!((1_900_000..=2_150_000).contains(&both), "{one} {two}");
    assert!(one.abs_diff(two) < 200_000, "{one} {two}");
    // Bob's are not Ann's; whoever looks at them takes of his.
    let bobs = other + watched;
    assert!((1_900_000..=2_150_000).contains(&bobs), "{other} {watched}");
}

#[tokio::test(start_paused = true)]
async fn an_echo_does_not_wait_behind_the_flood_of_another_session() {
    let hub = hub(HubLimits::default().with_user_bandwidth(20_000));
    let floods: Vec<_> = (0..3)
        .map(|_| hub.open(request("ann", "flood")).unwrap())
        .collect();
    let typing = hub.open(request("ann", "echo")).unwrap();
    let flooding = floods.iter().map(|flood| take(flood, 60));
    let clock = SystemClock::new();
    let keys = async {
        clock.sleep(Duration::from_secs(5)).await;
        for line in 0..400u64 {
            let typed = clock.now();
            typing.send(vec![b'k'; 400].into()).await.unwrap();
            let mut echoed = 0;
            while echoed < 400 {
                if let Some(ViewerEvent::Output { offset, bytes, .. }) = typing.next().await {
                    echoed += bytes.len();
                    typing.acknowledge(offset + bytes.len() as u64).unwrap();
                }
            }
            let took = clock.now().since(typed);
            assert!(took <= Duration::from_millis(2), "{took:?}");
            // In no step with the floods.
            clock
                .sleep(Duration::from_millis(80 + line * 37 % 101))
                .await;
        }
    };
    let (sent, ()) = tokio::join!(futures::future::join_all(flooding), keys);
    // With the echoes.
    let all: u64 = sent.iter().sum::<u64>() + 400 * 400;
    assert!((1_190_000..=1_225_000).contains(&all), "{sent:?}");
}

/// With time that stands still until nobody has anything to do, a connection that looks again and
/// again never gets on.
#[tokio::test(start_paused = true)]
async fn who_has_nothing_to_say_waits_for_no_bandwidth() {
    let hub = hub(HubLimits::default().with_user_bandwidth(2_000));
    let options = SessionOptions::default().with_bandwidth(2_000);
    let session = hub
        .open(request("ann", "echo").with_options(options))
        .unwrap();
    session.send("k".into()).await.unwrap();
    assert_eq!(take(&session, 10).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_user_is_that_of_all_his_sessions() {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let hub = hub(HubLimits::default().with_user_time(minute, hour));
    let clock = SystemClock::new();
    let start = clock.now();
    let first = hub.open(request("ann", "echo")).unwrap();
    let other = hub.open(request("bob", "echo")).unwrap();
    clock.sleep(Duration::from_secs(20)).await;
    let second = hub.open(request("ann", "echo")).unwrap();
    let (one, two) = tokio::join!(end(&first), end(&second));
    for end in [&one, &two] {
        assert_eq!(end.reason, EndReason::MaxDuration);
        assert!(end.to_string().contains("60s together"), "{end}");
    }
    // Twenty seconds alone, and then twice as fast.
    let passed = clock.now().since(start).as_secs();
    assert_eq!(passed, 40);
    let refused = hub.open(request("ann", "echo")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted);
    assert!(refused.to_string().contains("within 3600s"), "{refused}");
    assert!(other.end().is_none());
    drop(other);
    clock.sleep(Duration::from_secs(3561)).await;
    let again = hub.open(request("ann", "echo")).unwrap();
    assert_eq!(end(&again).await.reason, EndReason::MaxDuration);
}

#[tokio::test(start_paused = true)]
async fn time_stands_still_while_a_user_has_no_session() {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let hub = hub(HubLimits::default().with_user_time(minute, hour));
    let clock = SystemClock::new();
    for _ in 0..5 {
        let session = hub.open(request("ann", "echo")).unwrap();
        clock.sleep(Duration::from_secs(10)).await;
        // Its end is kept for a while, which costs nothing.
        session.end_input(None).unwrap();
        assert_eq!(end(&session).await.reason, EndReason::Exited);
        drop(session);
        clock.sleep(Duration::from_secs(100)).await;
    }
    let last = hub.open(request("ann", "echo")).unwrap();
    let start = clock.now();
    assert_eq!(end(&last).await.reason, EndReason::MaxDuration);
    let rest = clock.now().since(start).as_millis();
    assert!((9_900..=10_100).contains(&rest), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn a_user_is_idle_when_all_his_sessions_are() {
    let hub = hub(HubLimits::default().with_user_idle(Duration::from_secs(30)));
    let clock = SystemClock::new();
    let quiet = hub.open(request("ann", "echo")).unwrap();
    let busy = hub.open(request("ann", "echo")).unwrap();
    for _ in 0..10 {
        clock.sleep(Duration::from_secs(20)).await;
        busy.send("k".into()).await.unwrap();
    }
    assert!(quiet.end().is_none());
    let last = clock.now();
    for session in [&quiet, &busy] {
        let end = end(session).await;
        assert_eq!(end.reason, EndReason::Idle);
        assert!(
            end.to_string().contains("any session of this user"),
            "{end}"
        );
    }
    assert_eq!(clock.now().since(last).as_secs(), 30);
}
