//! One connection, and the session on it: requests in turn, answers in the same order.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use longshore_core::{BoxByteStream, Clock, ClockExt, Error, ErrorKind, Result, Timestamp};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
};

use super::{
    failure, frame,
    wire::{Reader, Record, op},
};

/// What it takes to go on with a session on another connection.
#[derive(Clone)]
pub(super) struct SessionKey {
    pub(super) id: i64,
    password: Bytes,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({:x})", self.id)
    }
}

/// How a connection is to be.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// The session timeout to ask for.
    pub(super) timeout: Duration,
    /// The session to go on with.
    pub(super) resume: Option<SessionKey>,
    /// Whether the session is kept up by pings, and closed when the connection is dropped. A lease's
    /// is not: it ends when nobody renews it.
    pub(super) own: bool,
    /// `user:password` of the digest scheme.
    pub(super) digest: Option<Arc<str>>,
    pub(super) longest: usize,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) zxid: i64,
    /// 0, or an error code.
    pub(super) code: i32,
    pub(super) body: Reader,
}

impl Reply {
    pub(super) fn checked(self) -> Result<Self> {
        match self.code {
            0 => Ok(self),
            code => Err(failure::of(code)),
        }
    }
}

struct Request {
    kind: i32,
    body: Vec<u8>,
    reply: oneshot::Sender<Reply>,
}

#[derive(Debug)]
pub(super) struct Connection {
    requests: mpsc::Sender<Request>,
    pub(super) session: SessionKey,
    /// As the server granted it.
    pub(super) timeout: Duration,
}

