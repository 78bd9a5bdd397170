//! How the end of a container is told to who is attached to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    AttachRequest, BoxByteStream, Connector, ExecBackend, ExitStatus, OsRandom, Result, Signal,
    WorkloadId,
};
use longshore_exec::{
    DockerExec,
    session::{EndReason, SessionEnd},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    daemon::clock,
    hostile::{http, switched},
};

/// An engine whose container ends with a code.
#[derive(Clone, Debug, Default)]
struct Ends {
    code: i64,
    /// Whether the container's state says that its memory ran out.
    flagged: bool,
    /// Whether it said so already when it was attached to.
    before: bool,
    /// Whether an event does.
    told: bool,
    /// How many seconds before the end that was.
    ago: u64,
    /// How many it runs on.
    lasts: u64,
    /// Whether the container is removed with its end.
    gone: bool,
    ended: Arc<AtomicBool>,
}

impl Ends {
    fn answer(&self, line: &str) -> Vec<u8> {
        let running = !self.ended.load(Ordering::SeqCst);
        if line.contains("/attach") {
            switched(b"")
        } else if line.contains("/wait") {
            self.ended.store(true, Ordering::SeqCst);
            http("200 OK", &format!(r#"{{"StatusCode":{}}}"#, self.code))
        } else if line.contains("/info") {
            http("200 OK", r#"{"SystemTime":"2026-01-01T00:00:10Z"}"#)
        } else if line.contains("/events") {
            let event = r#"{"Type":"container","Action":"oom"}"#;
            let since = line.split("since=").nth(1).unwrap();
            let since: f64 = since.split('&').next().unwrap().parse().unwrap();
            let told = self.told && since <= (ENDED - self.ago) as f64;
            http("200 OK", if told { event } else { "" })
        } else if self.gone && !running {
            http("404 Not Found", r#"{"message":"No such container: web"}"#)
        } else {
            let flagged = self.flagged && (self.before || !running);
            let state = format!(r#"{{"Running":{running},"OOMKilled":{flagged}}}"#);
            let config = r#"{"Tty":false,"OpenStdin":false}"#;
            http(
                "200 OK",
                &format!(r#"{{"Config":{config},"State":{state}}}"#),
            )
        }
    }
}

#[async_trait]
impl Connector for Ends {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let engine = self.clone();
        tokio::spawn(async move {
            let mut request = vec![0; 1 << 16];
            let count = far.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let line = request.lines().next().unwrap_or_default();
            if line.contains("/wait") {
                tokio::time::sleep(Duration::from_secs(engine.lasts)).await;
            }
            let _ = far.write_all(&engine.answer(line)).await;
        });
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "memory://ends".to_owned()
    }
}

async fn ended(mut engine: Ends) -> ExitStatus {
    engine.ended = Arc::default();
    let exec = DockerExec::new(Arc::new(engine), clock(), Arc::new(OsRandom));
    let attach = AttachRequest::new(WorkloadId::new("web").unwrap());
    let session = exec.attach(&attach).await.unwrap();
    session.wait().await.unwrap()
}

fn with(code: i64) -> Ends {
    Ends {
        code,
        ..Ends::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ran_out_of_memory_is_told_so() {
    let killed = with(137);
    for engine in [
        Ends {
            flagged: true,
            ..killed.clone()
        },
        Ends {
            told: true,
            ..killed.clone()
        },
        Ends {
            told: true,
            gone: true,
            ..killed.clone()
        },
    ] {
        let status = ended(engine.clone()).await;
        assert!(status.out_of_memory, "{engine:?}: {status:?}");
        let end = SessionEnd::from(status);
        assert_eq!((end.reason, end.code), (EndReason::Oom, Some(137)));
        assert_eq!(end.signal, Some(Signal::KILL));
    }
    // Killed by somebody, or ended by itself in a container whose memory ran out for another.
    assert_eq!(
        ended(killed.clone()).await,
        ExitStatus::signaled(Signal::KILL)
    );
    let gone = Ends {
        gone: true,
        ..killed
    };
    assert_eq!(ended(gone).await, ExitStatus::signaled(Signal::KILL));
    let other = Ends {
        flagged: true,
        told: true,
        ..with(1)
    };
    assert_eq!(ended(other).await, ExitStatus::exited(1));
}

/// The engine's flag stays up while the container runs, whoever in it was ended, and its events stay.
#[tokio::test(start_paused = true)]
async fn memory_that_ran_out_earlier_did_not_end_a_container() {
    let running = Ends {
        lasts: 60,
        ..with(137)
    };
    for engine in [
        Ends {
            flagged: true,
            before: true,
            ..running.clone()
        },
        Ends {
            told: true,
            ago: 30,
            ..running.clone()
        },
    ] {
        let status = ended(engine.clone()).await;
        assert_eq!(status, ExitStatus::signaled(Signal::KILL), "{engine:?}");
    }
    // It ran out again, and that was the end.
    let again = Ends {
        flagged: true,
        before: true,
        told: true,
        ago: 1,
        ..running
    };
    assert!(ended(again).await.out_of_memory);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_ended_a_container_is_named() {
    for (code, signal) in [
        (143, Signal::TERM),
        (139, Signal::SEGV),
        (134, Signal::ABRT),
        (159, Signal::SYS),
    ] {
        assert_eq!(ended(with(code)).await, ExitStatus::signaled(signal));
    }
    // A shell that is left behind an interrupted command says this too.
    let end = SessionEnd::from(ended(with(130)).await);
    assert_eq!((end.reason, end.code), (EndReason::Exited, Some(130)));
    assert_eq!(end.signal, None);
    assert!(end.text.unwrap().contains("SIGINT"));
    assert_eq!(ended(with(0)).await, ExitStatus::exited(0));
}

/// By the engine's clock, which stands still.
const ENDED: u64 = 1_767_225_610;
