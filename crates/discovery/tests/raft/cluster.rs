//! Members in one process, over a network in memory.
#![allow(dead_code, reason = "not every test program uses all of it")]

use std::sync::{Arc, Mutex};

use longshore_core::{Clock, ClockExt, KvStore, SystemClock};
use longshore_discovery::{RaftKv, RaftMemoryNetwork, RaftOptions};

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// Where members keep what they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Memory,
    Disk,
}

pub struct Cluster {
    pub network: RaftMemoryNetwork,
    clock: Arc<dyn Clock>,
    place: Place,
    directory: tempfile::TempDir,
    members: Mutex<Vec<Option<RaftKv>>>,
}

impl Cluster {
    /// Starts all members, and waits until they have come together.
    pub async fn start(count: usize, place: Place) -> Self {
        let cluster = Self {
            network: RaftMemoryNetwork::new(),
            clock: clock(),
            place,
            directory: tempfile::tempdir().unwrap(),
            members: Mutex::new(vec![None; count]),
        };
        for member in 0..count {
            cluster.start_member(member);
        }
        cluster.member(0).get("any").await.unwrap();
        cluster
    }

    pub fn count(&self) -> usize {
        self.members.lock().unwrap().len()
    }

    pub fn member(&self, number: usize) -> RaftKv {
        self.members.lock().unwrap()[number].clone().unwrap()
    }

    /// The member that leads, once there is one that a majority follows.
    pub async fn leader(&self, of: &[usize]) -> usize {
        for _ in 0..3000 {
            let known: Vec<_> = of
                .iter()
                .map(|member| self.member(*member).leader())
                .collect();
            let first = known[0].clone();
            if let Some(name) = first
                && known.iter().all(|leader| leader.as_deref() == Some(&name))
                && let Some(number) = (0..self.count()).find(|number| name_of(*number) == name)
                && of.contains(&number)
            {
                return number;
            }
            self.clock.sleep(std::time::Duration::from_millis(20)).await;
        }
        let known: Vec<_> = of
            .iter()
            .map(|member| self.member(*member).leader())
            .collect();
        panic!("no leader in a minute; the members {of:?} know {known:?}");
    }

    pub fn start_member(&self, number: usize) {
        let names = (0..self.count()).map(name_of);
        let mut options = RaftOptions::new(&name_of(number), names, self.clock.clone()).unwrap();
        if self.place == Place::Disk {
            options = options.with_directory(self.directory_of(number));
        }
        let network = self.network.join(&name_of(number));
        let member = RaftKv::start(options, network).unwrap();
        self.members.lock().unwrap()[number] = Some(member);
    }

    /// Ends a member, as a crash would as far as the others can tell.
    pub async fn stop(&self, number: usize) {
        let member = self.members.lock().unwrap()[number].take().unwrap();
        member.close().await;
    }

    pub fn directory_of(&self, number: usize) -> std::path::PathBuf {
        self.directory.path().join(name_of(number))
    }

    /// Takes away what a member knew.
    pub fn lose_disk(&self, number: usize) {
        std::fs::remove_dir_all(self.directory_of(number)).unwrap();
    }

    /// Cuts a member off from all others.
    pub fn isolate(&self, number: usize) {
        for other in (0..self.count()).filter(|other| *other != number) {
            self.network.cut(&name_of(number), &name_of(other));
        }
    }
}

pub fn name_of(number: usize) -> String {
    format!("m{number}")
}
