use std::sync::Arc;

use longshore_core::{ClockExt, Error, ExecRequest, Result, SessionId, Timestamp, WorkloadId};
use tokio::sync::{mpsc, oneshot};

use super::pool::Key;
use crate::{
    cleanup::{Cleanup, GatewayLife, Marker},
    docker::{
        context::Context,
        link::Link,
        stub::{Stub, conversation::Event, pump::Pump, session::CALL_LIMIT},
    },
};

/// A stub that waits in a container, and its stream. Dropped, the stub reads the end of its input, and
/// ends.
pub(super) struct Waiter {
    pub(super) pump: Pump,
    /// Of the engine's command, and so of the session that it becomes.
    pub(super) session: SessionId,
    trace: Trace,
}

/// Whoever wants it gives where to send it.
pub(super) type Wanted = oneshot::Sender<Waiter>;

/// The mark of what may be there: while nobody saw it end, it may be looked for.
pub(super) struct Trace {
    life: GatewayLife,
    marker: Marker,
    settled: bool,
}

impl Waiter {
    /// Has the engine start one. Nothing is heard of it yet.
    pub(super) async fn start(context: &Context, key: &Key, stub: &Stub) -> Result<Self> {
        let (api, settings) = (&context.api, &context.settings);
        let placing = context.shared.placements.place(api, &key.container, stub);
        let command = [placing.await?, "wait".to_owned()];
        let mut request = ExecRequest::new(WorkloadId::new(&*key.container)?, command).with_stdin();
        request.user.clone_from(&key.user);
        // What it becomes has a mark of its own; this one says whose it is until then.
        let marker = Marker::new(settings.life.identity(), Cleanup::Tree, &*api.random)
            .ok_or_else(|| Error::internal("a stub without a mark"))?;
        let id = api.create_exec(&request, &[marker.pair()]).await?;
        let session = SessionId::new(id.clone())?;
        let mut trace = Trace::new(&settings.life, marker);
        let stream = api.start_exec(&id, false, None).await;
        if stream.as_ref().is_err_and(|error| !error.is_retryable()) {
            trace.is_settled();
        }
        Ok(Self {
            pump: Pump::new(Link::new(stream?), Arc::clone(&api.clock)),
            session,
            trace,
        })
    }

    /// Hears from it that it waits.
    pub(super) async fn greeted(mut self, context: &Context) -> Result<Self> {
        let clock = &context.api.clock;
        let greeting = clock.timeout(CALL_LIMIT, "the stub that is to wait", self.hears());
        greeting.await??;
        Ok(self)
    }

    /// Waits for its word that it waits, having answered all that it was asked.
    pub(super) async fn hears(&mut self) -> Result<()> {
        match self.pump.converse().await? {
            Some(Event::Waiting) => Ok(()),
            Some(_) => Err(Error::protocol("the stub says that it does not wait")),
            None => {
                self.is_settled();
                Err(Error::closed("the stub has ended"))
            }
        }
    }

    /// For the session that it has become.
    pub(super) fn into_parts(mut self) -> (SessionId, Pump) {
        self.is_settled();
        (self.session, self.pump)
    }

    /// It is known to have ended, or to be a session.
    pub(super) fn is_settled(&mut self) {
        self.trace.is_settled();
    }

    /// Keeps it waiting until somebody has it, or it is lost. Given back, nobody wants it any more.
    pub(super) async fn wait(
        mut self,
        context: &Context,
        until: Timestamp,
        asked: &mut mpsc::Receiver<Wanted>,
    ) -> Option<Self> {
        let clock = &context.api.clock;
        loop {
            tokio::select! {
                biased;
                wanted = asked.recv() => match wanted {
                    // Who has left meanwhile does not have it.
                    Some(wanted) => return wanted.send(self).err(),
                    None => return Some(self),
                },
                // Before what it says, which may be much.
                () = clock.sleep_until(until) => return Some(self),
                heard = self.hears() => if let Err(error) = heard {
                    tracing::debug!(error = error.chain(), "a stub that waited is lost");
                    return None;
                },
            }
        }
    }

    /// Has it end, and sees that.
    pub(super) async fn end(mut self, context: &Context) {
        self.pump.talk.end();
        let ending = async {
            loop {
                match self.pump.converse().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        let clock = &context.api.clock;
        let ended = clock.timeout(END_LIMIT, "the end of a stub", ending).await;
        if ended.is_ok_and(|seen| seen) {
            self.is_settled();
        }
        self.pump.link.close();
    }
}

impl Trace {
    pub(super) fn new(life: &GatewayLife, marker: Marker) -> Self {
        Self {
            life: life.clone(),
            marker,
            settled: false,
        }
    }

    /// Nothing is there, or somebody else answers for it.
    pub(super) fn is_settled(&mut self) {
        self.settled = true;
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if !self.settled {
            self.life.over(&self.marker, false);
        }
    }
}

/// It has nothing to do but to leave.
const END_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
