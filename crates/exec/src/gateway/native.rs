use std::sync::Arc;

use futures::StreamExt;
use longshore_core::{
    AttachRequest, AuditOutcome, ClockExt, Error, ErrorKind, ExecRequest, Labels, Result,
    SessionId, TerminalSize, WorkloadId,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Hello, Shared, Stranger,
    admit::{Onlooker, Wish, action},
    pump::Pump,
    refill::Refills,
    socket::{self, Socket},
};
use crate::{
    access::{AccessRequest, Credentials, Place},
    protocol::{
        Closing,
        native::{ClientFrame, NativeDecoder, NativeEncoder, Open, OpenMode, Resume, ready_frame},
    },
    session::{Attachment, Launch, Recorder, Role},
};

impl Shared {
    pub(super) async fn serve_native(&self, hello: Hello, mut socket: Socket, stranger: Stranger) {
        let (mut text, mut packs, mut people) = (false, false, false);
        let joined = match self.first(&mut socket, &stranger).await {
            Ok(Some(frame)) => {
                (text, packs, people) = match &frame {
                    ClientFrame::Open(open) => (open.text, open.compress, open.people),
                    ClientFrame::Resume(back) => (back.text, back.compress, back.people),
                    _ => (false, false, false),
                };
                packs &= self.options.compression && cfg!(feature = "compression");
                let joining = self.join(frame, hello.credentials);
                stranger.is_asked_about(joining).await
            }
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match joined {
            Ok(Joined {
                attachment,
                want,
                onlooker,
            }) => {
                stranger.let_in();
                let ready = ready_frame(attachment.ready(), packs).encode();
                let refills = match (attachment.takes_snapshots(), &onlooker) {
                    // Who draws screens needs no more.
                    (true, _) => Refills::Never,
                    (false, Some(_)) => Refills::Once,
                    (false, None) => Refills::Always,
                };
                let attachment = match &self.records {
                    Some(records) if refills == Refills::Always => {
                        attachment.with_record(Arc::clone(records) as Arc<dyn Recorder>)
                    }
                    _ => attachment,
                };
                let attachment = match people {
                    true => attachment.with_people(),
                    false => attachment,
                };
                let pump = Pump {
                    shared: self,
                    attachment: &attachment,
                    pings: true,
                    onlooker: onlooker.as_ref(),
                    refills,
                };
                let encoder = NativeEncoder::new(want).with_text(text);
                #[cfg(feature = "compression")]
                let encoder = encoder.with_compression(packs);
                let encoder = Box::new(encoder);
                pump.run(socket, Box::new(NativeDecoder), encoder, vec![ready])
                    .await;
                if let Some(onlooker) = onlooker {
                    self.leaves(attachment, &onlooker).await;
                }
            }
            Err(error) => {
                let closing = Closing::new(code(&error), error.to_string());
                let (mut sending, mut receiving) = socket.split();
                let limit = self.options.close_limit;
                let clock = &*self.clock;
                socket::close(&mut sending, Some(&mut receiving), closing, limit, clock).await;
            }
        }
    }

    /// The first frame; `None` when the connection ends before.
    async fn first(&self, socket: &mut Socket, stranger: &Stranger) -> Result<Option<ClientFrame>> {
        match self.first_message(socket, stranger).await? {
            None => Ok(None),
            Some(Message::Binary(bytes)) => ClientFrame::decode(bytes).map(Some),
            Some(_) => Err(Error::protocol("frames are binary messages")),
        }
    }

    /// The first data message; `None` when the connection ends before.
    pub(super) async fn first_message(
        &self,
        socket: &mut Socket,
        stranger: &Stranger,
    ) -> Result<Option<Message>> {
        let most = self.options.first_message_size;
        let first = async {
            loop {
                match socket.next().await {
                    Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => {
                        return Ok(Some(message));
                    }
                    Some(Ok(Message::Close(_))) | None => return Ok(None),
                    Some(Ok(_)) => {}
                    Some(Err(_)) if stranger.bound.is_exceeded() => {
                        return Err(Error::protocol(format!(
                            "the first message has more than {most} bytes"
                        )));
                    }
                    Some(Err(error)) => match socket::closing_for(&error) {
                        Some(closing) => return Err(Error::protocol(closing.reason)),
                        None => return Ok(None),
                    },
                }
            }
        };
        let limit = self.options.first_message;
        let first = self.clock.timeout(limit, "the first message", first);
        stranger
            .unless_evicted(async { first.await.and_then(|first| first) })
            .await
    }

    async fn join(&self, frame: ClientFrame, known: Credentials) -> Result<Joined> {
        match frame {
            ClientFrame::Open(open) => self.open_native(*open, known).await,
            ClientFrame::Resume(resume) => self.resume_native(resume).await,
            _ => Err(Error::protocol("the first frame is OPEN or RESUME")),
        }
    }

    async fn open_native(&self, open: Open, known: Credentials) -> Result<Joined> {
        let token = open.token.clone().or(known.token);
        let credentials = Credentials::new(token)
            .with_identity(known.identity)
            .with_source(known.source);
        if open.cleanup.is_some() && open.mode != OpenMode::Exec {
            return Err(Error::invalid(
                "cleanup is for commands: whoever attaches or looks on leaves the process alone",
            ));
        }
        let looks_on = match open.mode {
            OpenMode::Watch => Some(Role::Watcher),
            OpenMode::Approve => Some(Role::Approver),
            _ => None,
        };
        if let Some(role) = looks_on {
            // First: what can't be an id does not come to be on the record as one.
            let session = SessionId::new(open.target.clone())?;
            let request = AccessRequest::new(
                credentials,
                action(role == Role::Approver),
                Place::Session(open.target),
            );
            let onlooker = self.admit_onlooker(request, "exec.watch").await?;
            let attachment = match role {
                Role::Watcher => self.hub.look_as(&session, onlooker.who())?,
                role => self.hub.watch_as(&session, role, onlooker.who())?,
            };
            let attachment = with_snapshots(attachment, open.snapshot);
            let labels = Labels::new()
                .with("viewer", attachment.id().number().to_string())
                .with(
                    "mode",
                    if role == Role::Watcher {
                        "watch"
                    } else {
                        "approve"
                    },
                );
            let (session, who) = (&attachment.ready().session, Some(onlooker.who()));
            self.record_change(session, who, "exec.watch", labels, AuditOutcome::Done)
                .await?;
            return Ok(Joined {
                want: attachment.ready().base,
                attachment,
                onlooker: Some(onlooker),
            });
        }
        let attaches = open.mode == OpenMode::Attach;
        let place = Place::Container(open.target.clone());
        let request = AccessRequest::new(credentials, action(!attaches || open.stdin), place)
            .with_command(open.argv.clone())
            .with_surroundings(open.env.clone(), open.dir.clone(), open.user.clone())
            .with_cleanup(open.cleanup);
        let mut options = self.options.session;
        if open.ephemeral {
            options = options.with_grace(std::time::Duration::ZERO);
        }
        let operation = if attaches { "exec.attach" } else { "exec.open" };
        let snapshots = open.snapshot;
        let launch = Box::new(move |workload| launch(open, workload));
        let wish = Wish {
            request,
            operation,
            options,
            launch,
        };
        let attachment = self.open(wish).await?;
        Ok(Joined {
            attachment: with_snapshots(attachment, snapshots),
            want: 0,
            onlooker: None,
        })
    }

    /// Somebody who looked on leaves. With that the right to write goes back, where it had been granted.
    async fn leaves(&self, attachment: Attachment, onlooker: &Onlooker) {
        let session = attachment.ready().session.clone();
        let labels = Labels::new().with("viewer", attachment.id().number().to_string());
        let writes = attachment.is_heir();
        drop(attachment);
        if writes {
            // A failure is in the log; it has happened.
            let who = Some(onlooker.who());
            let _ = self
                .record_change(&session, who, "exec.give-back", labels, AuditOutcome::Done)
                .await;
        }
    }

    async fn resume_native(&self, resume: Resume) -> Result<Joined> {
        let session = SessionId::new(resume.session)?;
        self.hub.check_secret(&session, &resume.secret)?;
        // Whoever lost their leave while away does not come back in, and throws nobody out.
        if let Some(asked) = self.hub.ask_again(&session) {
            let limit = self.options.admit_limit;
            let answer = self.clock.timeout(limit, "access control", asked).await;
            if let Err(error) = answer.and_then(|answer| answer) {
                let outcome = AuditOutcome::Denied(error.to_string());
                self.record_resume(&session, outcome).await;
                return Err(
                    Error::new(ErrorKind::PermissionDenied, "not allowed").with_source(error)
                );
            }
        }
        let attachment = self.hub.resume(&session, &resume.secret, resume.want)?;
        self.record_resume(&session, AuditOutcome::Done).await;
        Ok(Joined {
            attachment: with_snapshots(attachment, resume.snapshot),
            want: resume.want,
            onlooker: None,
        })
    }
}

/// A client that is in.
struct Joined {
    attachment: Attachment,
    /// Where its output begins.
    want: u64,
    /// Set where the session is somebody else's.
    onlooker: Option<Onlooker>,
}

fn with_snapshots(attachment: Attachment, takes: bool) -> Attachment {
    match takes {
        true => attachment.with_snapshots(),
        false => attachment,
    }
}

fn launch(open: Open, workload: WorkloadId) -> Launch {
    if open.mode == OpenMode::Attach {
        let mut request = AttachRequest::new(workload);
        (request.stdin, request.backlog) = (open.stdin, open.backlog);
        return Launch::Attach(request);
    }
    let is_shell = open.argv.is_empty();
    let mut request = ExecRequest::new(workload, open.argv);
    if open.tty {
        let size = match (open.cols, open.rows) {
            (0, _) | (_, 0) => TerminalSize::default(),
            (columns, rows) => TerminalSize::new(columns, rows),
        };
        request = request.with_tty(size);
        if !open.term.is_empty() {
            request = request.with_env(format!("TERM={}", open.term));
        }
    }
    request.stdin = open.stdin;
    request.env.extend(open.env);
    request.working_dir = open.dir;
    request.user = open.user;
    request.cleanup = open.cleanup;
    match is_shell {
        true => Launch::shell(request),
        false => Launch::Exec(request),
    }
}

/// The close code for a session that does not come to be.
fn code(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => 4003,
        ErrorKind::NotFound | ErrorKind::Closed => 4004,
        ErrorKind::ResourceExhausted => 4029,
        ErrorKind::Protocol | ErrorKind::InvalidInput | ErrorKind::Timeout => 4000,
        _ => 1011,
    }
}
