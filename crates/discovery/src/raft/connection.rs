//! A client's connection to one member: many questions at a time.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use longshore_core::{BoxByteStream, Error, Result};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
};

use crate::abort_on_drop::AbortOnDrop;

use super::{
    frame::{self, Hello},
    operation::{Answer, Operation, decode_answer, encode_operation},
};

#[derive(Debug)]
pub(super) struct Connection {
    open: Arc<Open>,
    last: AtomicU64,
    _tasks: [AbortOnDrop; 2],
}

#[derive(Debug)]
struct Open {
    questions: mpsc::Sender<BytesMut>,
    ended: AtomicBool,
    waiting: Mutex<HashMap<u64, Waiting>>,
}

#[derive(Debug)]
enum Waiting {
    Call(oneshot::Sender<Answer>),
    Watch(mpsc::Sender<Answer>),
}

/// Whether a question that failed reached the member.
#[derive(Debug)]
pub(super) enum Sent {
    No(Error),
    Perhaps(Error),
}

impl Connection {
    pub(super) async fn open(stream: BoxByteStream) -> Result<Self> {
        let (mut read, mut write) = tokio::io::split(stream);
        Hello::Client.write(&mut write).await?;
        let (questions, mut due) = mpsc::channel::<BytesMut>(MOST_QUESTIONS);
        let open = Arc::new(Open {
            questions,
            ended: AtomicBool::new(false),
            waiting: Mutex::default(),
        });
        let ends = open.clone();
        let writing = tokio::spawn(async move {
            while let Some(question) = due.recv().await {
                if write.write_all(&question).await.is_err() || write.flush().await.is_err() {
                    break;
                }
            }
            ends.end();
        });
        let reads = open.clone();
        let reading = tokio::spawn(async move {
            while let Ok(Some(frame)) = frame::read(&mut read).await {
                let Ok((number, answer)) = decode_answer(frame) else {
                    break;
                };
                reads.tell(number, answer);
            }
            reads.end();
        });
        Ok(Self {
            open,
            last: AtomicU64::new(0),
            _tasks: [writing, reading].map(|task| AbortOnDrop(task.abort_handle())),
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.open.ended.load(Ordering::Acquire)
    }

    /// Asks once. A dropped call may have reached the member.
    pub(super) async fn ask(&self, operation: &Operation) -> Result<Answer, Sent> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let question = question(number, operation).map_err(Sent::No)?;
        let (sender, answer) = oneshot::channel();
        self.open.lock().insert(number, Waiting::Call(sender));
        let _forget = Forget(&self.open, number);
        let place = self.open.questions.reserve().await;
        let place = place.map_err(|_| Sent::No(gone()))?;
        place.send(question);
        if self.has_ended() {
            return Err(Sent::Perhaps(gone()));
        }
        answer.await.map_err(|_| Sent::Perhaps(gone()))
    }

    /// Begins a watch, which ends with what it gives.
    pub(super) fn watch(&self, operation: &Operation) -> Result<mpsc::Receiver<Answer>> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let question = question(number, operation)?;
        let (sender, events) = mpsc::channel(READ_AHEAD);
        self.open.lock().insert(number, Waiting::Watch(sender));
        let asked = self.open.questions.try_send(question);
        if asked.is_err() || self.has_ended() {
            self.open.lock().remove(&number);
            return Err(gone());
        }
        Ok(events)
    }
}

impl Open {
    fn tell(&self, number: u64, answer: Answer) {
        let mut waiting = self.lock();
        match waiting.get(&number) {
            Some(Waiting::Watch(events)) => match events.try_send(answer) {
                Ok(()) => {}
                // A reader that lags by so much gets its watch anew, from where it is.
                Err(_) => {
                    waiting.remove(&number);
                    let end = unwatch(number);
                    // With a full queue it goes on, and the next event tries again.
                    let _ = self.questions.try_send(end);
                }
            },
            Some(Waiting::Call(_)) => {
                if let Some(Waiting::Call(caller)) = waiting.remove(&number) {
                    // Who has gone has no use for it.
                    let _ = caller.send(answer);
                }
            }
            // Given up meanwhile; a watch may not know it.
            None if matches!(answer, Answer::Event(_)) => {
                let end = unwatch(number);
                let _ = self.questions.try_send(end);
            }
            None => {}
        }
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a question that nobody waits for any more off the list.
struct Forget<'a>(&'a Open, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// A member would close the connection, with all that others asked on it, over a larger one.
fn question(number: u64, operation: &Operation) -> Result<BytesMut> {
    let frame = encode_operation(number, operation);
    if frame.len() > frame::LARGEST {
        let message = format!(
            "a question to a manager has at most {} bytes",
            frame::LARGEST
        );
        return Err(Error::invalid(message).with_context("bytes", frame.len()));
    }
    Ok(framed(&frame))
}

fn unwatch(number: u64) -> BytesMut {
    framed(&encode_operation(UNANSWERED, &Operation::Unwatch(number)))
}

fn framed(frame: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    frame::push(&mut out, frame);
    out
}

fn gone() -> Error {
    Error::unavailable("the connection to the manager has ended").with_backend("raft")
}

/// The number of what has no answer.
const UNANSWERED: u64 = u64::MAX;

const MOST_QUESTIONS: usize = 64;
const READ_AHEAD: usize = 1024;
