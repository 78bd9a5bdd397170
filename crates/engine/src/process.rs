//! Workloads as plain child processes.

mod attach;
mod cell;
mod exec;
mod family;
mod guard;
mod host;
mod launch;
mod leader;
mod options;
mod pipe;
mod reactor;
mod session;
mod stats;
mod supervisor;
mod user;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, future::join_all};
use longshore_core::{
    Clock, Connector, Engine, EngineEvents, EngineInfo, Error, ErrorKind, EventAction, ExitStatus,
    Image, ListFilter, LogOptions, LogStream, PullOptions, PullProgress, PullStream, Random,
    RemoveOptions, Result, Signal, Stats, Timestamp, Workload, WorkloadId, WorkloadName,
    WorkloadSpec,
};

pub use self::options::ProcessOptions;
use self::{
    cell::Cell,
    host::{Host, no_such},
    supervisor::drive,
    user::User,
};
use crate::{output_log::log_stream, own_api::own_api, record::Record};

/// Runs workloads as child processes of this program: no Docker, no root, no isolation.
///
/// It knows one image, `host`: the machine itself. A workload's command is a program of the
/// machine, in a process group of its own, with a clean environment. Output is kept in memory
/// within bounds; restart policies, stop with a grace, exec and attach with and without a terminal
/// work as in a container. What a container would add is not there: processes see each other,
/// the file system and the network; limits on memory and processors are recorded, not enforced;
/// published ports are recorded, and binding them is the program's own business.
///
/// # Nothing is left behind
///
/// A workload's end, a removal, [`shutdown`](Self::shutdown) and dropping the engine end
/// every process that belongs to a workload: its process group and session, all descendants, and
/// whatever carries its mark in the environment, such as a child that called `setsid`. If this
/// program is killed, a small guard process (`sh`) does the same. The limit: a process that clears
/// its environment, leaves its session and loses its parent is a stranger, and stays.
///
/// # Requirements
///
/// Linux 5.3 or newer with `/proc`; a tokio runtime with I/O enabled when workloads are started.
#[derive(Debug)]
pub struct ProcessEngine {
    host: Arc<Host>,
    connector: Arc<dyn Connector>,
}

impl ProcessEngine {
    /// An engine without workloads.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when no id can be made.
    pub fn new(
        options: ProcessOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>> {
        let host = Arc::new(Host::new(options, Arc::clone(&clock), Arc::clone(&random))?);
        let name = format!("process://{}", host.info.name);
        Ok(Arc::new_cyclic(|engine: &std::sync::Weak<Self>| Self {
            host,
            connector: own_api(engine.clone(), clock, random, &name),
        }))
    }

    /// Stops all workloads, each with this grace, and waits until nothing that they started is
    /// left. The engine is of no use afterwards: every start is refused with
    /// [`ErrorKind::Closed`].
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when a process could not be ended.
    ///
    /// # Cancel safety
    /// Safe: the stops go on, and dropping the engine ends what is left.
    pub async fn shutdown(&self, grace: Duration) -> Result<()> {
        self.host.close();
        let cells = self.all();
        join_all(cells.iter().map(|cell| self.stop(&cell.id, grace))).await;
        let family = self.host.family();
        let left = tokio::task::spawn_blocking(move || family.kill(None))
            .await
            .map_err(|_| Error::closed("the runtime is shutting down"))?;
        self.host.dismiss_guard();
        self.host
            .tasks
            .finish(&*self.host.clock, Duration::from_secs(5))
            .await;
        if left > 0 {
            return Err(Error::internal(format!(
                "{left} processes could not be ended"
            )));
        }
        Ok(())
    }

    fn all(&self) -> Vec<Arc<Cell>> {
        self.host.table().cells.values().cloned().collect()
    }

    /// Takes an inactive workload off the table; false if it is active.
    fn forget(&self, cell: &Arc<Cell>) -> Result<bool> {
        let mut table = self.host.table();
        let mut state = cell.lock();
        if !table.cells.contains_key(&cell.id) {
            return Err(no_such(&cell.id));
        }
        if state.record.life.is_active() {
            return Ok(false);
        }
        table.cells.remove(&cell.id);
        table.names.remove(&state.record.name);
        state.record.life.tell(EventAction::Destroy, Vec::new());
        drive(&self.host, cell, &mut state)?;
        cell.phase.send_modify(|phase| phase.gone = true);
        Ok(true)
    }

    fn made_up_name(&self) -> Result<WorkloadName> {
        Ok(WorkloadName::new(format!(
            "host-{}",
            self.host.random.hex(4)
        ))?)
    }
}

/// Ends everything at once.
impl Drop for ProcessEngine {
    fn drop(&mut self) {
        self.host.close();
        let mut ran = false;
        for cell in self.all() {
            let mut state = cell.lock();
            ran |= state.record.life.started().is_some();
            state
                .record
                .life
                .stop(Duration::ZERO, self.host.clock.now());
            if let Some(run) = &state.run {
                let _ = run.leader.signal_group(Signal::KILL);
            }
            cell.poke.notify_one();
        }
        if ran || self.host.sessions.available_permits() < self.host.options.max_sessions {
            self.host.family().kill(None);
        }
        self.host.dismiss_guard();
    }
}

#[async_trait]
impl Engine for ProcessEngine {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
    }

