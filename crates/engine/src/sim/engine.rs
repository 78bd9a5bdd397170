use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    Clock, ClockExt, Connector, Engine, EngineEvents, EngineInfo, Error, ExitStatus, Image, Labels,
    ListFilter, LogOptions, LogStream, NodeId, NodeName, PullOptions, PullProgress, PullStream,
    Random, RemoveOptions, Result, SeededRandom, Signal, Stats, Timestamp, Workload, WorkloadId,
    WorkloadName, WorkloadSpec,
};
use tokio::sync::{Notify, watch};

use super::{SimFault, SimOptions, connector::SimConnector, node::SimNode};
use crate::{event_log::EventLog, lifecycle::Phase, output_log::log_stream};

/// A virtual engine on a virtual node: workloads are [`Script`](super::Script)s, time is the
/// injected clock's, and faults can be set.
///
/// A workload's command says what it does ([`Script::parse`](super::Script::parse)); one that the
/// simulation does not know runs until it is stopped, or does what
/// [`SimOptions::with_script`] says of its image. Every call first lets everything happen that is
/// due; a task does the same when nobody calls, so that events come in time.
///
/// All chance (latency, faults, ids, delays between restarts) comes from one seed: the same calls
/// at the same times give the same run.
#[derive(Debug)]
pub struct SimEngine {
    pub(super) shared: Arc<Shared>,
    connector: Arc<dyn Connector>,
}

/// The engine without its handle, for its streams and its task.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    info: EngineInfo,
    events: Arc<EventLog>,
    fault: watch::Sender<SimFault>,
    node: Mutex<SimNode>,
    poke: Arc<Notify>,
    driven: AtomicBool,
}

impl SimEngine {
    /// A node of this name without workloads.
    ///
    /// # Errors
    /// The name is too long to be an id, and the options give none.
    pub fn new(
        name: NodeName,
        options: SimOptions,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Arc<Self>> {
        let id = match &options.id {
            Some(id) => id.clone(),
            None => NodeId::new(name.as_str())?,
        };
        let mut info = EngineInfo::new(id, name, options.cpu, options.memory);
        info.labels = options.labels.clone();
        info.devices.clone_from(&options.devices);
        info.attributes = Labels::new()
            .with("storagedriver", "sim")
            .with("kernelversion", "0.0.0")
            .with("operatingsystem", "simulation")
            .with("ostype", "linux")
            .with("architecture", "x86_64");
        info.version = env!("CARGO_PKG_VERSION").to_owned();
        info.api_version = "1.41".to_owned();
        info.min_api_version = "1.24".to_owned();
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(seed));
        let events = Arc::new(EventLog::new(options.event_capacity));
        let node = SimNode::new(options, Arc::clone(&random), Arc::clone(&events));
        let shared = Arc::new(Shared {
            clock,
            random,
            info,
            events,
            fault: watch::Sender::new(SimFault::None),
            node: Mutex::new(node),
            poke: Arc::new(Notify::new()),
            driven: AtomicBool::new(false),
        });
        Ok(Arc::new_cyclic(|engine| Self {
            connector: Arc::new(SimConnector::new(engine.clone(), &shared)),
            shared,
        }))
    }

    /// Its node's name.
    pub fn name(&self) -> &NodeName {
        &self.shared.info.name
    }

    /// Sets what is wrong with the engine, in place of what was wrong before.
    pub fn set_fault(&self, fault: SimFault) {
        self.shared.fault.send_replace(fault);
        if fault == SimFault::Refuse {
            self.shared.events.disconnect();
        }
    }

    /// The node goes down with everything that runs on it: streams end, calls are refused. What it
    /// knows of its workloads stays.
    pub fn crash(&self) {
        // First, so that nobody hears the node tell of its own end.
        self.shared.events.disconnect();
        let now = self.shared.clock.now();
        let mut node = self.shared.node();
        node.tick(now);
        node.crash(now);
    }

    /// A node that went down comes back; restart policies start what they start.
    pub fn recover(&self) {
        let now = self.shared.clock.now();
        self.shared.node().recover(now);
        self.shared.poke.notify_one();
    }

    async fn until_inactive(&self, mut phase: watch::Receiver<Phase>) -> Result<Phase> {
        let inactive = phase.wait_for(|phase| !phase.active || phase.gone).await;
        inactive
            .map(|phase| phase.clone())
            .map_err(|_| Error::closed("the simulated engine has gone"))
    }
}

