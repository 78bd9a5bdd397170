//! The exec suite against a real Docker engine, through the stub and through a shell beside each
//! session: `LONGSHORE_TEST_DOCKER` is its unix socket, `LONGSHORE_TEST_IMAGE` an image with a shell
//! and the usual tools (`busybox:lab`), `LONGSHORE_TEST_BASH_IMAGE` one with bash (`bash:lab`).
#![cfg(all(feature = "docker", unix))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may be blunt"
)]
#![expect(unreachable_pub, reason = "a test has no outside")]

#[path = "live_docker/live.rs"]
mod live;
#[path = "live_docker/waiting.rs"]
mod waiting;

use std::sync::Arc;

use futures::StreamExt;
use longshore_core::{
    AttachRequest, ErrorKind, ExecBackend, ExecRequest, ExitStatus, Identity, OsRandom, Shutdown,
    Signal, SystemClock, TerminalSize,
    testkit::{
        exec::{Harness, Place},
        programs::{Programs, Shell},
    },
};
use longshore_exec::{
    Cleanup,
    session::{EndReason, Launch, OpenRequest, SessionEnd, SessionHub, ViewerEvent},
};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use live::{Live, Socket, processes, until};

/// The engine under test; without one the test says that it was skipped.
fn live() -> Option<Live> {
    let socket = live::socket("exec on docker")?;
    Some(Live::over(Arc::new(Socket(socket))))
}

mod beside {
    longshore_core::exec_suite!(
        live,
        match super::live() {
            Some(live) => live,
            None => return,
        }
    );
}

mod stub {
    longshore_core::exec_suite!(
        live,
        match super::live() {
            Some(live) => live.with_stub(),
            None => return,
        }
    );
}

/// Every session of these begins in a stub that has waited for it.
mod warm {
    longshore_core::exec_suite!(
        live,
        match super::live() {
            Some(live) => super::waiting::Warm(live.with_waiting_stubs()),
            None => return,
        }
    );
}