impl Connection {
    /// Begins or resumes a session. Events of watches go to `events` as paths; when it is full the
    /// connection ends, so that whoever watches begins again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the session to resume has ended.
    pub(super) async fn open(
        mut stream: BoxByteStream,
        manner: &Manner,
        clock: Arc<dyn Clock>,
        events: Option<mpsc::Sender<String>>,
    ) -> Result<Self> {
        let (id, password) = match &manner.resume {
            Some(key) => (key.id, key.password.clone()),
            None => (0, Bytes::from_static(&[0; 16])),
        };
        let hello = Record::default()
            .int(0)
            .long(0)
            .int(i32::try_from(manner.timeout.as_millis()).unwrap_or(i32::MAX))
            .long(id)
            .bytes(&password)
            .flag(false);
        send(&mut stream, &hello.0).await?;
        let mut buffer = BytesMut::new();
        let mut welcome = Reader(frame::read(&mut stream, &mut buffer, 1024).await?);
        let _version = welcome.int()?;
        let timeout = u64::try_from(welcome.int()?).unwrap_or(0);
        let session = SessionKey {
            id: welcome.long()?,
            password: welcome.bytes()?,
        };
        if timeout == 0 {
            return Err(Error::not_found("the session with zookeeper has ended"));
        }
        if let Some(digest) = &manner.digest {
            let auth = Record::default()
                .int(AUTH_XID)
                .int(op::AUTH)
                .int(0)
                .text("digest")
                .text(digest);
            send(&mut stream, &auth.0).await?;
        }
        let timeout = Duration::from_millis(timeout);
        let (requests, waiting) = mpsc::channel(64);
        let driver = Driver {
            stream,
            buffer,
            waiting,
            pending: VecDeque::new(),
            events,
            longest: manner.longest,
            own: manner.own,
            timeout,
            heard: clock.now(),
            spoke: clock.now(),
            clock,
            xid: 0,
        };
        tokio::spawn(driver.run());
        Ok(Self {
            requests,
            session,
            timeout,
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Sends a request; its answer may be an error code.
    pub(super) async fn ask(&self, kind: i32, body: Record) -> Result<Reply> {
        let waiting = self.begin(kind, body).await?;
        Self::finish(waiting).await
    }

    /// Sends a request without waiting for its answer: answers come in the order of requests.
    pub(super) async fn begin(&self, kind: i32, body: Record) -> Result<oneshot::Receiver<Reply>> {
        let (reply, waiting) = oneshot::channel();
        let request = Request {
            kind,
            body: body.0,
            reply,
        };
        match self.requests.send(request).await {
            Ok(()) => Ok(waiting),
            Err(_) => Err(broken().with_operation(UNSENT)),
        }
    }

    pub(super) async fn finish(waiting: oneshot::Receiver<Reply>) -> Result<Reply> {
        waiting.await.map_err(|_| broken())
    }
}

fn broken() -> Error {
    Error::unavailable("the connection to zookeeper broke").with_backend("zookeeper")
}

/// The operation of an error that says that nothing was sent.
pub(super) const UNSENT: &str = "zookeeper.unsent";

struct Driver {
    stream: BoxByteStream,
    buffer: BytesMut,
    waiting: mpsc::Receiver<Request>,
    /// Whose answers are awaited, in order; pings have nobody.
    pending: VecDeque<(i32, oneshot::Sender<Reply>)>,
    events: Option<mpsc::Sender<String>>,
    longest: usize,
    own: bool,
    timeout: Duration,
    heard: Timestamp,
    spoke: Timestamp,
    clock: Arc<dyn Clock>,
    xid: i32,
}

impl Driver {
    async fn run(mut self) {
        if let Err(error) = self.drive().await {
            tracing::debug!(error = %error.chain(), "a connection to zookeeper ended");
        }
        if self.own {
            let close = Record::default()
                .int(self.xid.wrapping_add(1))
                .int(op::CLOSE);
            let sending = send(&mut self.stream, &close.0);
            let _ = self
                .clock
                .timeout(CLOSING, "closing a session", sending)
                .await;
        }
    }

    async fn drive(&mut self) -> Result<()> {
        loop {
            let wake = self.wake();
            tokio::select! {
                frame = frame::read(&mut self.stream, &mut self.buffer, self.longest) => {
                    self.heard = self.clock.now();
                    self.take(frame?)?;
                }
                request = self.waiting.recv(), if self.pending.len() < WINDOW => match request {
                    None => return Ok(()),
                    Some(request) => self.begin(request).await?,
                },
                () = self.clock.sleep_until(wake) => self.woken().await?,
            }
        }
    }

    /// When to ping or to give up.
    fn wake(&self) -> Timestamp {
        let silence = self.heard.after(self.timeout);
        match self.own {
            true => self.spoke.after(self.timeout / 3).min(silence),
            // A lease's connection is silent for as long as nobody renews it.
            false if self.pending.is_empty() => self.clock.now().after(self.timeout),
            false => silence,
        }
    }

    async fn woken(&mut self) -> Result<()> {
        let now = self.clock.now();
        if (self.own || !self.pending.is_empty()) && now >= self.heard.after(self.timeout) {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!("zookeeper was silent for {:?}", self.timeout),
            ));
        }
        if self.own && now >= self.spoke.after(self.timeout / 3) {
            let ping = Record::default().int(PING_XID).int(op::PING);
            self.spoke = now;
            send(&mut self.stream, &ping.0).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, request: Request) -> Result<()> {
        self.xid = self.xid.wrapping_add(1).max(1);
        let xid = self.xid;
        if self.pending.is_empty() {
            self.heard = self.heard.max(self.clock.now());
        }
        self.pending.push_back((xid, request.reply));
        self.spoke = self.clock.now();
        let mut record = Record::default().int(xid).int(request.kind);
        record.0.extend_from_slice(&request.body);
        send(&mut self.stream, &record.0).await
    }

    fn take(&mut self, frame: Bytes) -> Result<()> {
        let mut body = Reader(frame);
        let (xid, zxid, code) = (body.int()?, body.long()?, body.int()?);
        match xid {
            PING_XID => Ok(()),
            AUTH_XID if code == 0 => Ok(()),
            AUTH_XID => Err(failure::of(code)),
            EVENT_XID => {
                let (kind, _state) = (body.int()?, body.int()?);
                let path = body.text()?;
                // Events of the session itself have no kind and no path.
                match &self.events {
                    Some(events) if kind > 0 => events.try_send(path).map_err(|_| {
                        Error::new(ErrorKind::ResourceExhausted, "a watch is read too slowly")
                    }),
                    _ => Ok(()),
                }
            }
            _ => match self.pending.pop_front() {
                Some((expected, reply)) if expected == xid => {
                    // Whoever asked may have left.
                    let _ = reply.send(Reply { zxid, code, body });
                    Ok(())
                }
                _ => Err(Error::protocol("zookeeper answered out of turn")),
            },
        }
    }
}

async fn send(stream: &mut BoxByteStream, record: &[u8]) -> Result<()> {
    let sending = async {
        stream.write_all(&frame::around(record)).await?;
        stream.flush().await
    };
    sending.await.map_err(|error| broken().with_source(error))
}

const PING_XID: i32 = -2;
const AUTH_XID: i32 = -4;
const EVENT_XID: i32 = -1;

/// How many requests may be under way on a connection.
const WINDOW: usize = 256;

/// How long a session's end may take to be sent.
const CLOSING: Duration = Duration::from_secs(1);
