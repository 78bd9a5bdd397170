//! The signals that ask us to leave.

use std::io;

use futures::{FutureExt, future::select_all};
use tokio::signal::unix::{self, SignalKind};

/// From when it is made on, none of them ends the program by itself.
pub struct Signals(Vec<(u8, unix::Signal)>);

impl Signals {
    pub fn new() -> io::Result<Self> {
        let kinds = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
        ];
        let listen = |kind: SignalKind| {
            let number = u8::try_from(kind.as_raw_value()).unwrap_or(0);
            Ok((number, unix::signal(kind)?))
        };
        let all: io::Result<_> = kinds.into_iter().map(listen).collect();
        all.map(Self)
    }

    /// The next one's number. Cancel safe.
    pub async fn next(&mut self) -> u8 {
        let all = self.0.iter_mut().map(|(number, signal)| {
            async move {
                signal.recv().await;
                *number
            }
            .boxed()
        });
        select_all(all).await.0
    }

    /// What comes of some work, or the signal that comes before; the work is dropped then.
    pub async fn or<T>(&mut self, work: impl Future<Output = T>) -> Result<T, u8> {
        tokio::select! {
            biased;
            number = self.next() => Err(number),
            done = work => Ok(done),
        }
    }
}

/// Whether a terminal sends it at a key, and shows that.
pub fn is_typed(signal: u8) -> bool {
    let keys = [SignalKind::interrupt(), SignalKind::quit()];
    keys.iter()
        .any(|key| key.as_raw_value() == i32::from(signal))
}

/// The exit code of a program that a signal ended, as a shell shows it.
pub fn code_of(signal: u8) -> u8 {
    128 + signal
}
