use super::{Harness, trial::Trial};

/// Every byte may be in the output.
pub async fn output_is_byte_exact(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let bytes: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
    let outcome = trial.run(trial.programs.print(&bytes, b"")).await;
    assert_eq!(outcome.stdout, bytes);
    assert!(outcome.stderr.is_empty());
    assert_eq!(outcome.status.code, Some(0));
    trial.finish().await;
}

/// Output that looks like the header of a multiplexed stream is output.
pub async fn output_that_begins_with_a_low_byte_is_exact(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    for bytes in LOW {
        let outcome = trial.run(trial.programs.print(bytes, b"")).await;
        assert_eq!(outcome.stdout, *bytes);
        let outcome = trial.run(trial.programs.print(b"", bytes)).await;
        assert_eq!(outcome.stderr, *bytes);
        assert!(outcome.stdout.is_empty());
    }
    trial.finish().await;
}

/// Without a terminal, standard output and standard error are not mixed up.
pub async fn outputs_are_told_apart(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let outcome = trial.run(trial.programs.print(b"good\n", b"bad\n")).await;
    assert_eq!(outcome.stdout, &b"good\n"[..]);
    assert_eq!(outcome.stderr, &b"bad\n"[..]);
    trial.finish().await;
}

/// However quickly a command ends, its output is there, also for who waits first and reads later.
pub async fn output_before_the_end_is_never_lost(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    for round in 0..10 {
        let text = format!("round {round}");
        let request = trial.request(trial.programs.print(text.as_bytes(), b""));
        let session = trial.exec(&request).await;
        if round % 2 == 0 {
            trial.wait(&*session).await;
        }
        assert_eq!(trial.outcome(&*session).await.stdout, text.as_bytes());
    }
    trial.finish().await;
}

/// Much output arrives whole and in order, also when its reader is slow.
pub async fn large_output_is_complete_and_in_order(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let session = trial
        .exec(&trial.request(trial.programs.lines(100_000)))
        .await;
    crate::ClockExt::sleep(&*trial.clock, std::time::Duration::from_millis(300)).await;
    let outcome = trial.outcome(&*session).await;
    let text = String::from_utf8(outcome.stdout.to_vec()).expect("numbers");
    let mut lines = 0;
    for (index, line) in text.lines().enumerate() {
        assert_eq!(line.parse(), Ok(index + 1));
        lines += 1;
    }
    assert_eq!(lines, 100_000);
    assert_eq!(outcome.status.code, Some(0));
    trial.finish().await;
}

const LOW: &[&[u8]] = &[
    b"\0\0\0\0\x7f\xff\xff\xffNUL-first",
    b"\x01\0\0\0\0\0\0\x04abcd",
    b"\x02\0\0\0\0\0\0\0",
    b"\0",
    b"\x01",
    b"\x02rest",
];
