//! What this process and its engine hold.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use longshore::core::{
    SystemClock, WorkloadId,
    http::{HttpClient, empty_body, read_body},
};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{survivors, world::World};

#[derive(Clone, Debug)]
pub struct Figures {
    /// Resident, of this process.
    memory: usize,
    descriptors: usize,
    tasks: usize,
    /// Of the containers, as the engine tells: those that run. One that was made and not started,
    /// because its session was given up in between, stays in the engine's list, and nobody can take
    /// it out.
    execs: usize,
    /// Processes of sessions in the containers, by their marks.
    processes: usize,
}

impl Figures {
    pub async fn now(world: &World, containers: &[WorkloadId]) -> Self {
        let pages = fs::read_to_string("/proc/self/statm").expect("Linux has it");
        let pages: usize = pages
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse().ok())
            .expect("a number");
        Self {
            memory: pages * rustix::param::page_size(),
            descriptors: fs::read_dir("/proc/self/fd").expect("Linux has it").count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            execs: running(world, containers).await,
            processes: survivors::marked(world.host()),
        }
    }

    /// Once nothing changes any more: grace times are over, connections are closed, and who watched
    /// over sessions has gone. Or as it is when that takes too long.
    pub async fn at_rest(world: &World, containers: &[WorkloadId], before: Option<&Self>) -> Self {
        let until = Instant::now() + LONGEST;
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let now = Self::now(world, containers).await;
            let is_at_rest = match before {
                None => now.execs == 0 && now.processes == 0,
                Some(before) => now.grown_since(before).is_empty(),
            };
            if is_at_rest || Instant::now() > until {
                return now;
            }
        }
    }

    /// What is more than it was, beyond what idle connections make up.
    pub fn grown_since(&self, before: &Self) -> Vec<&'static str> {
        [
            ("memory", self.memory > before.memory + MORE_MEMORY),
            (
                "descriptors",
                self.descriptors > before.descriptors + POOLED,
            ),
            ("tasks", self.tasks > before.tasks + POOLED),
            ("exec instances", self.execs > before.execs),
            ("processes", self.processes > before.processes),
        ]
        .into_iter()
        .filter_map(|(what, has_grown)| has_grown.then_some(what))
        .collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory,
            descriptors,
            tasks,
            execs,
            processes,
        } = self;
        let memory = *memory as f64 / f64::from(1 << 20);
        write!(
            f,
            "{memory:.1} MiB resident, {descriptors} descriptors, {tasks} tasks, {execs} exec instances, \
             {processes} processes of sessions"
        )
    }
}

async fn running(world: &World, containers: &[WorkloadId]) -> usize {
    let client = HttpClient::new(world.socket(), std::sync::Arc::new(SystemClock::new()));
    let get = async |path: String| -> Value {
        let request = http::Request::get(path).body(empty_body());
        let answer = client.send(request.expect("a fixed request")).await;
        let body = read_body(answer.expect("an answer").into_body(), 1 << 20).await;
        let body: Bytes = body.expect("a body");
        serde_json::from_slice(&body).unwrap_or_default()
    };
    let mut count = 0;
    for container in containers {
        let found = get(format!("/containers/{container}/json")).await;
        for id in found["ExecIDs"].as_array().into_iter().flatten() {
            let exec = get(format!("/exec/{}/json", id.as_str().unwrap_or_default())).await;
            count += usize::from(exec["Running"] == true);
        }
    }
    count
}

/// Eight idle connections to the engine of each of two gateways.
const POOLED: usize = 16;
/// A page for each of some thousand sessions would be seen.
const MORE_MEMORY: usize = 16 << 20;
/// A lifeline goes a minute after the last session.
const LONGEST: Duration = Duration::from_secs(120);
