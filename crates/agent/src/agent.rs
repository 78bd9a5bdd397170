use std::{collections::BTreeMap, sync::Arc, time::Duration};

use longshore_core::{
    Backoff, Carrier, Clock, ClockExt, Connector, Endpoint, Error, Random, Repeats, Result,
    Shutdown, StreamTarget, TunnelTransport,
};
use tokio::sync::{mpsc, watch};

use crate::{
    AgentConfig, AgentState, AgentStatus,
    forward::Services,
    session::{Output, Session},
    wire::{AgentMessage, read_message, write_message},
};

/// A node's agent: see the [crate documentation](crate).
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    transport: Arc<dyn TunnelTransport>,
    services: Arc<Services>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    status: watch::Sender<AgentStatus>,
}

/// How one session went.
struct Ended {
    error: Error,
    welcomed: bool,
    retry_after: Option<Duration>,
}

impl Agent {
    /// An agent that lends `engine` to the planes of `config`. [`run`](Self::run) starts it.
    pub fn new(
        config: AgentConfig,
        transport: Arc<dyn TunnelTransport>,
        engine: Arc<dyn Connector>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let services = Arc::new(Services::new(
            engine,
            config.services.clone(),
            config.gate.clone(),
            Arc::clone(&clock),
            config.max_streams,
        ));
        let status = watch::Sender::new(AgentStatus::new());
        Self {
            config,
            transport,
            services,
            clock,
            random,
            status,
        }
    }

    /// What the agent says of itself, now and as it changes.
    pub fn status(&self) -> watch::Receiver<AgentStatus> {
        self.status.subscribe()
    }

    /// Connects, and connects again whenever the connection is lost, until shutdown. Then says
    /// goodbye to the plane.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) if no plane is given.
    /// Lost connections, refusals and unreachable planes are not errors: they show in
    /// [`status`](Self::status) and in the log, and are tried again for ever.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection without a goodbye; the plane notices by silence.
    pub async fn run(&self, shutdown: &Shutdown) -> Result<()> {
        if self.config.planes.is_empty() {
            return Err(Error::invalid(
                "the agent was given no control plane to dial",
            ));
        }
        let (first, longest) = self.config.backoff;
        let mut backoff = Backoff::new(first, longest);
        let mut epoch = 0;
        let mut planes = self.config.planes.iter().cycle();
        let mut said: BTreeMap<&Endpoint, Repeats> = BTreeMap::new();
        while let Some(plane) = planes.next().filter(|_| !shutdown.is_requested()) {
            epoch = self.clock.now().as_micros().max(epoch + 1);
            self.status
                .send_modify(|status| status.state = AgentState::Connecting);
            let Some(ended) = self.session(plane, epoch, shutdown).await else {
                break;
            };
            let repeats = said.entry(plane).or_default();
            if ended.welcomed {
                backoff.reset();
                repeats.reset();
            }
            let delay = backoff
                .next_delay(&*self.random)
                .max(ended.retry_after.unwrap_or_default());
            let error = ended.error.chain();
            match repeats.say(&error, self.clock.now()) {
                Some(untold) => tracing::warn!(
                    %plane, error, ?delay, untold,
                    "not connected to the control plane; trying again"
                ),
                None => tracing::debug!(%plane, error, ?delay, "still not connected"),
            }
            let until = self.clock.now().after(delay);
            self.status.send_modify(|status| {
                status.state = AgentState::Waiting { until };
                status.last_error = Some(error);
            });
            tokio::select! {
                () = self.clock.sleep_until(until) => {}
                () = shutdown.requested() => {}
            }
        }
        self.status
            .send_modify(|status| status.state = AgentState::Stopped);
        Ok(())
    }

    /// One session, from dialling to its end. `None`: shutdown was asked for.
    async fn session(&self, plane: &Endpoint, epoch: u64, shutdown: &Shutdown) -> Option<Ended> {
        let fail = |error| {
            Some(Ended {
                error,
                welcomed: false,
                retry_after: None,
            })
        };
        let dial = self.clock.timeout(
            self.config.connect_limit,
            "dialling the control plane",
            self.transport.dial(plane),
        );
        let carrier = tokio::select! {
            dialled = dial => match dialled.and_then(|carrier| carrier) {
                Ok(carrier) => carrier,
                Err(error) => return fail(naming(error, plane)),
            },
            () = shutdown.requested() => return None,
        };
        // Streams of this session end with it, also when this future is dropped.
        let tasks = shutdown.child();
        let _guard = StopOnDrop(&tasks);
        let result = self
            .converse(&*carrier, plane, epoch, &tasks, shutdown)
            .await;
        match result {
            Some(ended) => {
                carrier.close(&ended.error.to_string()).await;
                Some(ended)
            }
            None => {
                carrier.close("the agent shuts down").await;
                None
            }
        }
    }

