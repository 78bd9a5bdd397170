//! What a workload uses, from `/proc`.

use std::fs;

use longshore_core::{Bytes, Stats, Timestamp};

use super::{cell::Cell, host::Host};

/// One sample over all processes of a workload. Blocks for a moment.
pub(super) fn sample(host: &Host, cell: &Cell, at: Timestamp) -> Stats {
    let leader = cell.lock().run.as_ref().map(|run| run.leader.clone());
    let mut stats = Stats::default();
    stats.at = at;
    stats.memory_limit = host.info.memory;
    stats.online_cpus = std::thread::available_parallelism()
        .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    stats.system_cpu_nanos = ticks_to_nanos(system_ticks());
    let Some(leader) = leader else {
        return stats;
    };
    let page = rustix::param::page_size() as u64;
    let (mut ticks, mut memory) = (0u64, 0u64);
    for process in cell.family.members(Some(&leader)) {
        ticks = ticks.saturating_add(process.ticks);
        memory = memory.saturating_add(process.resident.saturating_mul(page));
        stats.pids += process.threads;
    }
    stats.cpu_nanos = ticks_to_nanos(ticks);
    stats.memory = Bytes(memory);
    stats
}

fn system_ticks() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    // Guest time is contained in the first two columns and not counted again.
    text.lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum()
}

fn ticks_to_nanos(ticks: u64) -> u64 {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    ticks.saturating_mul(1_000_000_000 / per_second)
}
