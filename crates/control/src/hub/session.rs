use std::{pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{
    BoxByteStream, Carrier, ClockExt, Error, ErrorKind, Labels, NodeId, Result, StreamTarget,
    is_printable, printable,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Shared, TunnelSession,
    frame::{self, EngineStatus, FromAgent, Hello, ToAgent, VERSION},
    greeting::Greeting,
    pace::Pace,
    table::Verdict,
};

/// Runs one session from hello to its end. Its place is given back after the welcome.
pub(super) async fn run(
    shared: &Arc<Shared>,
    carrier: Arc<dyn Carrier>,
    place: Option<(Greeting, OwnedSemaphorePermit)>,
) -> Result<()> {
    let limit = shared.options.hello_timeout;
    let greeted = shared
        .clock
        .timeout(limit, "the agent's hello", greet(shared, &carrier))
        .await
        .and_then(|greeted| greeted);
    let (generation, stream) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => {
            carrier.close(error.message()).await;
            return Err(error.with_context("node", &carrier.peer().node));
        }
    };
    drop(place);
    let mut session = Session {
        shared: Arc::clone(shared),
        carrier: Arc::clone(&carrier),
        node: carrier.peer().node.clone(),
        generation,
        reason: "its session was given up".to_owned(),
    };
    shared.changed();
    session.reason = printable(&talk(&session, stream).await, TEXT_SHOWN).into_owned();
    carrier.close(&session.reason).await;
    Ok(())
}

/// A welcomed session. However it ends, the table hears of it.
struct Session {
    shared: Arc<Shared>,
    carrier: Arc<dyn Carrier>,
    node: NodeId,
    generation: u64,
    reason: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        let ended = self
            .shared
            .lock()
            .end(&self.node, self.generation, &self.reason, now);
        if ended {
            tracing::info!(node = %self.node, reason = %self.reason, "a node's session ended");
            self.shared.changed();
        }
    }
}

async fn greet(shared: &Shared, carrier: &Arc<dyn Carrier>) -> Result<(u64, BoxByteStream)> {
    let incoming = carrier.accept().await?;
    if incoming.target != StreamTarget::Control {
        return Err(Error::protocol(format!(
            "the first stream of a node must be its control channel, not {}",
            incoming.target
        )));
    }
    let mut stream = incoming.stream;
    let FromAgent::Hello(hello) = frame::read(&mut stream).await? else {
        return Err(Error::protocol("a node must begin with hello"));
    };
    match welcome(shared, carrier, &hello) {
        Ok((generation, replaced)) => {
            if let Some(old) = replaced {
                old.close(&format!(
                    "replaced by a newer session with epoch {}",
                    hello.epoch
                ))
                .await;
            }
            let welcome = ToAgent::Welcome {
                version: VERSION,
                epoch: hello.epoch,
                heartbeat_ms: u64::try_from(shared.options.heartbeat.as_millis())
                    .unwrap_or(u64::MAX),
            };
            if let Err(error) = frame::write(&mut stream, &welcome).await {
                let now = shared.clock.now();
                let node = &carrier.peer().node;
                shared.lock().end(node, generation, error.message(), now);
                return Err(error);
            }
            Ok((generation, stream))
        }
        Err(error) => {
            let refused = ToAgent::Refused {
                reason: error.message().to_owned(),
                retry_after_ms: RETRY_AFTER_MS,
            };
            frame::write(&mut stream, &refused).await?;
            // Closing the carrier resets its streams: the agent gets a moment to read why.
            let closed = shared
                .clock
                .timeout(READ_REFUSAL, "the refusal", carrier.closed());
            let _ = closed.await;
            Err(error)
        }
    }
}

fn welcome(
    shared: &Shared,
    carrier: &Arc<dyn Carrier>,
    hello: &Hello,
) -> Result<(u64, Option<Arc<dyn Carrier>>)> {
    if hello.version != VERSION {
        return Err(Error::unsupported(format!(
            "the agent speaks version {} of the hello protocol, this control plane {VERSION}",
            hello.version
        )));
    }
    // Agents count epochs by their clocks. One far ahead would keep the node's genuine agent out.
    let newest = shared.clock.now().after(MOST_AHEAD).as_micros();
    if hello.epoch > newest {
        return Err(Error::invalid(format!(
            "the epoch {} of the agent is more than a day ahead of this control plane's clock; check \
             the clocks of both machines",
            hello.epoch
        )));
    }
    let peer = carrier.peer();
    if let Some(claimed) = hello
        .node
        .as_deref()
        .filter(|claimed| *claimed != peer.node.as_str())
    {
        return Err(Error::new(
            ErrorKind::Unauthenticated,
            format!(
                "the agent claims to be {:?}, its certificate says {:?}",
                claimed.chars().take(128).collect::<String>(),
                peer.node.as_str()
            ),
        ));
    }
    let session = TunnelSession {
        node: peer.node.clone(),
        name: printable(&hello.name, NAME_SHOWN).into_owned(),
        epoch: hello.epoch,
        agent: printable(&hello.agent, NAME_SHOWN).into_owned(),
        labels: usable_labels(&peer.node, &hello.labels),
        remote: peer.address.clone(),
        live: true,
        since: shared.clock.now(),
        ended: None,
        engine_error: None,
        round_trip: None,
        generation: 0,
    };
    match shared.lock().hello(session, Arc::clone(carrier)) {
        Verdict::Welcome {
            generation,
            replaced,
        } => Ok((generation, replaced)),
        Verdict::Refused(reason) => Err(Error::new(ErrorKind::Stale, reason)),
    }
}

