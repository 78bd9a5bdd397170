//! A virtual node: its workloads and what becomes of them. Pure: nothing here waits.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use longshore_core::{
    DeviceId, Error, ErrorKind, EventAction, ExitStatus, Random, RemoveOptions, Result, Signal,
    TerminalSize, Timestamp, WorkloadId, WorkloadName, WorkloadSpec,
};
use tokio::sync::watch;

use super::{options::SimOptions, process::SimProcess, script::Script, session::SessionCell};
use crate::{
    event_log::EventLog,
    journal::Journal,
    lifecycle::{Phase, Step},
    output_log::Output,
    record::Record,
};

/// The state of a simulated engine.
#[derive(Debug)]
pub(super) struct SimNode {
    pub(super) options: SimOptions,
    random: Arc<dyn Random>,
    events: Arc<EventLog>,
    pub(super) workloads: BTreeMap<WorkloadId, SimWorkload>,
    names: HashMap<WorkloadName, WorkloadId>,
    /// Who needs to be looked at when.
    due: BTreeSet<(Timestamp, WorkloadId)>,
    pub(super) images: BTreeSet<String>,
    up: bool,
    /// Nothing happens before this time, because the node was down.
    not_before: Timestamp,
}

/// A virtual workload.
#[derive(Debug)]
pub(super) struct SimWorkload {
    pub(super) record: Record,
    pub(super) output: Arc<Journal<Output>>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) process: Option<SimProcess>,
    pub(super) sessions: Vec<Weak<SessionCell>>,
    /// Input that came before the start.
    early_input: Vec<u8>,
    due: Option<Timestamp>,
}

