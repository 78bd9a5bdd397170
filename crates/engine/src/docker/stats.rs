use bollard::models::ContainerStatsResponse;
use longshore_core::{Bytes, Stats, Timestamp};

/// One sample. Without a limit of its own, a container may use what the host has, and Docker says so.
pub(super) fn sample(answer: ContainerStatsResponse) -> Stats {
    let mut stats = Stats::default();
    let read = answer.read.as_deref();
    let read = read.and_then(|text| Timestamp::parse_rfc3339(text).ok().flatten());
    stats.at = read.unwrap_or_default();
    let cpu = answer.cpu_stats.unwrap_or_default();
    stats.cpu_nanos = cpu
        .cpu_usage
        .and_then(|usage| usage.total_usage)
        .unwrap_or(0);
    stats.system_cpu_nanos = cpu.system_cpu_usage.unwrap_or(0);
    stats.online_cpus = cpu.online_cpus.unwrap_or(0);
    let memory = answer.memory_stats.unwrap_or_default();
    // What the page cache holds and can give back is not in use; the docker client counts alike.
    let counters = memory.stats.unwrap_or_default();
    let cache = counters
        .get("total_inactive_file")
        .or_else(|| counters.get("inactive_file"))
        .copied()
        .unwrap_or(0);
    stats.memory = Bytes(memory.usage.unwrap_or(0).saturating_sub(cache));
    stats.memory_limit = Bytes(memory.limit.unwrap_or(0));
    stats.pids = answer.pids_stats.and_then(|pids| pids.current).unwrap_or(0);
    for network in answer.networks.unwrap_or_default().into_values() {
        stats.network_received += network.rx_bytes.unwrap_or(0);
        stats.network_sent += network.tx_bytes.unwrap_or(0);
    }
    stats
}
