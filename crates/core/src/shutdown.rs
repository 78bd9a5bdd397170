use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{BoxFuture, Clock, ClockExt};

/// Asks a tree of tasks to end, and waits until they have.
///
/// Clones share one state; a [`child`](Self::child) can be stopped alone and stops with its parent.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A new, running tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// A subtree: stopped by its own [`trigger`](Self::trigger) or by this one's. Its tasks are
    /// waited for by both.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tasks: self.tasks.clone(),
        }
    }

    /// Starts a task that is waited for by [`finish`](Self::finish). The task must watch
    /// [`requested`](Self::requested) by itself, or be given to [`spawn_until`](Self::spawn_until).
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Starts a task that is dropped when shutdown is requested, so it must be cancel safe.
    pub fn spawn_until<F>(&self, task: F) -> tokio::task::JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let token = self.token.clone();
        self.tasks
            .spawn(async move { token.run_until_cancelled(task).await })
    }

    /// Asks all tasks to end. Returns at once; calling it again changes nothing.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the end is asked for. Cancel safe.
    pub fn requested(&self) -> BoxFuture<'static, ()> {
        let token = self.token.clone();
        Box::pin(async move { token.cancelled().await })
    }

    /// Asks all tasks to end and waits for them, at most for `limit`. Says whether all ended.
    pub async fn finish(&self, clock: &dyn Clock, limit: std::time::Duration) -> bool {
        self.trigger();
        self.tasks.close();
        clock
            .timeout(limit, "shutdown", self.tasks.wait())
            .await
            .is_ok()
    }
}
