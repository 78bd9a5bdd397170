//! Following a prefix by blocking queries.

use std::{collections::VecDeque, sync::Arc};

use longshore_core::{KvEntry, KvEvent, KvWatch, Result, Revision};

use super::{
    client::Client,
    snapshot::{self, Known, Snapshot},
};
use crate::store::follow::{self, Follow, Outage};

pub(super) fn stream(client: Arc<Client>, prefix: String, from: Option<Revision>) -> KvWatch {
    let follower = Follower {
        client,
        prefix,
        from,
        known: None,
        due: VecDeque::new(),
    };
    let (clock, random) = (
        follower.client.clock.clone(),
        follower.client.random.clone(),
    );
    follow::stream(follower, clock, random)
}

struct Follower {
    client: Arc<Client>,
    prefix: String,
    from: Option<Revision>,
    /// What was there at which index; `None` before the first answer.
    known: Option<(Known, Revision)>,
    due: VecDeque<KvEvent>,
}

impl Follow for Follower {
    fn due(&mut self) -> &mut VecDeque<KvEvent> {
        &mut self.due
    }

    async fn step(&mut self, outage: &mut Outage) -> Result<()> {
        // A first question behind an outage is answered at once, so that the end of the outage is not
        // only known after a whole wait.
        let known = self.known.as_ref().filter(|_| outage.is_over());
        let behind = known.map(|(_, revision)| *revision);
        let snapshot = self.client.list(&self.prefix, behind).await?;
        outage.end();
        self.take(snapshot);
        Ok(())
    }
}

impl Follower {
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
