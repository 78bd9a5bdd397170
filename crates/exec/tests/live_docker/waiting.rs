//! Sessions through stubs that waited for them.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use async_trait::async_trait;
use futures::StreamExt;
use http::Method;
use longshore_core::{
    AttachRequest, ErrorKind, ExecBackend, ExecRequest, ExecSession, OsRandom, Result, WorkloadId,
    testkit::exec::{Attachable, Harness, Place},
};
use longshore_exec::{Cleanup, CleanupOutcome, GatewayLife, session::EndReason};

use tokio::sync::Mutex;

use super::{
    live,
    live::{Live, processes, until},
    login,
};

/// Each session of it is opened by a stub that waited, or the suite would not try that.
pub struct Warm(pub Live);

#[async_trait]
impl Harness for Warm {
    async fn place(&self) -> Place {
        let mut place = self.0.place().await;
        enter(&self.0, &place).await;
        place.backend = Arc::new(Watched(self.0.clone(), Mutex::default()));
        place
    }

    async fn stopped(&self) -> Option<Place> {
        self.0.stopped().await
    }

    async fn attachable(&self, kind: Attachable) -> Option<Place> {
        self.0.attachable(kind).await
    }

    async fn finish(&self, place: Place) {
        self.0.finish(place).await;
    }
}

#[derive(Debug)]
struct Watched(Live, Mutex<()>);

#[async_trait]
impl ExecBackend for Watched {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        let Self(live, one) = self;
        // The one for this is on its way, unless the container is not there, and is nobody else's.
        let _one = one.lock().await;
        let path = format!("/containers/{}/json", request.workload);
        let (status, _) = live.call(Method::GET, &path, None).await;
        until(|| async { status == 404 || live.exec.waiting_stubs() > 0 }).await;
        let before = live.commands(&request.workload).await;
        let session = live.exec.exec(request).await?;
        // What is to be left alone is the engine's to start.
        let is_warm = before.contains(&session.id().to_string());
        assert_eq!(is_warm, request.cleanup != Some(Cleanup::Nothing));
        Ok(session)
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        self.0.exec.attach(request).await
    }
}

fn warm() -> Option<Live> {
    live().map(Live::with_waiting_stubs)
}

/// Lets somebody in, behind whom a stub waits for the next.
async fn enter(live: &Live, place: &Place) {
    assert_eq!(run(live, place, "echo in").await.1, "in\n");
    until(|| async { live.exec.waiting_stubs() == 1 }).await;
}

/// The session's id and what it said.
async fn run(live: &Live, place: &Place, script: &str) -> (String, String) {
    ask(live, &request(place, script)).await
}

fn request(place: &Place, script: &str) -> ExecRequest {
    ExecRequest::new(place.workload.clone(), ["sh", "-c", script])
}

