//! The clocks of core pass the clock suite.
#![cfg(feature = "testkit")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Clock, ClockExt, SystemClock,
    testkit::{ManualClock, clock::Harness},
};

struct System(Arc<SystemClock>);

#[async_trait]
impl Harness for System {
    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clone()
    }

    async fn pass(&self, by: Duration) {
        self.0.sleep(by).await;
    }
}

struct Manual(ManualClock);

#[async_trait]
impl Harness for Manual {
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.0.clone())
    }

    async fn pass(&self, by: Duration) {
        tokio::task::yield_now().await;
        self.0.advance(by);
        tokio::task::yield_now().await;
    }
}

mod system_clock_on_paused_time {
    use super::*;
    longshore_core::clock_suite!(paused, System(Arc::new(SystemClock::new())));
}

mod system_clock_live {
    use super::*;
    longshore_core::clock_suite!(live, System(Arc::new(SystemClock::new())));
}

mod manual_clock {
    use super::*;
    longshore_core::clock_suite!(live, Manual(ManualClock::default()));
}
