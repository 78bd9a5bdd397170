//! Bring your own discovery backend; `cargo test --example discovery_backend` runs its suite.
//! xtask: run
#![expect(clippy::print_stdout, reason = "a program talks to people")]

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use longshore::core::{
    Announcement, Discovery, DiscoveryCapabilities, DiscoveryExt, Error, Membership,
    MembershipEvent, MembershipStream, Registration, Result, WatchMode,
};

/// The nodes of an inventory that is read once: a table of your own, say.
#[derive(Debug)]
struct Inventory(Vec<Announcement>);

#[async_trait]
impl Discovery for Inventory {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::read_only(WatchMode::Fixed).with_metadata()
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
        Ok(Membership::new(self.0.clone(), Vec::new()))
    }
    fn watch(&self) -> MembershipStream {
        let all = Membership::new(self.0.clone(), Vec::new()).nodes;
        stream::iter([MembershipEvent::Reset(all)])
            .chain(stream::pending())
            .boxed()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let inventory = Inventory(vec![Announcement::new("10.0.0.7:2375".parse()?)]);
    for node in inventory.first_set().await? {
        println!("{}", node.endpoint);
    }
    Ok(())
}

#[cfg(test)]
#[path = "discovery_backend/conformance.rs"]
mod conformance;
