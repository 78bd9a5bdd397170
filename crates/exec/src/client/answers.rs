use std::collections::VecDeque;

use longshore_core::{Error, ErrorKind, Result, Timestamp};
use tokio::sync::oneshot;

/// Who waits for what comes of passing the right to write on, in the order in which they asked. Whoever
/// does not wait any more is not told.
#[derive(Default)]
pub(super) struct Answers(VecDeque<(oneshot::Sender<Result<()>>, Timestamp)>);

impl Answers {
    pub(super) fn wait(&mut self, answer: oneshot::Sender<Result<()>>, until: Timestamp) {
        self.0.push_back((answer, until));
    }

    /// What came of the oldest wish.
    pub(super) fn come(&mut self, has_passed: bool) {
        if let Some((answer, _)) = self.0.pop_front() {
            let _ = answer.send(match has_passed {
                true => Ok(()),
                false => Err(not_granted()),
            });
        }
    }

    /// The connection broke: nobody can say what came of what was asked for.
    pub(super) fn are_lost(&mut self) {
        self.fail(|| Error::unavailable("the connection broke before it was known who may write"));
    }

    /// A gateway that does not answer in time is not waited for: what waits behind that would wait as long,
    /// so it is given up, too. Whether it came to that; the core has to know, then, that it is owed an answer.
    pub(super) fn give_up(&mut self, now: Timestamp) -> bool {
        let is_late = self.0.front().is_some_and(|(_, until)| *until <= now);
        if is_late {
            let text = "the gateway did not say in time who may write";
            self.fail(|| Error::new(ErrorKind::Timeout, text));
        }
        is_late
    }

    fn fail(&mut self, error: impl Fn() -> Error) {
        for (answer, _) in self.0.drain(..) {
            let _ = answer.send(Err(error()));
        }
    }
}

fn not_granted() -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        "the right to write was not passed on: nobody is here under this number who may have it, or \
         it is not this client's to pass on",
    )
}
