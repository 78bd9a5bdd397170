//! Following a prefix by blocking queries.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt, stream};
use longshore_core::{Backoff, KvEntry, KvEvent, KvWatch, Result, Revision, Timestamp};

use super::{
    client::Client,
    snapshot::{self, Known, Snapshot},
};

pub(super) fn stream(client: Arc<Client>, prefix: String, from: Option<Revision>) -> KvWatch {
    let follower = Follower {
        client,
        prefix,
        from,
        known: None,
        due: VecDeque::new(),
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
    client: Arc<Client>,
    prefix: String,
    from: Option<Revision>,
    /// What was there at which index; `None` before the first answer.
    known: Option<(Known, Revision)>,
    due: VecDeque<KvEvent>,
    /// Whether the present outage was told.
    failing: bool,
    backoff: Backoff,
    retry_at: Option<Timestamp>,
}

impl Follower {
    async fn next(&mut self) -> Result<KvEvent> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Ok(event);
            }
            if let Some(at) = self.retry_at {
                self.client.clock.sleep_until(at).await;
                self.retry_at = None;
            }
            // A first question behind an outage is answered at once, so that the end of the outage
            // is not only known after a whole wait.
            let behind = self
                .known
                .as_ref()
                .filter(|_| !self.failing)
                .map(|(_, revision)| *revision);
            match self.client.list(&self.prefix, behind).await {
                Ok(snapshot) => {
                    self.failing = false;
                    self.backoff.reset();
                    self.take(snapshot);
                }
                Err(error) => {
                    let delay = self.backoff.next_delay(&*self.client.random);
                    self.retry_at = Some(self.client.clock.now().after(delay));
                    if !std::mem::replace(&mut self.failing, true) {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn take(&mut self, snapshot: Snapshot) {
        let revision = snapshot.revision;
        match &self.known {
            // What was there at `from` can't be known any more, only that it is still so. A smaller
            // index is a store that was begun anew, or has forgotten deletions.
            None if self.from.is_some_and(|from| revision != from) => {
                self.due.push_back(KvEvent::Resync(revision));
            }
            None => {}
            Some((known, before)) => {
                let changes = snapshot::changes(known, &snapshot);
                match !changes.is_empty() && begun_anew(known, *before, &snapshot) {
                    true => self.due.push_back(KvEvent::Resync(revision)),
                    false => self.due = changes,
                }
            }
        }
        self.known = Some((snapshot::known(&snapshot), revision));
    }
}

/// Whether this can't be a later state of what was known: a store that was wiped counts anew.
fn begun_anew(known: &Known, before: Revision, snapshot: &Snapshot) -> bool {
    let impossible = |entry: &KvEntry| {
        entry.revision <= before && known.get(&entry.key) != Some(&entry.revision)
    };
    snapshot.revision < before || snapshot.entries.values().any(impossible)
}
