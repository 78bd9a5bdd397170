//! What this process and its engine hold.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use longshore::core::WorkloadId;
use tokio::runtime::Handle;

use crate::{survivors, world::World};

#[derive(Clone, Debug)]
pub struct Figures {
    /// Resident, of this process.
    memory: usize,
    descriptors: usize,
    tasks: usize,
    /// Of the containers, as the engine tells.
    execs: usize,
    /// Processes of sessions in the containers, by their marks.
    processes: usize,
}

impl Figures {
    /// Within a runtime.
    pub fn now(world: &World, containers: &[WorkloadId]) -> Self {
        let pages = fs::read_to_string("/proc/self/statm").expect("Linux has it");
        let pages: usize = pages
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse().ok())
            .expect("a number");
        let execs = containers.iter().map(|container| {
            let words = [
                "inspect",
                "--format",
                "{{len .ExecIDs}}",
                container.as_str(),
            ];
            let count = world.host().docker_ok(words).expect("it is there");
            count.trim().parse::<usize>().expect("a number")
        });
        Self {
            memory: pages * rustix::param::page_size(),
            descriptors: fs::read_dir("/proc/self/fd").expect("Linux has it").count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            execs: execs.sum(),
            processes: survivors::marked(world.host()),
        }
    }

    /// Once nothing changes any more: grace times are over, connections are closed, and who watched
    /// over sessions has gone. Or as it is when that takes too long.
    pub async fn at_rest(world: &World, containers: &[WorkloadId], before: Option<&Self>) -> Self {
        let until = Instant::now() + LONGEST;
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let now = Self::now(world, containers);
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

/// Eight idle connections to the engine of each of two gateways.
const POOLED: usize = 16;
/// A page for each of some thousand sessions would be seen.
const MORE_MEMORY: usize = 16 << 20;
/// A lifeline goes a minute after the last session.
const LONGEST: Duration = Duration::from_secs(120);
