use std::{sync::Arc, time::Duration};

use longshore_core::ClockExt;

use crate::plane::Inner;

/// Tries those who wait when something changed that may let them in, and tells those who gave up.
pub(crate) async fn follow(inner: &Arc<Inner>) {
    let _end = End(inner);
    let woken = inner.cluster.lock().waiting_woken();
    loop {
        let (more, deadline) = {
            let mut state = inner.cluster.lock();
            let (now, ttl) = (inner.clock.now(), inner.options.reservation_ttl);
            state.serve_waiting(now, ttl, AT_ONCE, &*inner.random)
        };
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        let tick = async {
            match deadline {
                Some(at) => inner.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = woken.notified() => inner.clock.sleep(GATHER).await,
            () = tick => {}
        }
    }
}

/// With the driver ends the hope of those who wait.
struct End<'a>(&'a Inner);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.cluster.lock().close_waiting();
    }
}

/// How many are tried before others get the lock.
const AT_ONCE: usize = 8;
/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(10);