    async fn info(&self) -> Result<EngineInfo> {
        let mut info = self.host.info.clone();
        info.system_time = Some(self.host.clock.now());
        Ok(info)
    }

    async fn ping(&self) -> Result<()> {
        self.host.check_open()
    }

    async fn create(&self, spec: &WorkloadSpec) -> Result<WorkloadId> {
        self.host.check_open()?;
        check_image(&spec.image)?;
        if spec.command.is_empty() {
            return Err(Error::invalid(
                "the image \"host\" has no command of its own: give one",
            ));
        }
        if let Some(device) = spec.devices.first() {
            return Err(Error::unsupported(format!(
                "the process engine gives no devices: {device} was asked for"
            )));
        }
        User::find(&spec.user)?;
        let id = WorkloadId::new(self.host.random.hex(32))?;
        let mut table = self.host.table();
        if table.cells.len() >= self.host.options.max_workloads {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("the process engine holds {} containers", table.cells.len()),
            ));
        }
        let name = match &spec.name {
            Some(name) => name.clone(),
            None => self.made_up_name()?,
        };
        if let Some(holder) = table.names.get(&name) {
            return Err(name_taken(&name, holder));
        }
        let now = self.host.clock.now();
        let mut record = Record::new(id.clone(), name.clone(), spec.clone(), now);
        record.life.tell(EventAction::Create, Vec::new());
        let family = self.host.family_of(&id);
        let cell = Arc::new(Cell::new(record, family, self.host.options.log_capacity));
        table.names.insert(name, id.clone());
        table.cells.insert(id.clone(), Arc::clone(&cell));
        drive(&self.host, &cell, &mut cell.lock())?;
        Ok(id)
    }

    async fn start(&self, id: &WorkloadId) -> Result<()> {
        let cell = self.host.cell(id)?;
        let mut state = cell.lock();
        self.host.check_open()?;
        state.record.life.start();
        drive(&self.host, &cell, &mut state)
    }

    async fn stop(&self, id: &WorkloadId, grace: Duration) -> Result<()> {
        let cell = self.host.cell(id)?;
        {
            let mut state = cell.lock();
            state.record.life.stop(grace, self.host.clock.now());
            drive(&self.host, &cell, &mut state)?;
        }
        cell.inactive().await.map(|_| ())
    }

    async fn kill(&self, id: &WorkloadId, signal: Signal) -> Result<()> {
        let cell = self.host.cell(id)?;
        let mut state = cell.lock();
        state.record.life.signal(signal)?;
        drive(&self.host, &cell, &mut state)
    }

    async fn remove(&self, id: &WorkloadId, options: RemoveOptions) -> Result<()> {
        let cell = self.host.cell(id)?;
        while !self.forget(&cell)? {
            if !options.force {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("cannot remove the running container {id}: stop it first, or force it"),
                )
                .with_retryable(false));
            }
            {
                let mut state = cell.lock();
                if state.record.life.signal(Signal::KILL).is_err() {
                    let now = self.host.clock.now();
                    state.record.life.stop(Duration::ZERO, now);
                }
                drive(&self.host, &cell, &mut state)?;
            }
            cell.inactive().await?;
        }
        Ok(())
    }

    async fn rename(&self, id: &WorkloadId, name: &WorkloadName) -> Result<()> {
        let mut table = self.host.table();
        let cell = table.cells.get(id).cloned().ok_or_else(|| no_such(id))?;
        if let Some(holder) = table.names.get(name) {
            return if holder == id {
                Ok(())
            } else {
                Err(name_taken(name, holder))
            };
        }
        let mut state = cell.lock();
        let old = std::mem::replace(&mut state.record.name, name.clone());
        table.names.remove(&old);
        table.names.insert(name.clone(), id.clone());
        let old = vec![("oldName", old.to_string())];
        state.record.life.tell(EventAction::Rename, old);
        drive(&self.host, &cell, &mut state)
    }

    async fn inspect(&self, id: &WorkloadId) -> Result<Workload> {
        Ok(self.host.cell(id)?.lock().record.inspected())
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Workload>> {
        let mut list: Vec<Workload> = self
            .all()
            .iter()
            .filter(|cell| filter.ids.is_empty() || filter.ids.contains(&cell.id))
            .map(|cell| cell.lock().record.listed())
            .collect();
        list.sort_by_key(|workload| std::cmp::Reverse(workload.created));
        Ok(list)
    }

    async fn wait(&self, id: &WorkloadId) -> Result<ExitStatus> {
        let phase = self.host.cell(id)?.inactive().await?;
        Ok(phase
            .exit
            .unwrap_or_else(|| ExitStatus::unknown("it was never started")))
    }

    async fn logs(&self, id: &WorkloadId, options: &LogOptions) -> Result<LogStream> {
        let cell = self.host.cell(id)?;
        let output = Arc::clone(&cell.output);
        Ok(log_stream(output, cell.phase.subscribe(), options))
    }

    async fn stats(&self, id: &WorkloadId) -> Result<Stats> {
        let cell = self.host.cell(id)?;
        let host = Arc::clone(&self.host);
        let now = host.clock.now();
        tokio::task::spawn_blocking(move || stats::sample(&host, &cell, now))
            .await
            .map_err(|_| Error::closed("the runtime is shutting down"))
    }

    async fn events(&self, since: Option<Timestamp>) -> Result<EngineEvents> {
        Ok(self.host.events.stream(since))
    }

    async fn pull(&self, image: &str, _options: &PullOptions) -> Result<PullStream> {
        check_image(image)?;
        let step = PullProgress::new("the image \"host\" is this machine: nothing to pull");
        Ok(futures::future::ready(Ok(step)).into_stream().boxed())
    }

    async fn images(&self) -> Result<Vec<Image>> {
        let mut image = Image::default();
        image.id = IMAGE.to_owned();
        image.tags = vec![format!("{IMAGE}:latest")];
        Ok(vec![image])
    }
}

fn check_image(image: &str) -> Result<()> {
    if image == IMAGE || image.strip_prefix(IMAGE) == Some(":latest") {
        return Ok(());
    }
    Err(Error::not_found(format!(
        "the process engine runs only the image \"host\" (programs of this machine), not {image:?}"
    )))
}

fn name_taken(name: &WorkloadName, holder: &WorkloadId) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        format!("the container name \"/{name}\" is already in use by container \"{holder}\""),
    )
}

const IMAGE: &str = "host";

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use longshore_core::{OsRandom, SystemClock};

    use super::*;

    #[tokio::test]
    async fn a_workload_that_ended_by_itself_leaves_no_task_behind() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let options = ProcessOptions::default();
        let engine = ProcessEngine::new(options, Arc::clone(&clock), Arc::new(OsRandom)).unwrap();
        let spec = WorkloadSpec::new("host").with_command(["true"]);
        let id = engine.create(&spec).await.unwrap();
        engine.start(&id).await.unwrap();
        engine.wait(&id).await.unwrap();
        let limit = Duration::from_secs(20);
        assert!(engine.host.tasks.finish(&*clock, limit).await);
    }
}
