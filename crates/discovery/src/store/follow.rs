//! A watch that goes on behind outages: each is told once, and steps are tried again, later and later.

use std::{collections::VecDeque, future::Future, sync::Arc};

use futures::{StreamExt, stream};
use longshore_core::{Backoff, Clock, Error, KvEvent, KvWatch, Random, Result, Timestamp};

/// What follows a prefix of one kind of store.
pub(crate) trait Follow: Send + 'static {
    /// What is to be told.
    fn due(&mut self) -> &mut VecDeque<KvEvent>;

    /// Waits for something to tell. A step that shows that the store works says so.
    fn step(&mut self, outage: &mut Outage) -> impl Future<Output = Result<()>> + Send;

    /// A step failed: what it used is not used again.
    fn break_off(&mut self) {}
}

/// Whether the store can't be asked, and when to try again.
#[derive(Debug)]
pub(crate) struct Outage {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Whether the present one was told.
    told: bool,
    backoff: Backoff,
    retry_at: Option<Timestamp>,
}

impl Outage {
    #[cfg(feature = "consul")]
    pub(crate) fn is_over(&self) -> bool {
        !self.told
    }

    pub(crate) fn end(&mut self) {
        self.told = false;
        self.backoff.reset();
    }

    /// Gives the error back if it is to be told.
    fn go_on(&mut self, error: Error) -> Option<Error> {
        let delay = self.backoff.next_delay(&*self.random);
        self.retry_at = Some(self.clock.now().after(delay));
        let told = std::mem::replace(&mut self.told, true);
        (!told).then_some(error)
    }

    async fn wait(&mut self) {
        if let Some(at) = self.retry_at {
            self.clock.sleep_until(at).await;
            self.retry_at = None;
        }
    }
}

pub(crate) fn stream(
    follower: impl Follow,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> KvWatch {
    let outage = Outage {
        clock,
        random,
        told: false,
        backoff: Backoff::default(),
        retry_at: None,
    };
    stream::unfold(
        (follower, outage),
        |(mut follower, mut outage)| async move {
            let event = next(&mut follower, &mut outage).await;
            Some((event, (follower, outage)))
        },
    )
    .boxed()
}

async fn next(follower: &mut impl Follow, outage: &mut Outage) -> Result<KvEvent> {
    loop {
        if let Some(event) = follower.due().pop_front() {
            return Ok(event);
        }
        outage.wait().await;
        if let Err(error) = follower.step(outage).await {
            follower.break_off();
            if let Some(error) = outage.go_on(error) {
                return Err(error);
            }
        }
    }
}
