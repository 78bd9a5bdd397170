//! A discovery backend of your own: nodes from an inventory that is asked every second.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use longshore_core::{
    Announcement, Clock, ClockExt, Discovery, DiscoveryCapabilities, Error, Membership,
    MembershipEvent, MembershipStream, Registration, Result, SystemClock, WatchMode,
    testkit::discovery::Harness,
};

/// What you have: a table, a database, somebody's API. Nothing in it means that it is down.
type Table = Arc<Mutex<Option<Vec<Announcement>>>>;

#[derive(Clone, Debug)]
struct Inventory {
    clock: Arc<dyn Clock>,
    table: Table,
}

const EVERY: Duration = Duration::from_secs(1);

impl Inventory {
    /// The one function that knows your inventory.
    async fn ask(&self) -> Result<Vec<Announcement>> {
        let answer = self.table.lock().expect("no panic").clone();
        answer.ok_or_else(|| Error::unavailable("the inventory does not answer"))
    }
}

#[async_trait]
impl Discovery for Inventory {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::read_only(WatchMode::Poll(EVERY)).with_metadata()
    }
    fn describe(&self) -> String {
        "inventory://".to_owned()
    }
    async fn register(&self, _: &Announcement, _: Duration) -> Result<Registration> {
        Err(Error::unsupported(
            "nodes are entered into the inventory by hand",
        ))
    }
    async fn renew(&self, node: &Registration) -> Result<Registration> {
        self.register(&node.announcement, node.ttl).await
    }
    async fn deregister(&self, node: &Registration) -> Result<()> {
        self.register(&node.announcement, node.ttl).await.map(drop)
    }
    async fn list(&self) -> Result<Membership> {
        Ok(Membership::new(self.ask().await?, Vec::new()))
    }
    fn watch(&self) -> MembershipStream {
        // A full set with each change is the simplest sound watch. A failure is a problem, told once,
        // and never an empty set; what is read behind it is told, changed or not.
        let begin = (self.clone(), Duration::ZERO, None);
        stream::unfold(begin, |(this, mut wait, mut told)| async move {
            loop {
                this.clock.sleep(wait).await;
                wait = EVERY;
                let (event, now) = match this.list().await {
                    Ok(found) => (
                        MembershipEvent::Reset(found.nodes.clone()),
                        Some(found.nodes),
                    ),
                    Err(error) => (MembershipEvent::Problem(error), None),
                };
                if told.as_ref() != Some(&now) {
                    return Some((event, (this, wait, Some(now))));
                }
                told = Some(now);
            }
        })
        .boxed()
    }
}

/// What its tests need: one cluster, made of the nodes that they ask for, and a way to cut it off.
#[derive(Default)]
struct Lab(Table, Mutex<Vec<Announcement>>);

#[async_trait]
impl Harness for Lab {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        let (clock, table) = (Arc::new(SystemClock::new()), self.0.clone());
        Arc::new(Inventory { clock, table })
    }
    async fn place(&self, nodes: &[Announcement]) {
        *self.1.lock().expect("no panic") = nodes.to_vec();
        self.set_reachable(true).await;
    }
    async fn set_reachable(&self, reachable: bool) -> bool {
        let nodes = self.1.lock().expect("no panic").clone();
        *self.0.lock().expect("no panic") = reachable.then_some(nodes);
        true
    }
}

longshore_core::discovery_suite!(paused, Lab::default());
