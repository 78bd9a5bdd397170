//! What users do in sessions.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore::{
    ExecBackend, ExecSession,
    core::{
        BoxByteStream, Connector, ErrorKind, ExecOutputStream, ExecRequest, Result, Signal,
        TerminalSize, WorkloadId,
    },
    exec::{client::RemoteExec, gateway::Gateway},
};
use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Somebody types in a shell, and leaves.
    Talk,
    /// As much output as goes.
    Flood,
    /// A connection that breaks now and then, and not a byte is lost.
    Cut,
    /// The client vanishes amid a flood.
    Drop,
    /// A signal ends it.
    Signal,
    /// Nothing happens, and then it is closed.
    Close,
}

impl Load {
    pub const ALL: [Self; 6] = [
        Self::Talk,
        Self::Flood,
        Self::Cut,
        Self::Drop,
        Self::Signal,
        Self::Close,
    ];

    /// One session, to its end.
    ///
    /// # Panics
    /// When it does not go as it should.
    pub async fn run(self, remote: &RemoteExec, container: &WorkloadId, times: &Times) {
        let at = Progress::default();
        let going = timeout(LIMIT, self.go(remote, container, times, &at));
        going
            .await
            .unwrap_or_else(|_| panic!("{self:?} takes more than {LIMIT:?}: {at:?}"));
    }

    async fn go(self, remote: &RemoteExec, container: &WorkloadId, times: &Times, at: &Progress) {
        let open = async |command: &[&str], tty: bool| {
            let mut request = ExecRequest::new(container.clone(), command.iter().copied());
            request = request.with_stdin();
            if tty {
                request = request.with_tty(TerminalSize::default());
            }
            let asked = Instant::now();
            let session = loop {
                at.is("opening");
                match remote.exec(&request).await {
                    Ok(session) => break session,
                    // A connection that breaks before its session has begun is not come back to;
                    // and an engine that is asked for more than it can do takes its time.
                    Err(error)
                        if error.kind() == ErrorKind::Timeout
                            || self == Self::Cut && error.is_retryable() =>
                    {
                        times.again(error.kind());
                    }
                    Err(error) => panic!("no session for {self:?}: {error:?}"),
                }
            };
            times.opened(asked.elapsed());
            at.is("open");
            let output = session.take_output().expect("it is taken once");
            (session, output)
        };
        match self {
            Self::Talk => {
                let (session, mut output) = open(&["sh"], true).await;
                let mut input = session.take_input().expect("it has one");
                for turn in 0..20 {
                    let line = format!("echo $(({turn} + 40000))\n");
                    input.write_all(line.as_bytes()).await.expect("it reads");
                    read_until(&mut output, &format!("{}", 40_000 + turn)).await;
                    at.is("talking");
                    sleep(Duration::from_millis(250)).await;
                }
                input.write_all(b"exit 3\n").await.expect("it reads");
                at.is("leaving");
                let left = Instant::now();
                assert_eq!(ended(&*session, output).await, Some(3));
                times.told(left.elapsed());
            }
            Self::Flood => {
                let script = "seq 1 50000; sleep 3; exit 4";
                let (session, output) = open(&["sh", "-c", script], false).await;
                let (text, code) = everything(&*session, output).await;
                assert!(
                    text == numbers(50_000) && code == Some(4),
                    "{} bytes",
                    text.len()
                );
            }
            Self::Cut => {
                let script = "for i in 1 2 3 4 5 6; do seq 1 5000; sleep 0.7; done; exit 5";
                let (session, output) = open(&["sh", "-c", script], false).await;
                let (text, code) = everything(&*session, output).await;
                let whole = numbers(5000).repeat(6);
                assert!(text == whole && code == Some(5), "{} bytes", text.len());
            }
            Self::Drop => {
                let script = "setsid sleep 100000 & (trap '' HUP TERM; sleep 100000) & yes";
                let (session, mut output) = open(&["sh", "-c", script], false).await;
                read_until(&mut output, "y\ny\n").await;
                sleep(Duration::from_secs(2)).await;
                drop((session, output));
            }
            Self::Signal => {
                let script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.3; done";
                let (session, mut output) = open(&["sh", "-c", script], true).await;
                read_until(&mut output, "ready").await;
                sleep(Duration::from_secs(3)).await;
                let signal = Signal::new(10).expect("USR1");
                at.is("signalling");
                session.signal(signal).await.expect("it is sent");
                at.is("signalled");
                let sent = Instant::now();
                assert_eq!(ended(&*session, output).await, Some(9));
                times.told(sent.elapsed());
            }
            Self::Close => {
                let (session, output) = open(&["sleep", "100000"], false).await;
                sleep(Duration::from_secs(6)).await;
                at.is("closing");
                session.close().await.expect("it is closed");
                drop(output);
            }
        }
    }
}