/// The labels without those that could steer a terminal or forge a line of a log.
fn usable_labels(node: &NodeId, told: &Labels) -> Labels {
    let usable = told
        .iter()
        .filter(|(key, value)| !key.is_empty() && is_printable(key) && is_printable(value));
    let labels: Labels = usable
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let skipped = told.iter().count() - labels.iter().count();
    if skipped > 0 {
        tracing::warn!(%node, skipped, "labels of its agent are malformed: left out");
    }
    labels
}

/// Beats both ways until one side ends it, and says why it ended.
async fn talk(session: &Session, stream: BoxByteStream) -> String {
    let (shared, clock) = (&session.shared, &session.shared.clock);
    let heartbeat = shared.options.heartbeat;
    let (reader, mut writer) = tokio::io::split(stream);
    let mut frames = pin!(frame::frames(reader));
    let mut heard = clock.now();
    let mut next_beat = heard.after(heartbeat);
    let mut pace = Pace::new(heard);
    loop {
        let silent = heard.after(heartbeat * MISSED_BEATS);
        tokio::select! {
            said = frames.next() => {
                heard = clock.now();
                if !pace.take(heard) {
                    return format!("its agent said more than {} things a second", Pace::RATE);
                }
                match said {
                    Some(Ok(FromAgent::Beat)) => {}
                    Some(Ok(FromAgent::Status { engine, error })) => {
                        let error = match engine {
                            EngineStatus::Up => None,
                            EngineStatus::Down => {
                                let text = error.as_deref().unwrap_or("it is down");
                                Some(printable(text, TEXT_SHOWN).into_owned())
                            }
                        };
                        let news = shared.lock().engine(&session.node, session.generation, error);
                        if news {
                            shared.changed();
                        }
                    }
                    Some(Ok(FromAgent::Bye { reason })) => {
                        let reason = printable(&reason, TEXT_SHOWN);
                        return format!("its agent said bye: {reason}");
                    }
                    Some(Ok(FromAgent::Hello(_))) => return "its agent said hello twice".to_owned(),
                    // The channel ends with its carrier, which knows better why.
                    Some(Err(error)) => {
                        let closed = session.carrier.closed();
                        return match clock.timeout(CLOSE_NEWS, "the end", closed).await {
                            Ok(reason) => reason.to_string(),
                            Err(_) => error.message().to_owned(),
                        };
                    }
                    None => return "the control channel ended".to_owned(),
                }
            }
            reason = session.carrier.closed() => return reason.to_string(),
            // A node opens no other streams to the control plane: dropping one refuses it.
            refused = session.carrier.accept() => match refused {
                Ok(stream) => tracing::debug!(node = %session.node, target = %stream.target, "refused a stream"),
                Err(_) => return session.carrier.closed().await.to_string(),
            },
            () = clock.sleep_until(next_beat) => {
                next_beat = clock.now().after(heartbeat);
                let sent = clock
                    .timeout(heartbeat, "a beat", frame::write(&mut writer, &ToAgent::Beat))
                    .await
                    .and_then(|sent| sent);
                if let Err(error) = sent {
                    return error.message().to_owned();
                }
            }
            () = clock.sleep_until(silent) => {
                return format!("its agent was silent for {:?}", heartbeat * MISSED_BEATS);
            }
        }
    }
}

/// After so many heartbeats without a word a session is over.
const MISSED_BEATS: u32 = 3;
/// How long the news of a carrier's end may take behind the end of its control channel.
const CLOSE_NEWS: Duration = Duration::from_millis(200);
/// How long a refused agent may take to read why.
const READ_REFUSAL: Duration = Duration::from_secs(1);
/// When a refused agent should try again.
const RETRY_AFTER_MS: u64 = 5000;
/// More of an agent's text is not kept.
const TEXT_SHOWN: usize = 1024;
/// Nor more of a name.
const NAME_SHOWN: usize = 253;
/// So far ahead an agent's clock may be.
const MOST_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
