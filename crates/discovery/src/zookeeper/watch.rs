//! Following a prefix by a persistent recursive watch, which names the znodes that changed; what
//! they are now is read.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use longshore_core::{Error, KvEntry, KvEvent, KvWatch, Result, Revision};
use tokio::sync::mpsc;

use super::{
    client::{Client, SESSION},
    connection::Connection,
    node,
    walk::{self, Tree},
    wire::{Record, op},
};
use crate::store::follow::{self, Follow, Outage};

pub(super) fn stream(client: Arc<Client>, prefix: String, from: Option<Revision>) -> KvWatch {
    let follower = Follower {
        client,
        prefix,
        from,
        link: None,
        known: None,
        told: Revision(0),
        due: VecDeque::new(),
    };
    let (clock, random) = (
        follower.client.clock.clone(),
        follower.client.random.clone(),
    );
    follow::stream(follower, clock, random)
}

type Known = BTreeMap<String, Revision>;

struct Follower {
    client: Arc<Client>,
    prefix: String,
    from: Option<Revision>,
    link: Option<(Connection, mpsc::Receiver<String>)>,
    /// What was there; `None` before the first look.
    known: Option<Known>,
    /// The newest revision that was told or seen.
    told: Revision,
    due: VecDeque<KvEvent>,
}

impl Follow for Follower {
    fn due(&mut self) -> &mut VecDeque<KvEvent> {
        &mut self.due
    }

    fn break_off(&mut self) {
        self.link = None;
    }

    async fn step(&mut self, outage: &mut Outage) -> Result<()> {
        if self.link.is_some() {
            return self.go_on().await;
        }
        self.begin().await?;
        outage.end();
        Ok(())
    }
}

impl Follower {
    /// Watches first and looks then, so that nothing falls between.
    async fn begin(&mut self) -> Result<()> {
        let (sender, events) = mpsc::channel(QUEUE);
        let client = self.client.clone();
        let connection = client.connect(SESSION, None, true, Some(sender)).await?;
        let (directory, _) = node::directory(&self.prefix);
        let tree = client
            .limited(async {
                let add = Record::default().text(&directory).int(RECURSIVE);
                connection.ask(op::ADD_WATCH, add).await?.checked()?;
                client.walk(&connection, &self.prefix).await
            })
            .await?;
        self.link = Some((connection, events));
        self.take_tree(&tree);
        Ok(())
    }

    fn take_tree(&mut self, tree: &Tree) {
        // Their events are still to come, and tell in order and when. The tree's revision would be too
        // early for who has read such a key in between, and theirs too late for what others tell.
        let late = tree.late();
        match &self.known {
            // What was there at `from` can't be known any more, only that nothing changed since.
            None if self
                .from
                .is_some_and(|from| tree.newest > from || tree.revision < from) =>
            {
                self.due.push_back(KvEvent::Resync(tree.revision));
            }
            None => {}
            Some(known) => {
                // A later state has no key that was written before and not known; a store that was
                // wiped counts anew.
                let impossible = |entry: &KvEntry| {
                    entry.revision <= self.told && known.get(&entry.key) != Some(&entry.revision)
                };
                if tree.revision < self.told || tree.entries.values().any(impossible) {
                    self.due.push_back(KvEvent::Resync(tree.revision));
                } else {
                    let mut changed: Vec<_> = tree
                        .entries
                        .values()
                        .filter(|entry| known.get(&entry.key) != Some(&entry.revision))
                        .filter(|entry| !late.contains(entry.key.as_str()))
                        .cloned()
                        .map(KvEvent::Put)
                        .collect();
                    changed.extend(
                        known
                            .keys()
                            .filter(|key| !tree.entries.contains_key(*key))
                            .filter(|key| !late.contains(key.as_str()))
                            .map(|key| KvEvent::Deleted {
                                key: key.clone(),
                                revision: tree.revision,
                            }),
                    );
                    changed.sort_by_key(revision);
                    self.due.extend(changed);
                }
            }
        }
        self.told = tree.revision;
        let known = tree.entries.values();
        let known = known.map(|entry| (entry.key.clone(), entry.revision));
        let late = late.into_iter().map(|key| (key.to_owned(), Revision(0)));
        self.known = Some(known.chain(late).collect());
    }

    /// Waits for events, and reads what changed until nothing more has.
    async fn go_on(&mut self) -> Result<()> {
        let Some((connection, events)) = &mut self.link else {
            return Ok(());
        };
        let ended = || Error::unavailable("the connection to zookeeper broke");
        let first = events.recv().await.ok_or_else(ended)?;
        let mut paths = BTreeSet::from([first]);
        let mut changes = Vec::new();
        let mut rounds = 0;
        while !paths.is_empty() {
            while let Ok(path) = events.try_recv() {
                paths.insert(path);
            }
            let batch: Vec<_> = std::mem::take(&mut paths)
                .into_iter()
                .filter(|path| node::key(path).starts_with(&self.prefix))
                .filter(|path| !node::is_reserved(path))
                .collect();
            for batch in batch.chunks(CHUNK) {
                let found = self
                    .client
                    .limited(walk::data_of(connection, batch))
                    .await?;
                for (path, (zxid, found)) in batch.iter().zip(found) {
                    let key = node::key(path);
                    let entry =
                        found.and_then(|(data, stat)| node::entry(key.clone(), data, &stat));
                    changes.push((key, node::revision(zxid), entry));
                }
            }
            // Events come before the answers that show what they tell: what is read newer than an
            // event that is still to come was told of by now.
            rounds += 1;
            while rounds < ROUNDS
                && let Ok(path) = events.try_recv()
            {
                paths.insert(path);
            }
        }
        self.take_changes(changes);
        Ok(())
    }