/// What a session last did, and when.
#[derive(Default)]
struct Progress(Mutex<Vec<(&'static str, Instant)>>);

impl Progress {
    fn is(&self, what: &'static str) {
        let mut steps = self.0.lock().expect("nobody has panicked");
        steps.push((what, Instant::now()));
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.0.lock().expect("nobody has panicked");
        let ago = steps
            .iter()
            .rev()
            .take(3)
            .map(|(what, at)| (what, at.elapsed()));
        f.debug_list().entries(ago).finish()
    }
}

/// How long sessions took to open, and those that were left to be told their end, and how often
/// sessions were asked for again.
#[derive(Default)]
pub struct Times {
    opened: Mutex<Vec<Duration>>,
    told: Mutex<Vec<Duration>>,
    again: Mutex<BTreeMap<String, usize>>,
}

impl Times {
    fn opened(&self, took: Duration) {
        self.opened.lock().expect("nobody has panicked").push(took);
    }

    fn told(&self, took: Duration) {
        self.told.lock().expect("nobody has panicked").push(took);
    }

    fn again(&self, why: ErrorKind) {
        *self
            .again
            .lock()
            .expect("nobody has panicked")
            .entry(format!("{why:?}"))
            .or_default() += 1;
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = self.again.lock().expect("nobody has panicked");
        write!(
            f,
            "opened within {}; told their end within {}; asked again: {again:?}",
            spread(&self.opened),
            spread(&self.told)
        )
    }
}

fn spread(times: &Mutex<Vec<Duration>>) -> String {
    let mut times = times.lock().expect("nobody has panicked").clone();
    times.sort_unstable();
    let part = |of: usize| {
        let at = times.get(times.len() * of / 100);
        at.copied().unwrap_or_default()
    };
    let most = times.last().copied().unwrap_or_default();
    let (p50, p99, count) = (part(50), part(99), times.len());
    format!("{p50:.1?} p50, {p99:.1?} p99, {most:.1?} at most ({count})")
}

fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\n")).collect()
}

async fn read_until(output: &mut ExecOutputStream, text: &str) {
    let mut seen = String::new();
    while !seen.contains(text) {
        let piece = output.next().await;
        let piece = piece.unwrap_or_else(|| panic!("it ended before {text:?}: {seen:?}"));
        seen.push_str(&String::from_utf8_lossy(&piece.expect("output").bytes));
    }
}

async fn everything(
    session: &dyn ExecSession,
    mut output: ExecOutputStream,
) -> (String, Option<i64>) {
    let mut bytes = Vec::new();
    while let Some(piece) = output.next().await {
        bytes.extend_from_slice(&piece.expect("output").bytes);
    }
    let status = session.wait().await.expect("its end is known");
    (String::from_utf8_lossy(&bytes).into_owned(), status.code)
}

async fn ended(session: &dyn ExecSession, output: ExecOutputStream) -> Option<i64> {
    everything(session, output).await.1
}

/// Connections to a gateway in this process.
#[derive(Debug)]
pub struct Loopback {
    gateway: Gateway,
    breaks: bool,
    opened: AtomicU64,
}

impl Loopback {
    pub fn new(gateway: Gateway, breaks: bool) -> Self {
        Self {
            gateway,
            breaks,
            opened: AtomicU64::new(0),
        }
    }
}

#[async_trait::async_trait]
impl Connector for Loopback {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let (far, mut middle) = match self.breaks {
            false => (far, None),
            true => {
                let (outer, inner) = tokio::io::duplex(16 * 1024);
                (inner, Some((far, outer)))
            }
        };
        let gateway = self.gateway.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let gateway = gateway.clone();
                async move { Ok::<_, Infallible>(gateway.handle(request).await) }
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(far), answer);
            let _ = served.with_upgrades().await;
        });
        if let Some((mut far, mut outer)) = middle.take() {
            // Other spans each time, and the same in each run.
            let number = self.opened.fetch_add(1, Ordering::Relaxed);
            let span = Duration::from_millis(1200 + number * 377 % 1700);
            tokio::spawn(async move {
                let _ = timeout(span, tokio::io::copy_bidirectional(&mut far, &mut outer)).await;
            });
        }
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "loopback".to_owned()
    }
}

/// On a busy machine nothing takes longer.
const LIMIT: Duration = Duration::from_secs(180);
