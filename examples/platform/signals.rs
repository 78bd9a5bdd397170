//! The signals that end the program.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::say::note;

/// Ends when the process is asked to: Ctrl-C or SIGTERM. Whoever asks a second time does not want to
/// wait for an end in order.
pub async fn interrupted() {
    asked(&[SignalKind::interrupt(), SignalKind::terminate()]).await;
}

/// The same, and when the terminal is closed.
pub async fn interrupted_or_hung_up() {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    asked(&kinds).await;
}

async fn asked(kinds: &[SignalKind]) {
    let signals: std::io::Result<Vec<Signal>> = kinds.iter().map(|kind| signal(*kind)).collect();
    let Ok(mut signals) = signals else {
        return std::future::pending().await;
    };
    any(&mut signals).await;
    tokio::spawn(async move {
        any(&mut signals).await;
        note("asked to stop once more: exiting at once");
        std::process::exit(AFTER_SIGINT);
    });
}

async fn any(signals: &mut [Signal]) {
    let received = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures::future::select_all(received).await;
}

/// How a shell shows a program that Ctrl-C ended.
const AFTER_SIGINT: i32 = 130;
