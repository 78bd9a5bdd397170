use std::time::Duration;

use futures::{SinkExt, StreamExt};
use longshore_core::{
    AttachRequest, Error, ErrorKind, ExecRequest, Result, SessionId, TerminalSize,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Hello, Shared, Stranger,
    admit::{Wish, action},
    pump::Pump,
    refill::Refills,
    replay::Pace,
    route::{LainRoute, ReplayRequest, Route},
    socket::{self, Socket},
};
use crate::{
    access::{AccessRequest, Credentials, Place},
    protocol::{
        Outgoing,
        lain::{LainDecoder, LainEncoder, LainFraming, LainText, Visit, WebHello},
    },
    record::EventStream,
    session::{Attachment, Launch, RecordingStream},
};

impl Shared {
    pub(super) async fn serve_lain(&self, hello: Hello, mut socket: Socket, stranger: Stranger) {
        let (visit, is_web) = match &hello.route {
            Route::Lain(LainRoute::Enter { is_web }) => (Visit::Enter, *is_web),
            Route::Lain(LainRoute::Attach { is_web }) => (Visit::Attach, *is_web),
            Route::Lain(LainRoute::Replay(wanted)) => {
                let wanted = wanted.clone();
                return self.replay_lain(hello, &wanted, socket, stranger).await;
            }
            _ => return,
        };
        let framing = if is_web {
            LainFraming::Json
        } else {
            LainFraming::Protobuf
        };
        let mut encoder =
            LainEncoder::new(framing, visit).with_exit_fields(self.options.lain_exit_fields);
        let asked = match is_web {
            true => self.web_hello(&mut socket, &stranger, &hello).await,
            false => Ok(header_hello(&hello)),
        };
        let opened = match asked {
            Ok(Some((credentials, place))) => {
                let term = hello.lain.as_ref().and_then(|(_, term)| term.as_deref());
                let term = term.unwrap_or("xterm-256color");
                let opening = self.open_lain(visit, credentials, place, term);
                stranger.is_asked_about(opening).await
            }
            Ok(None) => return,
            Err(error) if error.kind() == ErrorKind::ResourceExhausted => Err(error),
            Err(error) => {
                Err(Error::new(ErrorKind::PermissionDenied, "no hello").with_source(error))
            }
        };
        match opened {
            Ok(attachment) => {
                stranger.let_in();
                let pump = Pump {
                    shared: self,
                    attachment: &attachment,
                    pings: true,
                    onlooker: None,
                    refills: Refills::Never,
                };
                let decoder = Box::new(LainDecoder::new(framing));
                pump.run(socket, decoder, Box::new(encoder), Vec::new())
                    .await;
            }
            Err(error) => {
                let text = match error.kind() {
                    ErrorKind::PermissionDenied => LainText::NotAuthorized,
                    ErrorKind::NotFound => LainText::NotFound,
                    _ => LainText::failed(visit),
                };
                tracing::debug!(error = error.chain(), "a LAIN session did not come to be");
                let mut out = Outgoing::default();
                encoder.close(text, &mut out);
                self.say_last(socket, out).await;
            }
        }
    }

    async fn web_hello(
        &self,
        socket: &mut Socket,
        stranger: &Stranger,
        hello: &Hello,
    ) -> Result<Option<(Credentials, Place)>> {
        let message = match self.first_message(socket, stranger).await? {
            None => return Ok(None),
            Some(message) => message.into_data(),
        };
        let said = WebHello::parse(&message)?;
        let credentials = Credentials::new(Some(said.access_token))
            .with_identity(hello.credentials.identity.clone())
            .with_source(hello.credentials.source);
        let place = Place::Lain {
            app: said.app_name,
            proc: said.proc_name,
            instance: said.instance_no,
        };
        Ok(Some((credentials, place)))
    }

    async fn open_lain(
        &self,
        visit: Visit,
        credentials: Credentials,
        place: Place,
        term: &str,
    ) -> Result<Attachment> {
        if let Place::Lain { app, .. } = &place
            && self.options.closed_apps.contains(app)
        {
            let closed = "nobody enters this application";
            return Err(Error::new(ErrorKind::PermissionDenied, closed));
        }
        let enters = visit == Visit::Enter;
        let term = longshore_core::printable(term, 64).into_owned();
        self.open(Wish {
            request: AccessRequest::new(credentials, action(enters), place),
            operation: if enters { "exec.open" } else { "exec.attach" },
            // Its clients can't come back.
            options: self.options.session.with_grace(Duration::ZERO),
            launch: Box::new(move |workload| match enters {
                true => Launch::shell(
                    ExecRequest::new(workload, [""; 0])
                        .with_tty(TerminalSize::default())
                        .with_env(format!("TERM={term}")),
                ),
                false => Launch::Attach(AttachRequest::new(workload)),
            }),
        })
        .await
    }

    async fn replay_lain(
        &self,
        hello: Hello,
        wanted: &ReplayRequest,
        socket: Socket,
        stranger: Stranger,
    ) {
        let mut encoder = LainEncoder::new(LainFraming::Json, Visit::Enter);
        let place = Place::Session(wanted.session.clone());
        let request = AccessRequest::new(hello.credentials, action(false), place);
        let opened = async {
            // First: what can't be an id does not come to be on the record as one.
            let session = SessionId::new(wanted.session.clone())?;
            let onlooker = self.admit_onlooker(request, "exec.replay").await?;
            let none = || Error::not_found("there are no recordings here");
            let recording = match wanted.format.as_deref() {
                Some("asciicast") => {
                    let records = self.records.as_ref().ok_or_else(none)?;
                    Recording::Whole(records.events(&session).await?)
                }
                Some(_) => return Err(Error::unsupported("the only other form is asciicast")),
                None => {
                    let pace = Pace::parse(wanted.speed.as_deref(), wanted.idle.as_deref())?;
                    let recordings = self.recordings.as_ref().ok_or_else(none)?;
                    Recording::Paced(recordings.open(&session).await?, pace)
                }
            };
            Ok((recording, onlooker))
        };
        let opened = stranger.is_asked_about(opened).await;
        let text = match opened {
            Ok((recording, onlooker)) => {
                stranger.let_in();
                return match recording {
                    Recording::Whole(events) => self.export(socket, events, &onlooker).await,
                    Recording::Paced(recording, pace) => {
                        self.replay(socket, recording, pace, encoder, &onlooker)
                            .await;
                    }
                };
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => LainText::NotAuthorized,
            Err(_) => LainText::ReplayFailed,
        };
        let mut out = Outgoing::default();
        encoder.close(text, &mut out);
        self.say_last(socket, out).await;
    }

    /// Says the last words and closes.
    pub(super) async fn say_last(&self, socket: Socket, out: Outgoing) {
        let (mut sending, mut receiving) = socket.split();
        let clock = &*self.clock;
        let limit = self.options.close_limit;
        let said = async {
            for message in out.messages {
                sending.send(Message::Binary(message)).await?;
            }
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        };
        let said = longshore_core::ClockExt::timeout(clock, limit, "the last message", said).await;
        if let (Ok(Ok(())), Some(closing)) = (said, out.closing) {
            socket::close(&mut sending, Some(&mut receiving), closing, limit, clock).await;
        }
    }
}

/// A recording that somebody may see.
enum Recording {
    /// All of it at once, in another form.
    Whole(EventStream),
    /// In its own time, or at another pace.
    Paced(RecordingStream, Pace),
}

fn header_hello(hello: &Hello) -> Option<(Credentials, Place)> {
    let (place, _) = hello.lain.as_ref()?;
    Some((hello.credentials.clone(), place.clone()))
}
