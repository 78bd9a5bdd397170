use std::sync::Arc;

use longshore_core::SessionId;

use super::Inner;

/// A session's place in the hub; given back when its driver ends, however it does.
pub(super) struct Place {
    pub(super) hub: Arc<Inner>,
    pub(super) id: SessionId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.hub.clock.now();
        self.hub.lock().remove(&self.id, now);
    }
}
