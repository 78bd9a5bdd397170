use crate::testkit::suite::does_not_apply;
use std::time::Duration;

use futures::StreamExt;

use super::{Harness, trial::Trial};
use crate::{LogOptions, OutputKind};

/// What never ran has said nothing.
pub async fn a_log_is_empty_before_the_start(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.create(trial.programs.print(b"x", b"y")).await;
    let log = trial
        .log(&id, OutputKind::Stdout, &LogOptions::default())
        .await;
    assert!(log.is_empty());
    trial.finish().await;
}

/// Output is in the log as soon as wait has returned, however quick the end was.
pub async fn output_before_the_end_is_in_the_log(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    for round in 0..5 {
        let text = format!("round {round}\n");
        let id = trial.run(trial.programs.print(text.as_bytes(), b"")).await;
        assert_eq!(trial.wait(&id).await.code, Some(0));
        let log = trial
            .log(&id, OutputKind::Stdout, &LogOptions::default())
            .await;
        assert_eq!(log, text);
        // More than a pipe holds, so that something is on its way at the end.
        let id = trial.run(trial.programs.lines(20_000)).await;
        trial.wait(&id).await;
        let log = trial
            .log(&id, OutputKind::Stdout, &LogOptions::default())
            .await;
        assert!(log.ends_with(b"\n19999\n20000\n"), "{} bytes", log.len());
    }
    trial.finish().await;
}

/// Every byte may be in a log, or every character where the engine's storage keeps only text.
pub async fn output_in_the_log_is_byte_exact(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let bytes: Vec<u8> = if harness.keeps_any_byte_in_logs() {
        (0..=255).chain(0..=3).collect()
    } else {
        (0..=127)
            .chain(*b"\0\x01\x02")
            .chain("\u{e9}\u{20ac}\u{1f6a2}".bytes())
            .collect()
    };
    let id = trial.run(trial.programs.print(&bytes, b"")).await;
    trial.wait(&id).await;
    let log = trial
        .log(&id, OutputKind::Stdout, &LogOptions::default())
        .await;
    assert_eq!(log, bytes);
    trial.finish().await;
}

/// A second run adds to the log of the first.
pub async fn output_stays_in_the_log_over_a_second_run(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.print(b"again\n", b"")).await;
    trial.wait(&id).await;
    trial.start(&id).await;
    trial.wait(&id).await;
    let log = trial
        .log(&id, OutputKind::Stdout, &LogOptions::default())
        .await;
    assert_eq!(log, "again\nagain\n");
    trial.finish().await;
}

/// Standard output and standard error are not mixed up.
pub async fn outputs_are_told_apart(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.print(b"good\n", b"bad\n")).await;
    trial.wait(&id).await;
    let options = LogOptions::default();
    assert_eq!(trial.log(&id, OutputKind::Stdout, &options).await, "good\n");
    assert_eq!(trial.log(&id, OutputKind::Stderr, &options).await, "bad\n");
    trial.finish().await;
}

/// A tail is the end of the log in whole lines.
pub async fn tail_gives_the_last_lines(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.lines(500)).await;
    trial.wait(&id).await;
    let tail = |lines| LogOptions::default().with_tail(lines);
    let log = trial.log(&id, OutputKind::Stdout, &tail(3)).await;
    assert_eq!(log, "498\n499\n500\n");
    let log = trial.log(&id, OutputKind::Stdout, &tail(0)).await;
    assert!(log.is_empty());
    let log = trial.log(&id, OutputKind::Stdout, &tail(10_000)).await;
    assert!(log.starts_with(b"1\n2\n") && log.ends_with(b"\n500\n"));
    trial.finish().await;
}

/// A follower gets output while it comes, and its stream ends with the workload.
pub async fn a_log_can_be_followed_to_the_end(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let pause = Duration::from_secs(2);
    let command = trial.programs.print_slowly(b"first\n", pause, b"second\n");
    let id = trial.run(command).await;
    let before = trial.clock.now();
    let log = trial.engine.logs(&id, &LogOptions::follow()).await;
    let mut log = log.expect("logs");
    let first = trial.within(log.next()).await.expect("output");
    assert_eq!(first.expect("a log").bytes, "first\n");
    assert!(trial.clock.now().since(before) < pause, "it came at once");
    let second = trial.within(log.next()).await.expect("output");
    assert_eq!(second.expect("a log").bytes, "second\n");
    assert!(trial.within(log.next()).await.is_none());
    trial.finish().await;
}

/// Following what does not run any more gives the log and ends.
pub async fn following_what_has_ended_ends(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.print(b"done\n", b"")).await;
    trial.wait(&id).await;
    let log = trial
        .log(&id, OutputKind::Stdout, &LogOptions::follow())
        .await;
    assert_eq!(log, "done\n");
    trial.finish().await;
}

/// A running workload has at least one process, and its sample has a time.
pub async fn stats_of_what_runs_are_plausible(harness: &dyn Harness) {
    if !harness.has_stats() {
        return does_not_apply("it samples nothing here");
    }
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.forever()).await;
    let stats = trial.within(trial.engine.stats(&id)).await.expect("stats");
    assert!(stats.pids >= 1 && !stats.memory.is_zero(), "{stats:?}");
    assert!(stats.online_cpus >= 1 && stats.system_cpu_nanos > 0);
    trial.finish().await;
}
