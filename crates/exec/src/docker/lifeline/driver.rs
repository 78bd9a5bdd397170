use std::{sync::Arc, time::Duration};

use longshore_core::ClockExt;
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot, watch},
};

use super::{Lifeline, Place, Request, Trust, line::Line};
use crate::{
    cleanup::{Group, LifelineCore, Marker, Order},
    docker::api::Api,
};

/// Carries out what the core of one lifeline decides.
pub(super) struct Driver {
    api: Arc<Api>,
    place: Place,
    group: Group,
    core: LifelineCore,
    requests: mpsc::UnboundedReceiver<Request>,
    trust: watch::Sender<Trust>,
    line: Option<Line>,
    /// Who wants to know when a session was ended: one for each that was asked for and not told.
    waiting: Vec<(Marker, oneshot::Sender<()>)>,
    /// Told, and still to be written.
    pending: Vec<u8>,
    unflushed: bool,
    /// Nobody can ask any more.
    deserted: bool,
}

enum Event {
    Asked(Option<Request>),
    Said(Vec<String>),
    Wrote(usize),
    Flushed,
    Lost,
    Time,
}

impl Driver {
    /// Starts a lifeline in a task of its own: whoever waits for it may give up, others may not.
    pub(super) fn spawn(api: Arc<Api>, place: Place, group: Group) -> Lifeline {
        let (sender, requests) = mpsc::unbounded_channel();
        let (trust, trusted) = watch::channel(Trust::NotYet);
        let driver = Self {
            core: LifelineCore::new(api.clock.now()),
            api,
            place,
            group: group.clone(),
            requests,
            trust,
            line: None,
            waiting: Vec::new(),
            pending: Vec::new(),
            unflushed: false,
            deserted: false,
        };
        tokio::spawn(driver.run());
        Lifeline {
            group,
            requests: sender,
            trust: trusted,
        }
    }

    async fn run(mut self) {
        loop {
            while let Some(order) = self.core.poll_order() {
                match order {
                    Order::Start => self.start().await,
                    Order::Say(line) => self.pending.extend_from_slice(line.as_bytes()),
                    Order::Ended(markers) => {
                        self.waiting.retain(|(marker, _)| !markers.contains(marker));
                    }
                    Order::Idle => self.retire(),
                    Order::Finish => return self.finish().await,
                }
            }
            self.publish();
            let event = self.next_event().await;
            let now = self.api.clock.now();
            match event {
                Event::Asked(Some(request)) => self.asked(request),
                // Neither a session nor a backend that could begin one is left.
                Event::Asked(None) => {
                    self.deserted = true;
                    self.core.abandon(now);
                }
                Event::Said(lines) => lines.iter().for_each(|line| self.core.heard(now, line)),
                Event::Wrote(count) => {
                    self.pending.drain(..count);
                    self.unflushed = true;
                }
                Event::Flushed => self.unflushed = false,
                Event::Lost => self.lost(),
                Event::Time => self.core.tick(now),
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let Self {
            api,
            core,
            requests,
            line,
            pending,
            unflushed,
            deserted,
            ..
        } = self;
        let deadline = core.next_deadline();
        let time = async {
            match deadline {
                Some(deadline) => api.clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // A shell that takes nothing is told no more than this.
        let room = pending.len() < MOST_PENDING;
        let stream = async {
            let Some(Line { said, write, .. }) = line else {
                return std::future::pending().await;
            };
            let writing = async {
                if !pending.is_empty() {
                    match write.write(pending).await {
                        Ok(count) if count > 0 => Event::Wrote(count),
                        _ => Event::Lost,
                    }
                } else if *unflushed {
                    let flushed = write.flush().await;
                    flushed.map_or(Event::Lost, |()| Event::Flushed)
                } else {
                    std::future::pending().await
                }
            };
            tokio::select! {
                lines = said.next() => lines.map_or(Event::Lost, Event::Said),
                event = writing => event,
            }
        };
        tokio::select! {
            request = requests.recv(), if room && !*deserted => Event::Asked(request),
            event = stream => event,
            () = time => Event::Time,
        }
    }

    fn asked(&mut self, request: Request) {
        let now = self.api.clock.now();
        match request {
            Request::Join => self.core.join(),
            Request::End(marker, done) => {
                // Who does not wait any more is forgotten with the next.
                self.waiting.retain(|(_, done)| !done.is_closed());
                self.waiting.push((marker.clone(), done));
                self.core.end(marker, now);
            }
            Request::Leave => self.core.leave(now),
            Request::Signal(marker, signal, answer) => {
                let _ = answer.send(self.core.signal(&marker, signal, now));
            }
        }
    }

    /// Starts the shell. Requests wait meanwhile.
    async fn start(&mut self) {
        let starting = Line::start(&self.api, &self.place.key, &self.group);
        let started = self
            .api
            .clock
            .timeout(START_LIMIT, "the lifeline", starting)
            .await;
        let now = self.api.clock.now();
        match started.and_then(|started| started) {
            Ok(line) => {
                self.line = Some(line);
                self.core.ready(now);
            }
            Err(error) => {
                tracing::debug!(error = error.chain(), "a lifeline could not be started");
                self.trust.send_replace(Trust::Failed(Arc::new(error)));
                self.core.lost(now);
            }
        }
    }

    /// The stream ended: the shell acted, was killed, or its connection broke.
    fn lost(&mut self) {
        (self.line, self.unflushed) = (None, false);
        self.pending.clear();
        self.waiting.clear();
        // First this, and then whoever came before: nobody begins under a lifeline that is not there
        // without being counted.
        self.trust.send_replace(Trust::Gone);
        while let Ok(request) = self.requests.try_recv() {
            self.asked(request);
        }
        self.core.lost(self.api.clock.now());
    }

    fn publish(&self) {
        if let Some(until) = self.core.trusted_until() {
            self.trust.send_replace(Trust::Until(until));
        }
    }

    /// Lets it go, unless somebody has just come.
    fn retire(&mut self) {
        let Some(table) = self.place.table.upgrade() else {
            return self.core.retire();
        };
        let mut entries = table.lock();
        if self.requests.is_empty() {
            // Whoever comes from now on takes another.
            self.requests.close();
            self.trust.send_replace(Trust::Gone);
            entries.remove_if_own(&self.place.key, &self.group);
            self.core.retire();
        }
    }

    /// Writes what is left to say, and closes.
    async fn finish(mut self) {
        self.requests.close();
        if let Some(table) = self.place.table.upgrade() {
            table.lock().remove_if_own(&self.place.key, &self.group);
        }
        let Some(mut line) = self.line.take() else {
            return;
        };
        let clock = Arc::clone(&self.api.clock);
        let writing = async {
            line.write.write_all(&self.pending).await?;
            line.write.flush().await
        };
        let _ = clock.timeout(FINISH_LIMIT, "a farewell", writing).await;
    }
}

const START_LIMIT: Duration = Duration::from_secs(20);
const FINISH_LIMIT: Duration = Duration::from_secs(2);
const MOST_PENDING: usize = 8192;
