//! Following the directory: reads it, then takes the store's changes, and reads again when told to.

use std::{future, sync::Arc};

use futures::{StreamExt, stream};
use longshore_core::{
    Backoff, Error, KvEvent, KvWatch, MembershipEvent, MembershipStream, Timestamp,
};

use super::{Shared, read, view::View};
use crate::abort_on_drop::AbortOnDrop;

pub(super) fn stream(shared: Arc<Shared>) -> MembershipStream {
    let follower = Follower {
        view: View::new(shared.options.grace),
        shared,
        watch: None,
        stale: true,
        failing: false,
        backoff: Backoff::default(),
        retry_at: None,
    };
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await;
        Some((event, follower))
    })
    .boxed()
}

struct Follower {
    shared: Arc<Shared>,
    view: View,
    watch: Option<KvWatch>,
    /// Whether the directory must be read before the watch says anything useful.
    stale: bool,
    /// Whether the present failure to read was told.
    failing: bool,
    backoff: Backoff,
    retry_at: Option<Timestamp>,
}

impl Follower {
    async fn next(&mut self) -> MembershipEvent {
        loop {
            if let Some(event) = self.view.poll_event() {
                return event;
            }
            if let Some(at) = self.retry_at {
                self.shared.clock.sleep_until(at).await;
                self.retry_at = None;
            }
            match self.watch.as_mut().filter(|_| !self.stale) {
                None => self.read().await,
                Some(watch) => {
                    let clock = &self.shared.clock;
                    let deadline = self.view.next_deadline();
                    let event = tokio::select! {
                        biased;
                        event = watch.next() => Some(event),
                        () = async {
                            match deadline {
                                Some(at) => clock.sleep_until(at).await,
                                None => future::pending().await,
                            }
                        } => None,
                    };
                    self.take(event);
                }
            }
        }
    }

    /// In a task of its own, so that a watch that nobody reads on never keeps what other calls to the
    /// store wait for, like a connection that is being made.
    async fn read(&mut self) {
        let shared = self.shared.clone();
        let task = tokio::spawn(async move { read::all(&*shared.store, &shared.directory).await });
        let _ends_with_us = AbortOnDrop(task.abort_handle());
        let read = task.await.unwrap_or_else(|error| {
            Err(Error::internal("reading the nodes broke off").with_source(error))
        });
        let now = self.shared.clock.now();
        match read {
            Ok(listing) => {
                // A new one always: of a key that the reading saw, an older watch that tells the
                // newest state only may not tell that it went.
                let shared = &self.shared;
                let from = Some(listing.revision);
                self.watch = Some(shared.store.watch(&shared.directory, from));
                self.view.load(listing, now);
                self.stale = false;
                self.failing = false;
                self.backoff.reset();
            }
            Err(error) => {
                self.wait();
                if !std::mem::replace(&mut self.failing, true) {
                    self.view.failed(error, now);
                }
            }
        }
    }

    fn wait(&mut self) {
        let delay = self.backoff.next_delay(&*self.shared.options.random);
        self.retry_at = Some(self.shared.clock.now().after(delay));
    }

    /// One event of the store's watch; `None` when a held departure is due.
    fn take(&mut self, event: Option<Option<longshore_core::Result<KvEvent>>>) {
        let now = self.shared.clock.now();
        match event {
            None => self.stale = true,
            Some(None) => {
                self.watch = None;
                self.stale = true;
                self.failing = true;
                self.wait();
                self.view
                    .failed(Error::unavailable("the store's watch ended"), now);
            }
            // The watch goes on by itself; reading tells when the store is back.
            Some(Some(Err(error))) => {
                self.stale = true;
                self.failing = true;
                self.view.failed(error, now);
            }
            Some(Some(Ok(KvEvent::Put(entry)))) => {
                if entry.key != self.shared.directory {
                    self.view.put(entry, now);
                }
            }
            Some(Some(Ok(KvEvent::Deleted { key, revision }))) => {
                self.view.delete(&key, revision, now);
            }
            // A resynchronisation, and whatever `KvEvent` grows: read again.
            Some(Some(Ok(_))) => self.stale = true,
        }
    }
}
