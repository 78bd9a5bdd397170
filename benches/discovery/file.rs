//! `file-10k`

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use futures::StreamExt;
use longshore::{
    Discovery,
    core::{MembershipEvent, testkit::ManualClock},
    discovery::{FileDiscovery, FileOptions, FileWatch},
};

use crate::{
    nodes::{NODES, node},
    report::{Arguments, Measurement, Report, median},
};

const INTERVAL: Duration = Duration::from_secs(60);

pub fn run(arguments: &Arguments, report: &Report) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let path = directory.path().join("nodes");
        write(&path, 0);
        // The clock moves only when told to: each move is one reading.
        let clock = ManualClock::default();
        let options = FileOptions::default()
            .with_watch(FileWatch::Poll)
            .with_interval(INTERVAL);
        let discovery = FileDiscovery::new(&path, Arc::new(clock.clone()), options);
        let mut watch = discovery.watch();
        match watch.next().await {
            Some(MembershipEvent::Reset(nodes)) => assert_eq!(nodes.len(), NODES),
            other => panic!("a watch began with {other:?}"),
        }
        let mut found = Vec::new();
        for round in 0..arguments.rounds(15) {
            report.progress(&format!("file-10k: round {}", round + 1));
            let mut times = Vec::new();
            for change in 1..=10 {
                write(&path, round * 10 + change);
                let before = processor_time();
                clock.advance(INTERVAL);
                // One node left and one came.
                let events = [watch.next().await, watch.next().await];
                times.push((processor_time() - before) * 1e3);
                assert!(
                    matches!(
                        events,
                        [
                            Some(MembershipEvent::Removed(_)),
                            Some(MembershipEvent::Added(_))
                        ]
                    ),
                    "{events:?}"
                );
            }
            found.push(median(&mut times));
        }
        report.add(&Measurement {
            case: "file-10k",
            ours: median(&mut found),
            peer: 10.0,
            peer_name: "the bar",
            unit: "ms",
            bar: "ratio at most 1",
        });
    });
}

/// The nodes from `first` on, with a comment now and then.
fn write(path: &Path, first: usize) {
    let mut text = String::new();
    for number in first..first + NODES {
        if number.is_multiple_of(500) {
            text.push_str("# a rack\n");
        }
        let _ = writeln!(text, "{}", node(number).endpoint);
    }
    std::fs::write(path, text).expect("written");
}

/// What all threads have used, in seconds: the first number of schedstat counts nanoseconds.
fn processor_time() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let used = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    used.sum::<f64>() / 1e9
}
