use std::{sync::Arc, time::Duration};

use longshore_core::{
    Backoff, ClockExt, Engine, EngineEvent, Error, NodeHealth, Result, WorkloadId,
};

use super::{Done, Driver, ImageLook};
use crate::{
    ClusterEvent,
    cluster::SlotId,
    node::{
        jobs,
        lifecycle::Input,
        stream::{Consequence, consequence},
    },
    plane::Inner,
};

/// Following an engine's events.
impl Driver {
    pub(super) fn event(&mut self, event: Option<Result<EngineEvent>>) {
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return self.stream_ended(&error.chain()),
            None => return self.stream_ended("it was closed"),
        };
        self.reopen.reset();
        if !self.resume.is_new(&event) {
            return;
        }
        let inner = Arc::clone(&self.inner);
        let slot = self.slot;
        let id = WorkloadId::new(event.actor.as_str()).ok();
        let name = {
            let mut state = inner.cluster.lock();
            let look = state.begin_look();
            let node = state.view(slot).map(|view| view.reference());
            if let (Consequence::Gone, Some(id)) = (consequence(&event), &id) {
                state.remove(slot, id, look);
            }
            node
        };
        match (consequence(&event), id) {
            (Consequence::Inspect, Some(id)) => self.queue.add(id),
            (Consequence::Gone, Some(id)) => self.queue.forget(&id),
            (Consequence::Images, ..) => self.look_at_images(),
            (Consequence::Specs, ..) => self.input(Input::LookAgain { specs: true }),
            _ => {}
        }
        if let Some(node) = name {
            inner.events.push(ClusterEvent::Engine { node, event });
        }
    }

    pub(super) fn stream_ended(&mut self, why: &str) {
        tracing::debug!(node = %self.address, why, "the event stream ended");
        self.events = None;
        let now = self.inner.clock.now();
        let wait = self.reopen.next_delay(&*self.inner.random);
        self.reopen_at = Some(now.after(wait));
        self.input(Input::StreamLost);
    }

    /// Opens the event stream again when it is time, and then looks at everything once: whatever
    /// happened meanwhile is seen, even if the engine forgot to tell.
    pub(super) fn keep_watching(&mut self) {
        if self.life.health() != NodeHealth::Healthy {
            self.events = None;
            self.reopen_at = None;
            return;
        }
        let now = self.inner.clock.now();
        let waiting = self.reopen_at.is_some_and(|at| at > now);
        if self.events.is_some() || self.opening || waiting {
            return;
        }
        let Some(engine) = self.engine.clone() else {
            return;
        };
        let resumed = self.reopen_at.take().is_some();
        self.opening = true;
        let (inner, since) = (Arc::clone(&self.inner), self.resume.since());
        self.job(async move {
            let limit = inner.options.call_timeout;
            let opened = inner
                .clock
                .timeout(limit, "opening the event stream", engine.events(since))
                .await;
            Done::Opened(opened.and_then(|opened| opened))
        });
        if resumed {
            self.input(Input::LookAgain { specs: false });
        }
    }

    pub(super) fn inspect(&mut self) {
        let Some(engine) = self.engine.clone() else {
            return;
        };
        if self.queue.take_overflow() {
            self.input(Input::LookAgain { specs: false });
        }
        while let Some(id) = self.queue.next() {
            let (inner, engine, slot) = (Arc::clone(&self.inner), Arc::clone(&engine), self.slot);
            self.job(async move {
                let started = inner.clock.now();
                let outcome = jobs::observe(&inner, slot, &*engine, &id).await;
                Done::Inspected(id, started, outcome)
            });
        }
    }

    /// Lists the images: once at a time, and once more if something happened meanwhile.
    pub(super) fn look_at_images(&mut self) {
        let Some(engine) = self.engine.clone() else {
            return;
        };
        if self.images != ImageLook::Idle {
            self.images = ImageLook::Again;
            return;
        }
        self.images = ImageLook::Running;
        let (inner, slot) = (Arc::clone(&self.inner), self.slot);
        self.job(async move {
            let started = inner.clock.now();
            Done::Images(started, images(&inner, slot, &*engine).await)
        });
    }
}

pub(super) fn backoff() -> Backoff {
    Backoff::new(REOPEN_FIRST, REOPEN_CAP)
}

async fn images(inner: &Inner, slot: SlotId, engine: &dyn Engine) -> Result<()> {
    let limit = inner.options.call_timeout;
    let listed = inner
        .clock
        .timeout(limit, "listing the engine's images", engine.images())
        .await;
    let images = listed.and_then(|listed: Result<_, Error>| listed)?;
    inner.cluster.lock().set_images(slot, images);
    Ok(())
}

/// The event stream is opened again after this much at most, the first time.
const REOPEN_FIRST: Duration = Duration::from_millis(200);
/// And after this much at most, later: as in Swarm.
const REOPEN_CAP: Duration = Duration::from_secs(10);
