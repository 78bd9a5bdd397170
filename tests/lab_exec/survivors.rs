//! What the host's process table says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use longshore_lab::Host;

/// The number of the tree with this place in a run; runs are told apart by `lab`. Nine digits, and
/// nobody else's command line holds such.
pub fn number(lab: u8, place: usize) -> u64 {
    730_000_000 + u64::from(lab) * 10_000 + place as u64
}

/// How many processes each of these trees has, the session's own shell and its stub included: the
/// number is in their scripts. Zombies have no command line and do not count.
pub fn count(numbers: &BTreeSet<u64>) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("the process table").flatten() {
        let name = entry.file_name();
        if name
            .to_str()
            .is_none_or(|name| name.parse::<u32>().is_err())
        {
            continue;
        }
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let number = line.windows(9).find_map(|digits| {
            let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
            numbers.contains(&number).then_some(number)
        });
        if let Some(number) = number {
            *counts.entry(number).or_default() += 1;
        }
    }
    counts
}

/// How many processes of this host's containers carry any session's mark.
pub fn marked(host: &Host) -> usize {
    with_marks(host).count()
}

/// What they are.
pub fn marked_lines(host: &Host) -> Vec<String> {
    let lines = with_marks(host).map(|(pid, mark)| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        format!("{pid} {mark} {line}")
    });
    lines.collect()
}

fn with_marks(host: &Host) -> impl Iterator<Item = (u32, String)> {
    processes(host).filter_map(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut pairs = environment.split(|byte| *byte == 0);
        let mark = pairs.find_map(|pair| pair.strip_prefix(b"LONGSHORE_EXEC_ID="))?;
        Some((pid, String::from_utf8_lossy(mark).into_owned()))
    })
}

/// The processes of this host's containers; other labs may run beside it.
pub fn processes(host: &Host) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("the process table").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| host.holds(*pid))
}

/// Waits until nothing of these trees is left, and tells for each when it was last seen.
///
/// # Panics
/// When something is left after `limit`.
pub async fn vanish(numbers: &BTreeSet<u64>, since: Instant, limit: Duration) -> Vec<Duration> {
    let mut last = BTreeMap::new();
    loop {
        let looked = since.elapsed();
        let counts = count(numbers);
        for number in counts.keys() {
            last.insert(*number, looked);
        }
        if counts.is_empty() {
            return numbers
                .iter()
                .map(|number| last.get(number).copied().unwrap_or_default())
                .collect();
        }
        assert!(
            looked < limit,
            "after {looked:?} there are still {counts:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A distribution in one line.
#[expect(clippy::print_stdout, reason = "figures are for people")]
pub fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times[index.min(times.len() - 1)].as_millis()
    };
    // The machine is shared; without it the figures say little.
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!(
        "MEASURED {what}: {} trees gone after p50 {} ms, p90 {} ms, p95 {} ms, p99 {} ms, at most {} \
         ms, under a load of {load}",
        times.len(),
        at(0.5),
        at(0.9),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}
