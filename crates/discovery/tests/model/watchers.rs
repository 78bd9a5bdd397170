//! Those who watch over a connection that breaks: one sees nodes, one sees keys.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use longshore_core::{
    Announcement, Clock, ClockExt, Discovery, Endpoint, KvEvent, KvRange, KvStore, MembershipEvent,
    Revision,
};
use tokio::task::JoinHandle;

use super::oracle::VERSION;

/// What a watch of nodes has told.
#[derive(Debug, Default)]
pub struct Nodes {
    pub known: BTreeMap<Endpoint, Announcement>,
    /// The newest write of each node that was told.
    newest: BTreeMap<Endpoint, u64>,
    /// The first thing that should not have been told.
    pub wrong: Option<String>,
}

impl Nodes {
    fn take(&mut self, event: MembershipEvent) {
        match event {
            MembershipEvent::Reset(nodes) => {
                for node in &nodes {
                    self.note(node, true);
                }
                let by_endpoint = nodes.into_iter().map(|node| (node.endpoint.clone(), node));
                self.known = by_endpoint.collect();
            }
            MembershipEvent::Added(node) => {
                self.note(&node, false);
                self.known.insert(node.endpoint.clone(), node);
            }
            MembershipEvent::Removed(endpoint) => {
                if self.known.remove(&endpoint).is_none() {
                    self.complain(format!("{endpoint} was removed and not known"));
                }
            }
            MembershipEvent::Problem(error)
                if error.is_retryable() || error.context("key").is_some() => {}
            other => self.complain(format!("{other:?}")),
        }
    }

    /// Writes of a node are told in order, each once.
    fn note(&mut self, node: &Announcement, again: bool) {
        let Some(version) = node.labels.get(VERSION) else {
            return;
        };
        let version: u64 = version.parse().expect("versions are numbers");
        let before = self.newest.insert(node.endpoint.clone(), version);
        if before.is_some_and(|before| version < before || version == before && !again) {
            self.complain(format!(
                "write {version} of {} was told after {before:?}",
                node.endpoint
            ));
        }
    }

    fn complain(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

/// What a watch of keys has told, and what it adds up to.
#[derive(Debug, Default)]
pub struct Keys {
    pub known: BTreeMap<String, (Revision, String)>,
    pub told: BTreeMap<String, Vec<Option<String>>>,
    /// Whether it said that something may be missing.
    pub gap: bool,
    last: Revision,
    /// Everything up to here was read after a gap.
    loaded: Revision,
    pub wrong: Option<String>,
}

impl Keys {
    fn tell(&mut self, key: &str, value: Option<&str>) {
        let told = self.told.entry(key.to_owned()).or_default();
        told.push(value.map(str::to_owned));
    }

    fn put(&mut self, key: String, revision: Revision, value: String) {
        self.tell(&key, Some(&value));
        self.known.insert(key, (revision, value));
    }

    fn take(&mut self, event: KvEvent) {
        let revision = match &event {
            KvEvent::Put(entry) => entry.revision,
            KvEvent::Deleted { revision, .. } | KvEvent::Resync(revision) => *revision,
            _ => return,
        };
        if revision < self.last {
            let wrong = format!("{event:?} was told after {:?}", self.last);
            self.wrong.get_or_insert(wrong);
        }
        self.last = revision;
        match event {
            KvEvent::Put(entry) if revision > self.loaded => {
                let value = String::from_utf8_lossy(&entry.value).into_owned();
                self.put(entry.key, revision, value);
            }
            KvEvent::Deleted { key, .. } if revision > self.loaded => {
                self.tell(&key, None);
                self.known.remove(&key);
            }
            _ => {}
        }
    }

    /// Something may have been missing, and everything was read again.
    fn reload(&mut self, range: KvRange) {
        self.gap = true;
        self.loaded = range.revision;
        let mut gone = std::mem::take(&mut self.known);
        for entry in range.entries {
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            match gone.remove(&entry.key) {
                Some(known) if known.0 == entry.revision => {
                    self.known.insert(entry.key, known);
                }
                _ => self.put(entry.key, entry.revision, value),
            }
        }
        for key in gone.into_keys() {
            self.tell(&key, None);
        }
    }
}

async fn read(store: &dyn KvStore, directory: &str, clock: &dyn Clock) -> KvRange {
    loop {
        match store.range(directory, "", 1000).await {
            Ok(range) => return range,
            Err(_) => clock.sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Both, while they watch.
#[derive(Debug)]
pub struct Watchers {
    pub nodes: Arc<Mutex<Nodes>>,
    pub keys: Arc<Mutex<Keys>>,
    tasks: [JoinHandle<()>; 2],
}

impl Watchers {
    pub fn start(
        discovery: &dyn Discovery,
        store: Arc<dyn KvStore>,
        directory: &str,
        // The one key that is there, since when, and its value.
        (key, from, value): (String, Revision, String),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let nodes = Arc::new(Mutex::new(Nodes::default()));
        let keys = Arc::new(Mutex::new(Keys {
            known: BTreeMap::from([(key, (from, value))]),
            ..Keys::default()
        }));
        let (mut events, seen) = (discovery.watch(), nodes.clone());
        let of_nodes = async move {
            while let Some(event) = events.next().await {
                seen.lock().unwrap().take(event);
            }
            seen.lock().unwrap().complain("a watch ended".to_owned());
        };
        let (mut events, seen) = (store.watch(directory, Some(from)), keys.clone());
        let directory = directory.to_owned();
        let of_keys = async move {
            while let Some(event) = events.next().await {
                let range = match &event {
                    Ok(KvEvent::Resync(_)) => Some(read(&*store, &directory, &*clock).await),
                    _ => None,
                };
                if let Some(range) = &range {
                    events = store.watch(&directory, Some(range.revision));
                }
                let mut seen = seen.lock().unwrap();
                match event {
                    Ok(event) => seen.take(event),
                    Err(error) if error.is_retryable() => {}
                    Err(error) => seen.wrong = Some(format!("{error:?}")),
                }
                if let Some(range) = range {
                    seen.reload(range);
                }
            }
        };
        let tasks = [tokio::spawn(of_nodes), tokio::spawn(of_keys)];
        Self { nodes, keys, tasks }
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