    async fn converse(
        &self,
        carrier: &dyn Carrier,
        plane: &Endpoint,
        epoch: u64,
        tasks: &Shutdown,
        shutdown: &Shutdown,
    ) -> Option<Ended> {
        let mut welcomed = false;
        let control = self.clock.timeout(
            self.config.connect_limit,
            "opening the control channel",
            carrier.open(&StreamTarget::Control),
        );
        let stream = match control.await.and_then(|opened| opened) {
            Ok(stream) => stream,
            Err(error) => {
                return Some(Ended {
                    error,
                    welcomed,
                    retry_after: None,
                });
            }
        };
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (messages, mut inbox) = mpsc::channel(16);
        tasks.spawn_until(async move {
            loop {
                let message = read_message(&mut reader).await;
                let over = message.is_err();
                if messages.send(message).await.is_err() || over {
                    break;
                }
            }
        });
        let name = self.config.name.as_ref();
        let name = name.map_or("", |name| name.as_str());
        let mut session = Session::new(
            name,
            &self.config.labels,
            epoch,
            self.config.connect_limit,
            self.clock.now(),
        );
        let mut engine_error = self.services.engine_error();
        session.engine(engine_error.borrow_and_update().clone());
        loop {
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Send(message) => {
                        let sent = self.clock.timeout(
                            self.config.connect_limit,
                            "writing to the control channel",
                            write_message(&mut writer, &message),
                        );
                        if let Err(error) = sent.await.and_then(|sent| sent) {
                            return Some(Ended {
                                error,
                                welcomed,
                                retry_after: None,
                            });
                        }
                    }
                    Output::Welcomed => {
                        welcomed = true;
                        tracing::info!(%plane, epoch, "connected to the control plane");
                        self.status.send_modify(|status| {
                            status.state = AgentState::Connected {
                                plane: plane.clone(),
                                epoch,
                            };
                            status.last_error = None;
                            status.sessions += 1;
                        });
                    }
                    Output::End(end) => {
                        let error = Error::closed(end.reason);
                        return Some(Ended {
                            error,
                            welcomed,
                            retry_after: end.retry_after,
                        });
                    }
                }
            }
            let deadline = session.next_deadline();
            tokio::select! {
                biased;
                () = shutdown.requested() => {
                    let bye = AgentMessage::Bye { reason: "the agent shuts down".into() };
                    let goodbye = write_message(&mut writer, &bye);
                    let said = self.clock.timeout(GOODBYE, "saying goodbye", goodbye).await;
                    if said.is_ok_and(|said| said.is_ok()) {
                        // The plane closes the tunnel when it has read this. A program that exits
                        // before looks like a broken connection.
                        let heard = carrier.closed();
                        let _ = self.clock.timeout(GOODBYE, "the plane's goodbye", heard).await;
                    }
                    return None;
                }
                message = inbox.recv() => match message {
                    Some(Ok(message)) => session.handle(message, self.clock.now()),
                    Some(Err(error)) => {
                        let reason = carrier.closed();
                        let reason = self.clock.timeout(GOODBYE, "closing", reason).await;
                        let error = match reason {
                            Ok(reason) => Error::closed(format!("the tunnel ended: {reason}")),
                            Err(_) => error,
                        };
                        return Some(Ended { error, welcomed, retry_after: None });
                    }
                    None => {
                        let error = Error::closed("the control channel ended");
                        return Some(Ended { error, welcomed, retry_after: None });
                    }
                },
                incoming = carrier.accept() => match incoming {
                    Ok(incoming) => {
                        let services = Arc::clone(&self.services);
                        let status = self.status.clone();
                        tasks.spawn_until(async move {
                            services.forward(incoming).await;
                            status.send_modify(|s| s.open_streams = services.open_streams());
                        });
                        let open = self.services.open_streams();
                        self.status.send_modify(|status| status.open_streams = open);
                    }
                    Err(error) => return Some(Ended { error, welcomed, retry_after: None }),
                },
                Ok(()) = engine_error.changed() => {
                    session.engine(engine_error.borrow_and_update().clone());
                }
                () = wait_for(&*self.clock, deadline) => session.tick(self.clock.now()),
            }
        }
    }
}

/// The error with the plane in it, if it is not there already.
fn naming(error: Error, plane: &Endpoint) -> Error {
    if error.chain().contains(&plane.to_string()) {
        return error;
    }
    error.with_context("plane", plane)
}

struct StopOnDrop<'a>(&'a Shutdown);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

async fn wait_for(clock: &dyn Clock, deadline: Option<longshore_core::Timestamp>) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
