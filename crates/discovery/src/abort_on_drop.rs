use tokio::task::AbortHandle;

/// Ends a task with whoever waits for it: what it held is free, and what it left half-way is closed.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
