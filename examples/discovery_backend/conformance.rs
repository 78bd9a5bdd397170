//! The suite of every discovery backend, on ours.

use std::sync::{Arc, Mutex};

use super::*;
use longshore::core::testkit::discovery::Harness;

#[derive(Default)]
struct Ours(Mutex<Vec<Announcement>>);

#[async_trait]
impl Harness for Ours {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::new(Inventory(self.0.lock().unwrap().clone()))
    }

    async fn place(&self, nodes: &[Announcement]) {
        *self.0.lock().unwrap() = nodes.to_vec();
    }
}

longshore::core::discovery_suite!(paused, Ours::default());
