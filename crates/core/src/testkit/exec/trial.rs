use std::{future::Future, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

use super::{Harness, Place};
use crate::{
    Clock, ClockExt, ExecInput, ExecOutputStream, ExecRequest, ExecSession, ExitStatus, OutputKind,
    TerminalSize, testkit::programs::Programs,
};

/// One run of one rule in one place.
pub(super) struct Trial<'a> {
    harness: &'a dyn Harness,
    pub(super) place: Place,
    pub(super) programs: &'a dyn Programs,
    pub(super) clock: Arc<dyn Clock>,
}

/// What a session said and how it ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) stdout: BytesMut,
    pub(super) stderr: BytesMut,
    pub(super) status: ExitStatus,
}

impl<'a> Trial<'a> {
    pub(super) async fn new(harness: &'a dyn Harness) -> Self {
        let place = harness.place().await;
        Self::at(harness, place)
    }

    pub(super) fn at(harness: &'a dyn Harness, place: Place) -> Self {
        Self {
            harness,
            place,
            programs: harness.programs(),
            clock: harness.clock(),
        }
    }

    pub(super) fn request(&self, command: Vec<String>) -> ExecRequest {
        ExecRequest::new(self.place.workload.clone(), command)
    }

    pub(super) async fn exec(&self, request: &ExecRequest) -> Arc<dyn ExecSession> {
        self.within(self.place.backend.exec(request))
            .await
            .expect("exec")
    }

    /// Runs a command without input to its end.
    pub(super) async fn run(&self, command: Vec<String>) -> Outcome {
        let session = self.exec(&self.request(command)).await;
        self.outcome(&*session).await
    }

    /// Runs a command on a terminal to its end.
    pub(super) async fn run_on_terminal(&self, command: Vec<String>) -> Outcome {
        let request = self.request(command).with_tty(TerminalSize::default());
        let session = self.exec(&request).await;
        self.outcome(&*session).await
    }

    /// Reads all output, then waits for the end.
    pub(super) async fn outcome(&self, session: &dyn ExecSession) -> Outcome {
        let output = session.take_output().expect("the output");
        let (stdout, stderr) = self.read_to_end(output).await;
        let status = self.wait(session).await;
        Outcome {
            stdout,
            stderr,
            status,
        }
    }

    pub(super) async fn read_to_end(&self, mut output: ExecOutputStream) -> (BytesMut, BytesMut) {
        self.within(async {
            let (mut stdout, mut stderr) = (BytesMut::new(), BytesMut::new());
            while let Some(piece) = output.next().await {
                let piece = piece.expect("output");
                match piece.kind {
                    OutputKind::Stdout => stdout.extend_from_slice(&piece.bytes),
                    OutputKind::Stderr => stderr.extend_from_slice(&piece.bytes),
                }
            }
            (stdout, stderr)
        })
        .await
    }

    /// Reads until the output read so far ends with these bytes.
    pub(super) async fn read_until(&self, output: &mut ExecOutputStream, end: &[u8]) -> BytesMut {
        let mut seen = BytesMut::new();
        let reading = async {
            while !seen.ends_with(end) {
                let piece = output.next().await.expect("more output");
                seen.extend_from_slice(&piece.expect("output").bytes);
            }
        };
        let read = self.clock.timeout(LIMIT, "reading", reading).await;
        // What came instead is what is wrong.
        assert!(
            read.is_ok(),
            "{:?} did not come within {LIMIT:?}, but {:?}",
            String::from_utf8_lossy(end),
            String::from_utf8_lossy(&seen)
        );
        seen
    }

    pub(super) async fn write(&self, input: &mut ExecInput, bytes: &[u8]) {
        self.within(async {
            input.write_all(bytes).await.expect("write");
            input.flush().await.expect("flush");
        })
        .await;
    }

    pub(super) async fn wait(&self, session: &dyn ExecSession) -> ExitStatus {
        self.within(session.wait()).await.expect("wait")
    }

    /// Gives a step a generous limit, so that a hang is a failure of this rule.
    pub(super) async fn within<T: Send>(&self, step: impl Future<Output = T> + Send) -> T {
        self.clock
            .timeout(LIMIT, "a step of the rule", step)
            .await
            .expect("a step in time")
    }

    pub(super) async fn finish(self) {
        self.harness.finish(self.place).await;
    }
}

/// Bytes that nobody would send on purpose, the same in every run.
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

const LIMIT: Duration = Duration::from_secs(60);
