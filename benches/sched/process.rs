//! What this process has used: processor time and memory.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of the whole process so far, in the kernel and outside.
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Seconds of processor time that the work took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = cpu_time();
    let done = work();
    (done, (cpu_time() - start).as_secs_f64())
}

/// Resident memory in bytes.
pub fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or_default();
    pages * rustix::param::page_size() as f64
}
