use std::{collections::VecDeque, future::pending};

use longshore_core::{ExecOutput, Result};
use tokio::sync::mpsc;

/// Output on its way to the user. What waits here is bounded by the window: it is acknowledged when
/// it was delivered.
pub(super) struct Delivery {
    waiting: VecDeque<Result<ExecOutput>>,
    user: Option<mpsc::Sender<Result<ExecOutput>>>,
}

impl Delivery {
    pub(super) fn new(user: mpsc::Sender<Result<ExecOutput>>) -> Self {
        Self {
            waiting: VecDeque::new(),
            user: Some(user),
        }
    }

    pub(super) fn push(&mut self, piece: Result<ExecOutput>) {
        self.waiting.push_back(piece);
    }

    /// Nobody wants output any more; what comes is taken and dropped.
    pub(super) fn close(&mut self) {
        self.user = None;
    }

    /// Delivers a piece, as soon as the user has room, and says how many bytes it had. Cancel safe.
    pub(super) async fn deliver(&mut self) -> usize {
        if self.waiting.is_empty() {
            return pending().await;
        }
        let permit = match &self.user {
            Some(user) => user.reserve().await.ok(),
            None => None,
        };
        let Some(piece) = self.waiting.pop_front() else {
            return 0;
        };
        let bytes = piece.as_ref().map_or(0, |piece| piece.bytes.len());
        if let Some(permit) = permit {
            permit.send(piece);
        }
        bytes
    }

    /// Delivers the rest, and the end.
    pub(super) async fn finish(&mut self) {
        while !self.waiting.is_empty() {
            self.deliver().await;
        }
        self.user = None;
    }
}