impl SimNode {
    pub(super) fn new(options: SimOptions, random: Arc<dyn Random>, events: Arc<EventLog>) -> Self {
        Self {
            options,
            random,
            events,
            workloads: BTreeMap::new(),
            names: HashMap::new(),
            due: BTreeSet::new(),
            images: BTreeSet::new(),
            up: true,
            not_before: Timestamp::ZERO,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// Lets everything happen that is due.
    pub(super) fn tick(&mut self, now: Timestamp) {
        while self.up
            && let Some((at, id)) = self.due.first().cloned()
            && at <= now
        {
            // In its own time, so that what follows from it comes in order.
            let at = at.max(self.not_before);
            if let Some(workload) = self.workloads.get_mut(&id) {
                workload.record.life.tick(at);
                if let Some(process) = &mut workload.process {
                    process.tick(at);
                }
            }
            // A restart that fails is in the record.
            let _ = self.settle(&id, at);
        }
    }

    /// When to call [`tick`](Self::tick).
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let (at, _) = self.due.first()?;
        self.up.then(|| (*at).max(self.not_before))
    }

    pub(super) fn workload(&mut self, id: &WorkloadId) -> Result<&mut SimWorkload> {
        self.workloads
            .get_mut(id)
            .ok_or_else(|| Error::not_found(format!("No such container: {id}")).with_backend("sim"))
    }

    pub(super) fn create(&mut self, spec: &WorkloadSpec, now: Timestamp) -> Result<WorkloadId> {
        self.check_image(&spec.image)?;
        self.check_devices(&spec.devices)?;
        let id = WorkloadId::new(self.random.hex(32))?;
        let name = match &spec.name {
            Some(name) => name.clone(),
            None => WorkloadName::new(format!("sim-{}", self.random.hex(6)))?,
        };
        self.check_name(&name)?;
        let mut record = Record::new(id.clone(), name.clone(), spec.clone(), now);
        record.life.tell(EventAction::Create, Vec::new());
        let workload = SimWorkload {
            output: Arc::new(Journal::new(self.options.log_capacity)),
            phase: watch::Sender::new(record.life.phase()),
            record,
            process: None,
            sessions: Vec::new(),
            early_input: Vec::new(),
            due: None,
        };
        self.images.insert(spec.image.clone());
        self.names.insert(name, id.clone());
        self.workloads.insert(id.clone(), workload);
        self.settle(&id, now)?;
        Ok(id)
    }

    pub(super) fn start(&mut self, id: &WorkloadId, now: Timestamp) -> Result<()> {
        self.workload(id)?.record.life.start();
        self.settle(id, now)
    }

    pub(super) fn stop(&mut self, id: &WorkloadId, grace: Duration, now: Timestamp) -> Result<()> {
        self.workload(id)?.record.life.stop(grace, now);
        self.settle(id, now)
    }

    pub(super) fn kill(&mut self, id: &WorkloadId, signal: Signal, now: Timestamp) -> Result<()> {
        self.workload(id)?.record.life.signal(signal)?;
        self.settle(id, now)
    }

    pub(super) fn remove(
        &mut self,
        id: &WorkloadId,
        options: RemoveOptions,
        now: Timestamp,
    ) -> Result<()> {
        let life = &mut self.workload(id)?.record.life;
        if life.is_active() {
            if !options.force {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("cannot remove the running container {id}: stop it first, or force it"),
                )
                .with_retryable(false));
            }
            if life.signal(Signal::KILL).is_err() {
                life.stop(Duration::ZERO, now);
            }
            self.settle(id, now)?;
        }
        let workload = self.workload(id)?;
        workload.record.life.tell(EventAction::Destroy, Vec::new());
        self.settle(id, now)?;
        if let Some(workload) = self.workloads.remove(id) {
            self.names.remove(&workload.record.name);
            workload.phase.send_modify(|phase| phase.gone = true);
            if let Some(at) = workload.due {
                self.due.remove(&(at, id.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        id: &WorkloadId,
        name: &WorkloadName,
        now: Timestamp,
    ) -> Result<()> {
        self.workload(id)?;
        if self.names.get(name) == Some(id) {
            return Ok(());
        }
        self.check_name(name)?;
        let workload = self.workload(id)?;
        let old = std::mem::replace(&mut workload.record.name, name.clone());
        let told = vec![("oldName", old.to_string())];
        workload.record.life.tell(EventAction::Rename, told);
        self.names.remove(&old);
        self.names.insert(name.clone(), id.clone());
        self.settle(id, now)
    }

    /// Input for the workload's own process; `None` is its end.
    pub(super) fn input(
        &mut self,
        id: &WorkloadId,
        bytes: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<()> {
        let workload = self.workload(id)?;
        match (&mut workload.process, bytes) {
            (Some(process), Some(bytes)) => process.input(bytes, now),
            (Some(process), None) => process.end_input(now),
            (None, Some(bytes)) if workload.early_input.len() + bytes.len() <= EARLY_INPUT => {
                workload.early_input.extend_from_slice(bytes);
            }
            (None, _) => return Err(Error::closed("the container does not run")),
        }
        self.settle(id, now)
    }

    /// The node goes down with everything that runs on it; its disk stays.
    pub(super) fn crash(&mut self, now: Timestamp) {
        let ids: Vec<_> = self.workloads.keys().cloned().collect();
        for id in ids {
            let random = Arc::clone(&self.random);
            let Some(workload) = self.workloads.get_mut(&id) else {
                continue;
            };
            if workload.process.take().is_some() {
                let status = ExitStatus::signaled(Signal::KILL).with_reason("the node crashed");
                workload.record.life.ended(status, now, &*random);
                workload.record.pid = 0;
                workload.end_sessions(now);
            }
            let _ = self.settle(&id, now);
        }
        self.up = false;
    }

    /// The node comes back. Restart policies are followed from now on.
    pub(super) fn recover(&mut self, now: Timestamp) {
        self.up = true;
        self.not_before = now;
        self.tick(now);
    }

    pub(super) fn check_image(&self, image: &str) -> Result<()> {
        if self
            .options
            .missing_images
            .iter()
            .any(|known| known == image)
        {
            return Err(Error::not_found(format!("No such image: {image}")));
        }
        Ok(())
    }

    fn check_devices(&self, wanted: &[DeviceId]) -> Result<()> {
        let has = |wanted: &&DeviceId| self.options.devices.iter().any(|one| one.id == **wanted);
        match wanted.iter().find(|wanted| !has(wanted)) {
            Some(missing) => Err(Error::internal(format!("this engine has no {missing}"))),
            None => Ok(()),
        }
    }

    fn check_name(&self, name: &WorkloadName) -> Result<()> {
        match self.names.get(name) {
            None => Ok(()),
            Some(holder) => Err(Error::new(
                ErrorKind::AlreadyExists,
                format!(
                    "the container name \"/{name}\" is already in use by container \"{holder}\""
                ),
            )),
        }
    }

    fn script(&self, spec: &WorkloadSpec) -> Result<Script> {
        let script = Script::parse(&spec.command)?;
        let by_image = || self.options.scripts.get(&spec.image).cloned();
        Ok(script.or_else(by_image).unwrap_or_default())
    }

    /// Carries out what the lifecycle asks for, until nothing is left to do at this moment.
    ///
    /// # Errors
    /// The workload's command is no script.
    fn settle(&mut self, id: &WorkloadId, now: Timestamp) -> Result<()> {
        let mut result = Ok(());
        loop {
            let random = Arc::clone(&self.random);
            let workload = self.workload(id)?;
            workload.take_output();
            if let Some((at, status)) = workload.take_exit() {
                workload.record.life.ended(status, at, &*random);
                workload.end_sessions(at);
            }
            let Some(step) = workload.record.life.next_step() else {
                break;
            };
            match step {
                Step::Spawn => {
                    let spec = workload.record.spec.clone();
                    let script = self.script(&spec);
                    let workload = self.workload(id)?;
                    match script {
                        Ok(script) => workload.begin(script, now),
                        Err(error) => {
                            let reason = error.to_string();
                            let life = &mut workload.record.life;
                            life.spawn_failed(reason, 127, now, &*random);
                            result = Err(error);
                        }
                    }
                }
                Step::Terminate => workload.signal(Signal::TERM, now),
                Step::Signal(signal) => workload.signal(signal, now),
                Step::Kill => workload.signal(Signal::KILL, now),
                Step::Tell(action, attributes) => {
                    let event = workload.record.event(action, attributes, now);
                    self.events.push(event);
                }
            }
        }
        self.schedule(id)?;
        result
    }

    /// Notes when the workload needs to be looked at again, and tells who waits for it.
    fn schedule(&mut self, id: &WorkloadId) -> Result<()> {
        let workload = self.workload(id)?;
        let by_itself = workload
            .process
            .as_ref()
            .and_then(SimProcess::next_deadline);
        let due = match (by_itself, workload.record.life.next_deadline()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let before = std::mem::replace(&mut workload.due, due);
        let phase = workload.record.life.phase();
        workload.phase.send_if_modified(|told| {
            let news = told.active != phase.active || told.runs != phase.runs;
            *told = phase;
            news
        });
        if let Some(at) = before {
            self.due.remove(&(at, id.clone()));
        }
        if let Some(at) = due {
            self.due.insert((at, id.clone()));
        }
        Ok(())
    }
}

impl SimWorkload {
    fn begin(&mut self, script: Script, now: Timestamp) {
        let spec = &self.record.spec;
        let terminal = spec.tty.then(TerminalSize::default);
        let mut process = SimProcess::begin(script, &spec.env, terminal, spec.open_stdin, now);
        let early = std::mem::take(&mut self.early_input);
        if !early.is_empty() {
            process.input(&early, now);
        }
        self.process = Some(process);
        self.record.pid = 1;
        self.record.life.spawned(now);
    }

    fn signal(&mut self, signal: Signal, now: Timestamp) {
        if let Some(process) = &mut self.process {
            process.signal(signal, now);
        }
    }

    fn take_output(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        while let Some((at, kind, bytes)) = process.next_output() {
            let output = Output { at, kind, bytes };
            let weight = output.weight();
            // Virtual processes can't be slowed down; an attached reader keeps what it needs.
            self.output.push_over(output, weight);
        }
    }

    fn take_exit(&mut self) -> Option<(Timestamp, ExitStatus)> {
        let exit = self.process.as_ref()?.exit()?.clone();
        self.process = None;
        self.record.pid = 0;
        Some(exit)
    }

    fn end_sessions(&mut self, now: Timestamp) {
        for session in self.sessions.drain(..) {
            if let Some(session) = session.upgrade() {
                session.signal(Signal::KILL, now);
            }
        }
    }
}

const EARLY_INPUT: usize = 64 * 1024;