/// The ways into a container: all but the first session of the last are opened by stubs that waited.
fn ways() -> Vec<Live> {
    live()
        .into_iter()
        .chain(live().map(Live::with_stub))
        .chain(live().map(Live::with_waiting_stubs))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_and_dropped_sessions_leave_nothing_in_the_container() {
    for live in ways() {
        let place = live.place().await;
        let script = "sleep 7654 & setsid sleep 7654 & trap '' TERM HUP; sleep 7654; sleep 7654";
        for tty in [false, true] {
            for close in [true, false] {
                let mut request = ExecRequest::new(place.workload.clone(), ["sh", "-c", script]);
                if tty {
                    request = request.with_tty(<_>::default());
                }
                let session = live.exec.exec(&request).await.unwrap();
                until(|| async { processes(&live, &place, "7654").await >= 4 }).await;
                if close {
                    session.close().await.unwrap();
                    assert!(!session.wait().await.unwrap().is_success());
                    assert_eq!(processes(&live, &place, "7654").await, 0);
                }
                drop(session);
                until(|| async { processes(&live, &place, "7654").await == 0 }).await;
            }
        }
        live.finish(place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_told_as_it_was() {
    for live in ways() {
        let place = live.place().await;
        let run = async |script: &str| {
            let request = ExecRequest::new(place.workload.clone(), ["sh", "-c", script]);
            let session = live.exec.exec(&request).await.unwrap();
            session.wait().await.unwrap()
        };
        assert_eq!(run("exit 7").await, ExitStatus::exited(7));
        assert_eq!(
            run("kill -KILL $$").await,
            ExitStatus::signaled(Signal::KILL)
        );
        assert_eq!(
            run("kill -TERM $$").await,
            ExitStatus::signaled(Signal::TERM)
        );
        assert_eq!(run("exit 126").await, ExitStatus::exited(126));
        assert_eq!(run("echo words; exit 127").await, ExitStatus::exited(127));
        live.finish(place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_a_failed_start_with_its_reason() {
    for live in ways() {
        let place = live.place().await;
        let missing = ExecRequest::new(place.workload.clone(), ["nosuchprogram"]);
        let mut nowhere = ExecRequest::new(place.workload.clone(), ["true"]);
        nowhere.working_dir = "/no/such/folder".to_owned();
        let mut nobody = ExecRequest::new(place.workload.clone(), ["true"]);
        nobody.user = "nosuchuser".to_owned();
        for (request, name) in [
            (missing, "nosuchprogram"),
            (nowhere, "/no/such/folder"),
            (nobody, "nosuchuser"),
        ] {
            // The words are told whether the output is read or not.
            for is_read in [false, true] {
                let (text, code) = match live.exec.exec(&request).await {
                    Ok(session) => {
                        let output = is_read.then(|| session.take_output().unwrap());
                        let reading = async {
                            if let Some(output) = output {
                                let _: Vec<_> = futures::StreamExt::collect(output).await;
                            }
                        };
                        let (status, ()) = tokio::join!(session.wait(), reading);
                        let status = status.unwrap();
                        assert!(matches!(status.code, Some(125..=127)), "{status}");
                        let reason = status.reason.unwrap();
                        assert!(reason.starts_with("start-failed: "), "{reason}");
                        (reason, status.code)
                    }
                    Err(error) => (error.chain(), None),
                };
                assert!(text.contains(name), "{is_read} {code:?}: {text}");
            }
        }
        live.finish(place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_used_up_the_memory_says_so() {
    for live in ways() {
        let limits = json!({ "Memory": 24 << 20, "MemorySwap": 24 << 20 });
        let place = live.limited(limits).await;
        let command = ["tail", "-c", "90000000", "/dev/zero"];
        let request = ExecRequest::new(place.workload.clone(), command);
        let session = live.exec.exec(&request).await.unwrap();
        let status = session.wait().await.unwrap();
        assert_eq!(status.signal, Some(Signal::KILL), "{status}");
        assert!(status.out_of_memory, "{status}");
        // Killed for another reason, it does not.
        let request = ExecRequest::new(place.workload.clone(), ["sh", "-c", "sleep 3; kill -9 $$"]);
        let session = live.exec.exec(&request).await.unwrap();
        let status = session.wait().await.unwrap();
        assert_eq!(status, ExitStatus::signaled(Signal::KILL));
        live.finish(place).await;
    }
}

/// Attached to the container's own process, by its state; or by the engine's events where it is
/// removed with its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_used_up_the_memory_says_so() {
    let Some(live) = live() else {
        return;
    };
    for removed in [false, true] {
        let limits = json!({ "Memory": 24 << 20, "MemorySwap": 24 << 20, "AutoRemove": removed });
        let place = live.waiting("tail -c 90000000 /dev/zero", limits).await;
        let attach = AttachRequest::new(place.workload.clone()).with_stdin();
        let session = live.exec.attach(&attach).await.unwrap();
        let mut input = session.take_input().unwrap();
        input.write_all(b"\n").await.unwrap();
        let status = session.wait().await.unwrap();
        assert!(status.out_of_memory, "{removed}: {status:?}");
        assert_eq!(
            (status.code, status.signal),
            (Some(137), Some(Signal::KILL))
        );
        assert_eq!(SessionEnd::from(status).reason, EndReason::Oom);
        if !removed {
            live.finish(place).await;
        }
    }
    // Killed for another reason, it does not.
    let place = live.waiting("sleep 1000", json!({})).await;
    let attach = AttachRequest::new(place.workload.clone()).with_stdin();
    let session = live.exec.attach(&attach).await.unwrap();
    session.signal(Signal::KILL).await.unwrap();
    assert_eq!(
        session.wait().await.unwrap(),
        ExitStatus::signaled(Signal::KILL)
    );
    live.finish(place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_container_ends_its_sessions() {
    for live in ways() {
        let place = live.place().await;
        let workload = place.workload.clone();
        let session = live
            .exec
            .exec(&ExecRequest::new(workload, Shell.forever()))
            .await
            .unwrap();
        live.finish(place).await;
        let status = session.wait().await.unwrap();
        assert!(!status.is_success(), "{status}");
        session.close().await.unwrap();
    }
}

/// An interactive shell has each job in a process group of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_what_is_in_the_foreground_of_a_terminal() {
    for live in ways() {
        let place = live.place().await;
        let request = ExecRequest::new(place.workload.clone(), ["sh", "-i"])
            .with_tty(<_>::default())
            .with_env("PS1=$ ");
        let session = live.exec.exec(&request).await.unwrap();
        let mut input = session.take_input().unwrap();
        let script = "sh -c 'trap \"echo c''aught; exit 5\" USR1; echo re''ady; \
                      while :; do sleep 0.1; done'\n";
        input.write_all(script.as_bytes()).await.unwrap();
        let mut output = session.take_output().unwrap();
        let mut seen = String::new();
        // The shell itself, whose group it is not, would die of it.
        for (word, signal) in [("ready", None), ("caught", Some(Signal::USR1))] {
            if let Some(signal) = signal {
                session.signal(signal).await.unwrap();
            }
            while !seen.contains(word) {
                let piece = output.next().await.unwrap().unwrap();
                seen.push_str(&String::from_utf8_lossy(&piece.bytes));
            }
        }
        input.write_all(b"exit 3\n").await.unwrap();
        let rest = tokio::spawn(output.for_each(|_| async {}));
        assert_eq!(session.wait().await.unwrap().code, Some(3));
        rest.await.unwrap();
        live.finish(place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_background_stays_if_so_wished() {
    for mut live in ways() {
        let place = live.place().await;
        live.exec = live.exec.with_cleanup(Cleanup::Foreground);
        let script = "setsid sleep 4321 & sleep 8765";
        let request = ExecRequest::new(place.workload.clone(), ["sh", "-c", script]);
        let session = live.exec.exec(&request).await.unwrap();
        // With its quotes, a word is a whole command line: the shell's own has both words in it,
        // and what has not become a sleep may still be in the foreground.
        let [behind, before] = ["\"sleep 4321\"", "\"sleep 8765\""];
        until(|| async { processes(&live, &place, behind).await == 1 }).await;
        until(|| async { processes(&live, &place, before).await == 1 }).await;
        drop(session);
        until(|| async { processes(&live, &place, before).await == 0 }).await;
        assert_eq!(processes(&live, &place, behind).await, 1);
        assert_eq!(live.exec.reap().await.unwrap().reports, []);
        live.finish(place).await;
    }
}

/// Sees to it that of a session that is let go exactly this is left: what was in the background, and what
/// was in the foreground.
async fn leaves(live: &Live, place: &Place, request: ExecRequest, [behind, before]: [usize; 2]) {
    let about = format!("{request:?}");
    let mut seen = String::new();
    let session = live.exec.exec(&request).await.unwrap();
    let (mut input, output) = (session.take_input(), session.take_output());
    if let Some(input) = &mut input {
        // An interactive shell, and a job in its foreground that minds no signal.
        let typed = b"sleep 4321 >/dev/null 2>&1 </dev/null &\n\
                      sh -c 'trap \"\" HUP TERM; sleep 8765; sleep 8765'\n";
        input.write_all(typed).await.unwrap();
        input.flush().await.unwrap();
    }
    let mut output = output.unwrap();
    let reading = async {
        while let Some(Ok(piece)) = output.next().await {
            seen.push_str(&String::from_utf8_lossy(&piece.bytes));
        }
    };
    // With its quotes, a word is a whole command line.
    let [there, here] = ["\"sleep 4321\"", "\"sleep 8765\""];
    let begun = until(|| async {
        processes(live, place, there).await == 1 && processes(live, place, here).await == 1
    });
    tokio::select! {
        () = reading => panic!("it ended: {seen}"),
        () = begun => {}
    }
    drop((input, output, session));
    until(|| async { processes(live, place, here).await <= before }).await;
    until(|| async { processes(live, place, there).await <= behind }).await;
    // Whoever is ended later is ended by then: the lifeline and the stub take a second at most.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let left = [there, here].map(|word| processes(live, place, word));
    let [left_there, left_here] = left;
    assert_eq!(
        [left_there.await, left_here.await],
        [behind, before],
        "{about}"
    );
    let kill = "for dir in /proc/[0-9]*; do
                    case $(tr '\\000' ' ' <$dir/cmdline) in sleep\\ 4321*|*sleep\\ 8765*) ;; *) continue ;; esac
                    [ ${dir#/proc/} = $$ ] || kill -KILL ${dir#/proc/}
                done 2>/dev/null; true";
    let request = ExecRequest::new(place.workload.clone(), ["sh", "-c", kill]);
    live.exec
        .exec(&request)
        .await
        .unwrap()
        .wait()
        .await
        .unwrap();
    until(|| async {
        processes(live, place, there).await + processes(live, place, here).await == 0
    })
    .await;
}

/// Each session has the policy of its request, whatever the backend's own, with a shell that passes a
/// hang-up on to its background (bash) and one that does not, and without a shell's jobs.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_leaves_is_what_its_request_says() {
    for live in ways() {
        let [small, large] = [live.place().await, live.with_bash().await];
        for (place, shell) in [(&small, "sh"), (&large, "bash")] {
            for cleanup in Cleanup::ALL {
                let left = match cleanup {
                    Cleanup::Tree => [0, 0],
                    Cleanup::Foreground => [1, 0],
                    _ => [1, 1],
                };
                let interactive = ExecRequest::new(place.workload.clone(), [shell, "-i"])
                    .with_tty(<_>::default())
                    .with_cleanup(cleanup);
                leaves(&live, place, interactive, left).await;
                let script = "setsid sleep 4321 & sleep 8765";
                let plain = ExecRequest::new(place.workload.clone(), [shell, "-c", script])
                    .with_cleanup(cleanup);
                leaves(&live, place, plain, left).await;
            }
        }
        live.finish(small).await;
        live.finish(large).await;
    }
}

/// Where nobody is inside, it is said that the foreground can't be ended, and nothing is started; beside the
/// container somebody can be.
#[tokio::test(flavor = "multi_thread")]
async fn the_foreground_needs_somebody_inside_or_beside() {
    let Some(live) = live() else { return };
    let place = live.bare(json!({}), "").await;
    let request = ExecRequest::new(place.workload.clone(), ["/app", "hold"])
        .with_stdin()
        .with_cleanup(Cleanup::Foreground);
    let before = processes(&live, &place, "/app hold").await;
    let error = live.exec.exec(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("cleanup foreground"), "{error}");
    assert_eq!(processes(&live, &place, "/app hold").await, before);
    let image = std::env::var("LONGSHORE_TEST_IMAGE").unwrap_or_else(|_| "busybox:lab".to_owned());
    let beside = live.exec.clone().with_sidecar_image(image);
    let session = beside.exec(&request).await.unwrap();
    until(|| async { processes(&live, &place, "/app hold").await == before + 1 }).await;
    drop(session);
    until(|| async { processes(&live, &place, "/app hold").await == before }).await;
    live.finish(place).await;

    // Among the host's processes the foreground can't be told.
    let place = live.limited(json!({ "PidMode": "host" })).await;
    let request = ExecRequest::new(place.workload.clone(), ["sleep", "4321"])
        .with_cleanup(Cleanup::Foreground);
    let error = live.exec.exec(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    live.finish(place).await;
}

/// What a login wrote, and how it ended, having typed this.
async fn login(live: &Live, place: &Place, tty: bool, typed: &'static str) -> (String, SessionEnd) {
    let clock = Arc::new(SystemClock::new());
    let hub = SessionHub::new(clock, Arc::new(OsRandom), Shutdown::new());
    let mut request = ExecRequest::new(place.workload.clone(), [""]).with_stdin();
    if tty {
        request = request.with_tty(TerminalSize::default());
    }
    let backend = Arc::new(live.exec.clone());
    let who = Identity::new("ann", "test");
    let opened = hub.open(OpenRequest::new(backend, Launch::shell(request), who));
    let session = opened.unwrap();
    session.send(typed.into()).await.unwrap();
    let mut output = Vec::new();
    loop {
        match session.next().await.unwrap() {
            ViewerEvent::Output { offset, bytes, .. } => {
                output.extend_from_slice(&bytes);
                session.acknowledge(offset + bytes.len() as u64).unwrap();
            }
            ViewerEvent::Ended(end) => return (String::from_utf8_lossy(&output).into(), end),
            _ => {}
        }
    }
}

/// Writable or not, as root or not: a login finds the helper where there is no shell, and the shell
/// where there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_a_shell_in_the_image_gets_the_helper() {
    for (live, waiting) in [
        (live().map(Live::with_stub), 0),
        (live().map(Live::with_waiting_stubs), 1),
    ] {
        if let Some(live) = live {
            the_helper_is_there(&live, waiting).await;
        }
    }
}

/// `waiting`: how many stubs are to be there for the next login.
async fn the_helper_is_there(live: &Live, waiting: usize) {
    for (host, user, id) in [
        (json!({}), "", "0"),
        (json!({ "ReadonlyRootfs": true }), "", "0"),
        (json!({}), "1234:1235", "1234"),
        (json!({ "ReadonlyRootfs": true }), "1234:1235", "1234"),
        (
            json!({ "ReadonlyRootfs": true, "CapDrop": ["ALL"] }),
            "0",
            "0",
        ),
    ] {
        let place = live.bare(host.clone(), user).await;
        for tty in [false, true] {
            let typed = "cd /proc/self\nls -l status\n/app hello\necho code=$?\nexit 7\n";
            let (output, end) = login(live, &place, tty, typed).await;
            let what = format!("{host} {user} {tty}: {output} {end}");
            assert_eq!(
                (end.reason, end.code),
                (EndReason::Exited, Some(7)),
                "{what}"
            );
            // Whose process it is, and the image's program with its own words and code.
            let owner = output.split_once("-r--r--r--");
            let owner = owner.and_then(|(_, rest)| rest.split_whitespace().next());
            assert!(owner == Some(id), "{what}");
            assert!(
                output.contains("this program is run by longshore"),
                "{what}"
            );
            assert!(output.contains("code=125"), "{what}");
            assert_eq!(output.contains("has no shell"), tty, "{what}");
            until(|| async { live.exec.waiting_stubs() == waiting }).await;
        }
        until(|| async { processes(live, &place, "shell").await == 0 }).await;
        live.finish(place).await;
        until(|| async { live.exec.waiting_stubs() == 0 }).await;
    }
    let place = live.place().await;
    let (output, end) = login(live, &place, true, "echo $((6 * 7)); exit 3\n").await;
    assert!(
        output.contains("42") && end.code == Some(3),
        "{output} {end}"
    );
    live.finish(place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_a_shell_and_without_a_stub_says_what_was_tried() {
    let Some(live) = live() else {
        return;
    };
    let place = live.bare(json!({}), "").await;
    let (_, end) = login(&live, &place, true, "").await;
    assert_eq!(end.reason, EndReason::StartFailed, "{end}");
    assert!(
        end.text
            .unwrap()
            .contains("tried: /bin/bash, bash, /bin/sh, sh")
    );
    live.finish(place).await;
}
