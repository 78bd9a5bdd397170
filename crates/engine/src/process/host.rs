//! What all workloads of one process engine share.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use longshore_core::{
    Bytes, Clock, EngineInfo, Error, ExecRequest, Labels, MilliCpu, NodeId, NodeName, Random,
    Result, SessionId, Shutdown, TerminalSize, WorkloadId, WorkloadName,
};
use tokio::sync::Semaphore;

use super::{
    cell::Cell,
    family::{ENGINE_MARK, Family, SESSION_MARK, WORKLOAD_MARK},
    guard::Guard,
    launch::{Launch, Launched},
    options::ProcessOptions,
    user::User,
};
use crate::{event_log::EventLog, record::Record};

/// The engine without its handle: tasks hold this, so that dropping the handle is seen.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) events: EventLog,
    pub(super) tasks: Shutdown,
    pub(super) sessions: Arc<Semaphore>,
    pub(super) options: ProcessOptions,
    pub(super) info: EngineInfo,
    table: Mutex<Table>,
    /// Tells this engine's processes from all others.
    mark: String,
    base_env: BTreeMap<String, String>,
    guard: Mutex<Option<Guard>>,
    closed: AtomicBool,
}

/// The workloads, by id and by name.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) cells: BTreeMap<WorkloadId, Arc<Cell>>,
    pub(super) names: HashMap<WorkloadName, WorkloadId>,
}

impl Host {
    pub(super) fn new(
        options: ProcessOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        let info = info(&options, &*random)?;
        let mut base_env: BTreeMap<String, String> = options
            .inherit
            .iter()
            .filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)))
            .collect();
        base_env
            .entry("PATH".to_owned())
            .or_insert_with(|| DEFAULT_PATH.to_owned());
        base_env.insert("HOSTNAME".to_owned(), info.name.to_string());
        let mark = random.hex(16);
        base_env.insert(ENGINE_MARK.to_owned(), mark.clone());
        Ok(Self {
            clock,
            random,
            events: EventLog::new(EVENTS),
            tasks: Shutdown::new(),
            sessions: Arc::new(Semaphore::new(options.max_sessions)),
            info,
            table: Mutex::default(),
            mark,
            base_env,
            guard: Mutex::new(None),
            closed: AtomicBool::new(false),
            options,
        })
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cell(&self, id: &WorkloadId) -> Result<Arc<Cell>> {
        let found = self.table().cells.get(id).cloned();
        found.ok_or_else(|| no_such(id))
    }

    /// All processes of this engine.
    pub(super) fn family(&self) -> Family {
        Family::new(ENGINE_MARK, &self.mark)
    }

    /// All processes of a workload. An id is never used again, also not by another engine.
    pub(super) fn family_of(&self, id: &WorkloadId) -> Family {
        Family::new(WORKLOAD_MARK, id.as_str())
    }

    /// Lets nothing start any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed("the process engine was shut down"));
        }
        Ok(())
    }

    /// Ends the guard; called when nothing is left to guard.
    pub(super) fn dismiss_guard(&self) {
        let guard = self
            .guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(guard);
    }

    /// Starts the process of a workload.
    pub(super) fn launch_workload(&self, record: &Record) -> Result<Launched> {
        let spec = &record.spec;
        let env = self.workload_env(record, spec.tty);
        self.launch(&Launch {
            command: &spec.command,
            env: &env,
            dir: &spec.working_dir,
            user: User::find(&spec.user)?,
            terminal: spec.tty.then(TerminalSize::default),
            stdin: spec.open_stdin,
        })
    }

    /// Starts a command in a workload, with its environment and working directory.
    pub(super) fn launch_session(
        &self,
        record: &Record,
        request: &ExecRequest,
        session: &SessionId,
    ) -> Result<Launched> {
        let mut env = self.workload_env(record, request.tty);
        add_pairs(&mut env, &request.env);
        env.insert(SESSION_MARK.to_owned(), session.to_string());
        let or = |own: &str, workload: &str| if own.is_empty() { workload } else { own }.to_owned();
        self.launch(&Launch {
            command: &request.command,
            env: &env,
            dir: &or(&request.working_dir, &record.spec.working_dir),
            user: User::find(&or(&request.user, &record.spec.user))?,
            terminal: request.tty.then(|| request.size.unwrap_or_default()),
            stdin: request.stdin,
        })
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<Launched> {
        self.check_open()?;
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() && self.options.guard {
            *guard = Guard::start(&self.mark);
        }
        drop(guard);
        launch.start()
    }

    fn workload_env(&self, record: &Record, tty: bool) -> BTreeMap<String, String> {
        let mut env = self.base_env.clone();
        if tty {
            env.insert("TERM".to_owned(), "xterm".to_owned());
        }
        add_pairs(&mut env, &record.spec.env);
        // Last, so that no workload can pass for another.
        env.insert(ENGINE_MARK.to_owned(), self.mark.clone());
        env.insert(WORKLOAD_MARK.to_owned(), record.id.to_string());
        env
    }
}

/// As in Docker, a name without a value takes the variable away.
fn add_pairs(env: &mut BTreeMap<String, String>, pairs: &[String]) {
    for pair in pairs {
        match pair.split_once('=') {
            Some((name, value)) => drop(env.insert(name.to_owned(), value.to_owned())),
            None => drop(env.remove(pair)),
        }
    }
}

pub(super) fn no_such(id: &WorkloadId) -> Error {
    Error::not_found(format!("No such container: {id}")).with_backend("process")
}

fn info(options: &ProcessOptions, random: &dyn Random) -> Result<EngineInfo> {
    let uname = rustix::system::uname();
    let host_name = uname.nodename().to_string_lossy().into_owned();
    let name = match &options.name {
        Some(name) => name.clone(),
        None => NodeName::new(host_name)
            .or_else(|_| NodeName::new("localhost"))
            .map_err(Error::from)?,
    };
    let id = match &options.id {
        Some(id) => id.clone(),
        None => NodeId::new(random.hex(16))?,
    };
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpu = options.cpu.unwrap_or(MilliCpu::from_cpus(cpus as u64));
    let memory = options.memory.unwrap_or_else(machine_memory);
    let mut info = EngineInfo::new(id, name, cpu, memory);
    info.labels = options.labels.clone();
    info.attributes = Labels::new()
        .with("storagedriver", "host")
        .with("kernelversion", uname.release().to_string_lossy())
        .with("operatingsystem", operating_system())
        .with("ostype", "linux")
        .with("architecture", uname.machine().to_string_lossy());
    info.version = env!("CARGO_PKG_VERSION").to_owned();
    info.api_version = "1.41".to_owned();
    info.min_api_version = "1.24".to_owned();
    Ok(info)
}

fn machine_memory() -> Bytes {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
    Bytes(kib.unwrap_or(0).saturating_mul(1024))
}

fn operating_system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(
            || "Linux".to_owned(),
            |name| name.trim_matches('"').to_owned(),
        )
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const EVENTS: usize = 1024;