async fn ask(live: &Live, request: &ExecRequest) -> (String, String) {
    let session = live.exec.exec(request).await.unwrap();
    let mut output = session.take_output().unwrap();
    let mut said = Vec::new();
    while let Some(piece) = output.next().await {
        said.extend_from_slice(&piece.unwrap().bytes);
    }
    session.wait().await.unwrap();
    (
        session.id().to_string(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// The stub that waits there, as this machine numbers it.
fn waiter(place: &Place) -> String {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let found = processes.map(|process| process.path()).find(|path| {
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        let words = read("cmdline");
        words.contains("exec-stub")
            && words.ends_with("\0wait\0")
            && read("cgroup").contains(place.workload.as_str())
    });
    let path = found.expect("a stub that waits");
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn signal(name: &str, pid: &str) {
    let sent = Command::new("kill").args([name, pid]).status();
    assert!(sent.unwrap().success());
}

async fn post(live: &Live, place: &Place, what: &str) {
    let path = format!("/containers/{}/{what}", place.workload);
    let (status, answer) = live.call(Method::POST, &path, None).await;
    assert_eq!(status, 204, "{answer}");
}

/// What a command finds itself to be, but for the mark of its session, and the number of files that
/// it may open, which runc 1.1.5 sets to the one or the other limit of a container by chance.
const LOOK: &str = "pwd; id; umask; ulimit -a | grep -v files; env | grep -v ^LONGSHORE | sort; \
                    grep -E '^(Cap|Sig(Blk|Ign|Cgt)|NoNew|Seccomp|Groups)' /proc/self/status; \
                    cat /proc/self/oom_score_adj /proc/self/cgroup; tty; ls /proc/self/fd";

/// Also as the engine alone would start it, but for what it is told by the stub: its `HOME`.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_the_same_as_one_that_the_engine_started() {
    let Some(plain) = live() else {
        return;
    };
    let cold = plain.clone().with_stub();
    let place = plain.furnished().await;
    for (user, home) in [
        ("", "/root"),
        ("root", "/root"),
        ("0:0", "/root"),
        ("ann", "/srv/ann"),
        ("1234", "/srv/ann"),
        ("ann:audio", "/srv/ann"),
        ("4321:77", "/"),
    ] {
        // Of its own: in one container they would share a place.
        let warm = plain.clone().with_waiting_stubs();
        for (folder, tty) in [("", false), ("/tmp", false), ("/usr/share", true)] {
            let mut request = request(&place, LOOK).with_env("TOLD_ANEW=a=b c");
            if tty {
                request = request.with_tty(<_>::default());
            }
            request.user = user.to_owned();
            request.working_dir = folder.to_owned();
            // The first leaves a stub for this user behind.
            ask(&warm, &request).await;
            until(|| async { warm.exec.waiting_stubs() == 1 }).await;
            let before = warm.commands(&place.workload).await;
            let (id, said) = ask(&warm, &request).await;
            assert!(before.contains(&id), "{user}");
            assert_eq!(said, ask(&cold, &request).await.1, "{user} {folder}");
            let expected = match folder {
                "" => "/usr/share/furnished",
                folder => folder,
            };
            assert!(said.starts_with(expected), "{said}");
            for word in ["FROM_IMAGE=1", "TOLD_ANEW=a=b c", &format!("HOME={home}")] {
                assert!(
                    said.lines().any(|line| line.trim() == word),
                    "{word}: {said}"
                );
            }
            // The engine alone: a terminal has `TERM` set, and other descriptors.
            if !tty {
                let line = |said: &str| said.lines().take(3).collect::<Vec<_>>().join("\n");
                let alone = ask(&plain, &request).await.1;
                assert_eq!(line(&said), line(&alone), "{user} {folder}");
            }
        }
    }
    plain.finish(place).await;
}

/// A folder that is not there is told as ever, and the command begins once in all.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stub_can_not_do_is_told_as_by_the_engine() {
    let Some(warm) = warm() else {
        return;
    };
    let cold = live().unwrap().with_stub();
    let place = warm.place().await;
    enter(&warm, &place).await;
    let mut request = request(&place, "echo never");
    request.working_dir = "/no/such/folder".to_owned();
    let mut ends = Vec::new();
    for live in [&cold, &warm] {
        let session = live.exec.exec(&request).await.unwrap();
        let status = session.wait().await.unwrap();
        assert!(!status.is_success());
        ends.push(status);
    }
    assert_eq!(ends[0], ends[1]);
    warm.finish(place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_were_made_meanwhile_count() {
    let (Some(warm), Some(plain)) = (warm(), live()) else {
        return;
    };
    let place = warm.place().await;
    let mut request = request(&place, "id -G");
    request.user = "root".to_owned();
    assert_eq!(ask(&warm, &request).await.1.trim(), "0");
    until(|| async { warm.exec.waiting_stubs() == 1 }).await;
    let before = warm.commands(&place.workload).await;
    let change =
        "echo 'new:x:77:78::/new:/bin/sh' >> /etc/passwd; echo 'more:x:79:root' >> /etc/group";
    run(&plain, &place, change).await;
    for (user, groups) in [("root", "0 79"), ("new", "78")] {
        request.user = user.to_owned();
        let (id, said) = ask(&warm, &request).await;
        assert!(!before.contains(&id));
        assert_eq!(said, ask(&plain, &request).await.1);
        assert_eq!(said.trim(), groups);
    }
    warm.finish(place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_restarted_or_a_stub_that_was_killed_is_no_error() {
    let Some(live) = warm() else {
        return;
    };
    let place = live.place().await;
    enter(&live, &place).await;
    post(&live, &place, "restart?t=0").await;
    assert_eq!(run(&live, &place, "echo a").await.1, "a\n");
    until(|| async { live.exec.waiting_stubs() == 1 }).await;
    signal("-KILL", &waiter(&place));
    assert_eq!(run(&live, &place, "echo b").await.1, "b\n");
    until(|| async { live.exec.waiting_stubs() == 1 }).await;
    let before = live.commands(&place.workload).await;
    let (id, _) = run(&live, &place, "echo c").await;
    assert!(before.contains(&id));
    live.finish(place).await;
}

/// Neither one that hangs, nor one of a container that stands still.
#[tokio::test(flavor = "multi_thread")]
async fn a_stub_that_stands_still_holds_nobody_up_and_starts_nothing_later() {
    let Some(live) = warm() else {
        return;
    };
    let place = live.place().await;
    enter(&live, &place).await;
    let stopped = waiter(&place);
    signal("-STOP", &stopped);
    assert_eq!(
        run(&live, &place, "echo x >> /tmp/runs; cat /tmp/runs")
            .await
            .1,
        "x\n"
    );
    signal("-CONT", &stopped);
    until(|| async { live.exec.waiting_stubs() == 1 }).await;
    until(|| async { processes(&live, &place, "exec-stub").await == 1 }).await;
    assert_eq!(run(&live, &place, "cat /tmp/runs").await.1, "x\n");
    until(|| async { live.exec.waiting_stubs() == 1 }).await;
    post(&live, &place, "pause").await;
    let error = live
        .exec
        .exec(&request(&place, "echo y >> /tmp/runs"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    post(&live, &place, "unpause").await;
    assert_eq!(run(&live, &place, "cat /tmp/runs").await.1, "x\n");
    live.finish(place).await;
}

/// Its first process ends on request, with code 0. One that is held up is killed behind that.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_stopped_is_not_held_up() {
    let Some(live) = warm() else {
        return;
    };
    let place = live.place().await;
    enter(&live, &place).await;
    post(&live, &place, "stop?t=60").await;
    let path = format!("/containers/{}/json", place.workload);
    let (_, told) = live.call(Method::GET, &path, None).await;
    assert_eq!(told["State"]["ExitCode"], 0, "{}", told["State"]);
    until(|| async { live.exec.waiting_stubs() == 0 }).await;
    let error = live.exec.exec(&request(&place, "echo")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    live.finish(place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_its_own_gateways_and_a_dead_gateways_is_ended() {
    let Some(mut live) = warm() else {
        return;
    };
    let place = live.place().await;
    let name = format!("waiting-{}", place.workload);
    let begin = |live: &Live, name: &str| {
        let life = GatewayLife::begin(name, &OsRandom);
        live.exec.clone().with_gateway(life)
    };
    live.exec = begin(&live, &name);
    enter(&live, &place).await;
    for other in [live.exec.clone(), begin(&live, "another")] {
        assert_eq!(other.reap().await.unwrap().reports, []);
    }
    assert_eq!(live.exec.waiting_stubs(), 1);
    let before = live.commands(&place.workload).await;
    assert!(before.contains(&run(&live, &place, "echo").await.0));
    until(|| async { live.exec.waiting_stubs() == 1 }).await;
    // It does not see that its gateway is gone.
    signal("-STOP", &waiter(&place));
    let next = super::live().unwrap().with_stub();
    live.exec = begin(&next, &name);
    let reports = live.exec.reap().await.unwrap().reports;
    let ours = reports
        .iter()
        .filter(|report| report.workload == place.workload);
    let outcomes: Vec<_> = ours.map(|report| &report.outcome).collect();
    assert_eq!(outcomes, [&CleanupOutcome::Clean]);
    assert_eq!(processes(&live, &place, "exec-stub").await, 0);
    live.finish(place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_last_backend_nobody_waits() {
    let Some(live) = warm() else {
        return;
    };
    let plain = super::live().unwrap();
    let place = plain.place().await;
    enter(&live, &place).await;
    assert_eq!(processes(&plain, &place, "exec-stub").await, 1);
    drop(live);
    until(|| async { processes(&plain, &place, "exec-stub").await == 0 }).await;
    plain.finish(place).await;
}

/// It tries three that are not there before it finds one.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_needs_no_engine_either() {
    let Some(live) = warm() else {
        return;
    };
    let place = live.place().await;
    enter(&live, &place).await;
    let before = live.commands(&place.workload).await;
    assert_eq!(before.len(), 1);
    let (output, end) = login(&live, &place, true, "echo $((6 * 7)); exit 3\n").await;
    assert!(output.contains("42"), "{output}");
    assert_eq!((end.reason, end.code), (EndReason::Exited, Some(3)));
    let is_used = async || !live.commands(&place.workload).await.contains(&before[0]);
    until(is_used).await;
    live.finish(place).await;
}

/// Not a test of its own: what the next one starts as the gateway. Alone it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_test() {
    let (Ok(container), Some(live)) = (std::env::var(CONTAINER), warm()) else {
        return;
    };
    let place = Place {
        backend: Arc::new(live.exec.clone()),
        workload: WorkloadId::new(container).unwrap(),
        keep: Box::new(()),
    };
    enter(&live, &place).await;
    println!("\nSTANDING");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_leaves_nobody_waiting() {
    let Some(live) = super::live() else {
        return;
    };
    let place = live.place().await;
    let own = std::env::current_exe().unwrap();
    let mut gateway = Command::new(own)
        .args([
            "--exact",
            "waiting::a_gateway_of_another_test",
            "--nocapture",
        ])
        .env(CONTAINER, place.workload.as_str())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(gateway.stdout.take().unwrap()).lines();
    let stands = lines
        .map_while(std::io::Result::ok)
        .any(|line| line == "STANDING");
    let before = processes(&live, &place, "exec-stub").await;
    // SIGKILL.
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    assert!(stands && before == 1);
    until(|| async { processes(&live, &place, "exec-stub").await == 0 }).await;
    live.finish(place).await;
}

const CONTAINER: &str = "LONGSHORE_TEST_WAITING_IN";
