//! A member's side of a client's connection.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::BytesMut;
use futures::StreamExt;
use longshore_core::{BoxByteStream, Clock, ClockExt, Error, KvRange, Result};
use tokio::{
    io::{AsyncRead, AsyncWriteExt},
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
};

use super::{
    driver::Shared,
    frame,
    operation::{Answer, Operation, decode_operation, encode_answer},
    watch,
};

/// Answers a client until it leaves, takes no answers, or until the member ends.
pub(super) async fn serve(
    stream: BoxByteStream,
    store: &Weak<Shared>,
    clock: &dyn Clock,
) -> Result<()> {
    let (mut read, mut write) = tokio::io::split(stream);
    let (answers, mut waiting) = mpsc::channel::<(u64, Answer)>(MOST_ANSWERS);
    let writing = async {
        while let Some((number, answer)) = waiting.recv().await {
            let mut out = BytesMut::new();
            frame::push(&mut out, &encode_answer(number, &answer));
            let sending = async {
                write.write_all(&out).await?;
                write.flush().await
            };
            // What it does not take, it makes us keep.
            clock
                .timeout(LONGEST_WRITE, "a client's taking of an answer", sending)
                .await?
                .map_err(frame::broken)?;
        }
        Ok(())
    };
    let reading = listen(&mut read, store, answers);
    tokio::select! {
        ended = reading => ended,
        broke = writing => broke,
    }
}

/// Carries out what a client asks for until it leaves.
async fn listen(
    read: &mut (impl AsyncRead + Unpin),
    store: &Weak<Shared>,
    answers: mpsc::Sender<(u64, Answer)>,
) -> Result<()> {
    let places = Arc::new(Semaphore::new(MOST_CALLS));
    let mut calls = JoinSet::new();
    let mut watches: HashMap<u64, AbortHandle> = HashMap::new();
    while let Some(frame) = frame::read(read).await? {
        let (number, operation) = decode_operation(frame)?;
        while calls.try_join_next().is_some() {}
        watches.retain(|_, watch| !watch.is_finished());
        let Some(store) = store.upgrade() else {
            return Ok(());
        };
        let answers = answers.clone();
        match operation {
            Operation::Unwatch(watch) => {
                if let Some(watch) = watches.remove(&watch) {
                    watch.abort();
                }
            }
            Operation::Watch { .. } if watches.len() >= MOST_WATCHES => {
                return Err(Error::protocol(format!(
                    "a client with more than {MOST_WATCHES} watches"
                )));
            }
            Operation::Watch { prefix, from } => {
                let stream = watch::watch(&store, &prefix, from);
                drop(store);
                let task = calls.spawn(tell(stream, number, answers));
                watches.insert(number, task);
            }
            call => {
                // Never closed.
                let place = places.clone().acquire_owned().await;
                calls.spawn(async move {
                    let answer = match perform(&store, call).await {
                        Ok(answer) => answer,
                        Err(error) => Answer::failed(&error),
                    };
                    // Who has gone has no use for it.
                    let _ = answers.send((number, answer)).await;
                    drop(place);
                });
            }
        }
    }
    Ok(())
}

async fn tell(
    mut stream: longshore_core::KvWatch,
    number: u64,
    answers: mpsc::Sender<(u64, Answer)>,
) {
    while let Some(event) = stream.next().await {
        let answer = match event {
            Ok(event) => Answer::Event(event),
            Err(error) => Answer::Outage {
                message: error.message().to_owned(),
            },
        };
        if answers.send((number, answer)).await.is_err() {
            return;
        }
    }
}

async fn perform(store: &Shared, operation: Operation) -> Result<Answer> {
    Ok(match operation {
        Operation::Get(key) => Answer::Found(store.get(&key).await?),
        Operation::Range {
            prefix,
            after,
            limit,
        } => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            Answer::Range(cut(store.range(&prefix, &after, limit).await?))
        }
        Operation::Apply(steps) => {
            let (revision, deleted) = store.apply(steps).await?;
            Answer::Done { revision, deleted }
        }
        Operation::Grant(ttl) => Answer::Granted(store.grant(ttl).await?),
        Operation::KeepAlive(lease) => {
            store.keep_alive(lease).await?;
            nothing_more()
        }
        Operation::Revoke(lease) => {
            store.revoke(lease).await?;
            nothing_more()
        }
        Operation::Watch { .. } | Operation::Unwatch(_) => {
            return Err(Error::internal("a watch is no call"));
        }
    })
}

fn nothing_more() -> Answer {
    Answer::Done {
        revision: longshore_core::Revision(0),
        deleted: 0,
    }
}

/// As much as fits into a frame; the client reads on.
fn cut(mut range: KvRange) -> KvRange {
    let mut bytes = 0;
    let fits = range.entries.iter().take_while(|entry| {
        bytes += entry.key.len() + entry.value.len() + 64;
        bytes <= MOST_BYTES
    });
    let count = fits.count().max(1);
    if count < range.entries.len() {
        range.entries.truncate(count);
        range.more = true;
    }
    range
}

/// Of one client at a time.
const MOST_CALLS: usize = 128;
const MOST_WATCHES: usize = 128;
const MOST_ANSWERS: usize = 64;
/// For one answer.
const LONGEST_WRITE: Duration = Duration::from_secs(30);
/// Of keys and values in one answer.
const MOST_BYTES: usize = 4 << 20;