impl Shared {
    pub(super) fn info(&self) -> &EngineInfo {
        &self.info
    }

    pub(super) fn node(&self) -> MutexGuard<'_, SimNode> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets happen what is due, then does something with the node.
    pub(super) fn at_once<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut SimNode, Timestamp) -> Result<T>,
    ) -> Result<T> {
        let (result, waiting) = {
            let now = self.clock.now();
            let mut node = self.node();
            node.tick(now);
            (work(&mut node, now), node.next_deadline().is_some())
        };
        if waiting {
            self.drive();
        }
        result
    }

    /// As [`at_once`](Self::at_once), through the latency and the faults of the engine.
    pub(super) async fn call<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut SimNode, Timestamp) -> Result<T> + Send,
    ) -> Result<T> {
        let answer_lost = self.gate().await?;
        let result = self.at_once(work);
        if answer_lost {
            return Err(self.unavailable("the connection broke before the answer came"));
        }
        result
    }

    /// What a call meets on its way in. True: its answer will be lost.
    pub(super) async fn gate(&self) -> Result<bool> {
        let (latency, jitter) = {
            let node = self.node();
            (node.options.latency, node.options.jitter)
        };
        let delay = latency + jitter.mul_f64(self.random.unit());
        if !delay.is_zero() {
            self.clock.sleep(delay).await;
        }
        self.until_not_hanging().await;
        if !self.node().is_up() {
            return Err(self.unavailable("the node is down"));
        }
        let fault = *self.fault.borrow();
        match fault {
            SimFault::Refuse => Err(self.unavailable("the engine is down")),
            SimFault::RefuseSome(part) if self.random.unit() < part => {
                Err(self.unavailable("the engine could not be reached"))
            }
            SimFault::LoseAnswers(part) => Ok(self.random.unit() < part),
            SimFault::Slow(more) => {
                self.clock.sleep(more).await;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    async fn until_not_hanging(&self) {
        let mut fault = self.fault.subscribe();
        // The sender lives as long as this does.
        let _ = fault.wait_for(|fault| *fault != SimFault::Hang).await;
    }

    fn unavailable(&self, what: &'static str) -> Error {
        Error::unavailable(what)
            .with_backend("sim")
            .with_context("node", &self.info.name)
    }

    /// Sees to it that what is due happens although nobody calls.
    fn drive(self: &Arc<Self>) {
        if self.driven.swap(true, Ordering::AcqRel) {
            self.poke.notify_one();
            return;
        }
        let (weak, poke) = (Arc::downgrade(self), Arc::clone(&self.poke));
        let clock = Arc::clone(&self.clock);
        tokio::spawn(async move {
            loop {
                let deadline = {
                    let Some(shared) = weak.upgrade() else {
                        return;
                    };
                    let mut node = shared.node();
                    node.tick(clock.now());
                    node.next_deadline()
                };
                match deadline {
                    None => poke.notified().await,
                    Some(deadline) => tokio::select! {
                        () = clock.sleep_until(deadline) => {}
                        () = poke.notified() => {}
                    },
                }
            }
        });
    }
}

/// Lets the task end.
impl Drop for Shared {
    fn drop(&mut self) {
        self.poke.notify_one();
    }
}

#[async_trait]
impl Engine for SimEngine {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
    }

    async fn info(&self) -> Result<EngineInfo> {
        let now = self.shared.call(|_, now| Ok(now)).await?;
        let mut info = self.shared.info.clone();
        info.system_time = Some(now);
        Ok(info)
    }

    async fn ping(&self) -> Result<()> {
        self.shared.call(|_, _| Ok(())).await
    }

    async fn create(&self, spec: &WorkloadSpec) -> Result<WorkloadId> {
        self.shared.call(|node, now| node.create(spec, now)).await
    }

    async fn start(&self, id: &WorkloadId) -> Result<()> {
        self.shared.call(|node, now| node.start(id, now)).await
    }

    async fn stop(&self, id: &WorkloadId, grace: Duration) -> Result<()> {
        let stop = self.shared.call(|node, now| {
            node.stop(id, grace, now)?;
            Ok(node.workload(id)?.phase.subscribe())
        });
        let phase = stop.await?;
        self.until_inactive(phase).await.map(|_| ())
    }

    async fn kill(&self, id: &WorkloadId, signal: Signal) -> Result<()> {
        self.shared
            .call(|node, now| node.kill(id, signal, now))
            .await
    }

    async fn remove(&self, id: &WorkloadId, options: RemoveOptions) -> Result<()> {
        self.shared
            .call(|node, now| node.remove(id, options, now))
            .await
    }

    async fn rename(&self, id: &WorkloadId, name: &WorkloadName) -> Result<()> {
        self.shared
            .call(|node, now| node.rename(id, name, now))
            .await
    }

    async fn inspect(&self, id: &WorkloadId) -> Result<Workload> {
        self.shared
            .call(|node, _| Ok(node.workload(id)?.record.inspected()))
            .await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Workload>> {
        let mut list: Vec<Workload> = self
            .shared
            .call(|node, _| {
                let all = node.workloads.values();
                let wanted = all.filter(|workload| {
                    filter.ids.is_empty() || filter.ids.contains(&workload.record.id)
                });
                Ok(wanted.map(|workload| workload.record.listed()).collect())
            })
            .await?;
        list.sort_by_key(|workload| std::cmp::Reverse(workload.created));
        Ok(list)
    }

    async fn wait(&self, id: &WorkloadId) -> Result<ExitStatus> {
        let phase = self
            .shared
            .call(|node, _| Ok(node.workload(id)?.phase.subscribe()))
            .await?;
        let phase = self.until_inactive(phase).await?;
        Ok(phase
            .exit
            .unwrap_or_else(|| ExitStatus::unknown("it was never started")))
    }

    async fn logs(&self, id: &WorkloadId, options: &LogOptions) -> Result<LogStream> {
        self.shared
            .call(|node, _| {
                let workload = node.workload(id)?;
                let output = Arc::clone(&workload.output);
                Ok(log_stream(output, workload.phase.subscribe(), options))
            })
            .await
    }

    async fn stats(&self, id: &WorkloadId) -> Result<Stats> {
        self.shared
            .call(|node, now| {
                let cpus = node.options.cpu;
                let limit = node.options.memory;
                let workload = node.workload(id)?;
                let mut stats = Stats::default();
                stats.at = now;
                stats.online_cpus = u32::try_from(cpus.0.div_ceil(1000)).unwrap_or(u32::MAX);
                stats.system_cpu_nanos = now.as_micros().saturating_mul(1000);
                stats.memory_limit = limit;
                if let (Some(_), Some(started)) =
                    (&workload.process, workload.record.life.started())
                {
                    let resources = &workload.record.spec.resources;
                    let ran = now.since(started).as_micros();
                    // As busy as it said it would be, in nanoseconds of a whole processor.
                    let nanos = ran.saturating_mul(u128::from(resources.cpu.0));
                    stats.cpu_nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                    stats.memory = resources.memory.max(longshore_core::Bytes::from_mib(1));
                    stats.pids = 1;
                }
                Ok(stats)
            })
            .await
    }

    async fn events(&self, since: Option<Timestamp>) -> Result<EngineEvents> {
        let events = self
            .shared
            .call(|_, _| Ok(self.shared.events.stream(since)))
            .await?;
        let weak = Arc::downgrade(&self.shared);
        let events = events.then(move |event| {
            let shared = weak.upgrade();
            async move {
                if let Some(shared) = shared {
                    shared.until_not_hanging().await;
                }
                event
            }
        });
        Ok(Box::pin(events))
    }

    async fn pull(&self, image: &str, _options: &PullOptions) -> Result<PullStream> {
        self.shared
            .call(|node, _| {
                node.check_image(image)?;
                node.images.insert(image.to_owned());
                let steps = [format!("Pulling from {image}"), "Pull complete".to_owned()];
                let steps = steps.map(|step| Ok(PullProgress::new(step)));
                Ok(Box::pin(futures::stream::iter(steps)) as PullStream)
            })
            .await
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.shared
            .call(|node, _| {
                let image = |name: &String| {
                    let mut image = Image::default();
                    image.id.clone_from(name);
                    image.tags = vec![name.clone()];
                    image
                };
                Ok(node.images.iter().map(image).collect())
            })
            .await
    }
}