    fn take_changes(&mut self, changes: Vec<(String, Revision, Option<KvEntry>)>) {
        let known = self.known.get_or_insert_default();
        let mut told = BTreeMap::new();
        for (key, at, entry) in changes {
            match entry {
                Some(entry) if known.get(&key) != Some(&entry.revision) => {
                    drop(told.insert(key, KvEvent::Put(entry)));
                }
                None if known.contains_key(&key) => {
                    let revision = at.max(self.told);
                    drop(told.insert(key.clone(), KvEvent::Deleted { key, revision }));
                }
                // As it was before: also what was read in an earlier round is no news then.
                _ => drop(told.remove(&key)),
            }
        }
        let mut told: Vec<_> = told.into_values().collect();
        told.sort_by_key(revision);
        for event in &told {
            match event {
                KvEvent::Put(entry) => drop(known.insert(entry.key.clone(), entry.revision)),
                KvEvent::Deleted { key, .. } => drop(known.remove(key)),
                _ => {}
            }
            self.told = self.told.max(revision(event));
        }
        self.due.extend(told);
    }
}

fn revision(event: &KvEvent) -> Revision {
    match event {
        KvEvent::Put(entry) => entry.revision,
        KvEvent::Deleted { revision, .. } | KvEvent::Resync(revision) => *revision,
        _ => Revision(0),
    }
}

/// `AddWatchMode.PERSISTENT_RECURSIVE`.
const RECURSIVE: i32 = 1;

/// How many events may wait; more of them end the connection, and everything is read anew.
const QUEUE: usize = 16_384;

/// How many znodes are asked for at once.
const CHUNK: usize = 200;

/// How often changes that come while changes are read are read with them.
const ROUNDS: usize = 8;

#[cfg(test)]
mod tests {
    use longshore_core::{Endpoint, SystemClock};

    use super::*;
    use crate::StoreOptions;

    fn follower(from: Revision, known: Option<Known>) -> Follower {
        let nobody = Endpoint::new("127.0.0.1", 1).unwrap();
        let options = StoreOptions::new(vec![nobody], Arc::new(SystemClock::new())).unwrap();
        Follower {
            client: Arc::new(Client::new(&options)),
            prefix: String::new(),
            from: Some(from),
            link: None,
            known,
            told: from,
            due: VecDeque::new(),
        }
    }

    /// `k` is listed at 7 and deleted at 9, before its data is read. Who has read it at 8 takes no
    /// deletion of 7.
    #[track_caller]
    fn told_with_its_own_revision(mut follower: Follower) {
        let tree = Tree {
            revision: Revision(7),
            newest: Revision(5),
            gone: BTreeSet::from(["k".to_owned()]),
            ..Tree::default()
        };
        follower.take_tree(&tree);
        assert!(follower.due.is_empty(), "{:?}", follower.due);
        follower.take_changes(vec![("k".to_owned(), Revision(9), None)]);
        let told = follower.due.pop_front();
        assert!(
            matches!(&told, Some(KvEvent::Deleted { key, revision }) if key == "k" && revision.0 == 9),
            "{told:?}"
        );
        follower.take_changes(vec![("k".to_owned(), Revision(9), None)]);
        assert!(follower.due.is_empty(), "told twice");
    }

    #[test]
    fn what_is_written_while_looking_again_waits_for_what_was_written_before() {
        let entry = |key: &str, revision| KvEntry::new(key, "x", Revision(revision));
        let mut follower = follower(Revision(6), Some(Known::new()));
        let tree = Tree {
            entries: BTreeMap::from([("b".to_owned(), entry("b", 9))]),
            revision: Revision(7),
            newest: Revision(9),
            ..Tree::default()
        };
        follower.take_tree(&tree);
        assert!(follower.due.is_empty(), "{:?}", follower.due);
        let changes = [("b", 9), ("a", 8)].map(|(key, at)| {
            let found = Some(entry(key, at));
            (key.to_owned(), Revision(9), found)
        });
        follower.take_changes(changes.into());
        let told: Vec<_> = follower.due.iter().map(|event| revision(event).0).collect();
        assert_eq!(told, [8, 9]);
    }

    #[test]
    fn what_is_deleted_during_the_first_look_is_told() {
        told_with_its_own_revision(follower(Revision(7), None));
    }

    #[test]
    fn what_is_deleted_while_looking_again_is_told_when_it_was() {
        let known = Known::from([("k".to_owned(), Revision(5))]);
        told_with_its_own_revision(follower(Revision(6), Some(known)));
    }
}
