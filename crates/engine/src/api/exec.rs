use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt;
use http::StatusCode;
use longshore_core::{
    Error, ErrorKind, ExecRequest, ExecSession, Result, TerminalSize, WorkloadId,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    containers::runs,
    hijack::{self, Carriage, ClientGone, InputEnd},
    inspect::UNKNOWN_CODE,
    lookup,
    notes::size,
    query::json as read_json,
    reply::{Reply, empty, json_reply, ok},
    router::Call,
    server::Shared,
};

/// The commands asked for, running and ended.
#[derive(Default)]
pub(super) struct Execs(Mutex<Book>);

#[derive(Default)]
struct Book {
    records: HashMap<String, Record>,
    /// Ids in the order in which they were made.
    order: VecDeque<String>,
}

struct Record {
    request: ExecRequest,
    stdout: bool,
    stderr: bool,
    stage: Stage,
}

enum Stage {
    Made,
    Running(Arc<dyn ExecSession>),
    Ended(i64),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Asked {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    #[serde(deserialize_with = "null_is_empty")]
    env: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    cmd: Vec<String>,
    privileged: bool,
    user: String,
    working_dir: String,
    console_size: Option<[u64; 2]>,
}

/// `POST /containers/{name}/exec`.
pub(super) async fn create(call: &Call, name: &str, body: &[u8]) -> Result<Reply> {
    let asked: Asked = read_json(body, "exec configuration")?;
    if asked.cmd.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    if !runs(&workload) {
        let text = format!("Container {} is not running", workload.id);
        return Err(Error::new(ErrorKind::Conflict, text).with_retryable(false));
    }
    let mut request = ExecRequest::new(workload.id, asked.cmd);
    request.env = asked.env;
    request.working_dir = asked.working_dir;
    request.user = asked.user;
    request.tty = asked.tty;
    request.stdin = asked.attach_stdin;
    request.privileged = asked.privileged;
    request.size = asked
        .console_size
        .and_then(|[rows, columns]| size(columns, rows));
    let id = call.shared.random.hex(32);
    let record = Record {
        request,
        stdout: asked.attach_stdout,
        stderr: asked.attach_stderr,
        stage: Stage::Made,
    };
    call.shared.execs.add(id.clone(), record)?;
    Ok(json_reply(StatusCode::CREATED, &json!({ "Id": id })))
}

/// `POST /exec/{id}/start`.
pub(super) async fn start(mut call: Call, id: &str) -> Result<Reply> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct How {
        detach: bool,
        tty: bool,
        console_size: Option<[u64; 2]>,
    }
    let body = call.body().await?;
    let how: How = read_json(&body, "exec start configuration")?;
    let shared = Arc::clone(&call.shared);
    let (mut request, stdout, stderr) = shared.execs.begin(id)?;
    request.stdin &= !how.detach;
    let asked = how
        .console_size
        .and_then(|[rows, columns]| size(columns, rows));
    request.size = asked.or(request.size);
    let session = match shared.exec()?.exec(&request).await {
        Ok(session) => session,
        Err(error) => {
            // 127 for a program that is not there, 126 for one that can't run.
            let code = match error.kind() {
                ErrorKind::NotFound => 127,
                _ => 126,
            };
            shared.execs.ended(id, code);
            let of_the_command = matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::InvalidInput | ErrorKind::PermissionDenied
            );
            if of_the_command && !how.detach {
                return Ok(hijack::tell(call, !how.tty, error.message()));
            }
            // A missing program is no missing exec.
            return Err(match error.kind() {
                ErrorKind::NotFound => {
                    Error::invalid(error.message().to_owned()).with_source(error)
                }
                _ => error,
            });
        }
    };
    shared.execs.running(id, Arc::clone(&session));
    let ended = finish(Arc::clone(&shared), id.to_owned(), Arc::clone(&session));
    if how.detach {
        tokio::spawn(async move {
            // Output that nobody reads would stop the process once buffers are full.
            if let Some(mut output) = session.take_output() {
                while let Some(Ok(_)) = output.next().await {}
            }
            ended.await;
        });
        return Ok(empty(StatusCode::OK));
    }
    let carriage = Carriage {
        // By the start's word, as Docker has it.
        framed: !how.tty,
        stdout: stdout || request.tty,
        stderr,
        input_end: InputEnd::IsPassedOn,
        client_gone: ClientGone::EndsTheSession,
    };
    Ok(hijack::answer(call, session, carriage, ended))
}

/// `GET /exec/{id}/json`.
pub(super) fn inspect(call: &Call, id: &str) -> Result<Reply> {
    let book = call.shared.execs.lock();
    let record = book.records.get(id).ok_or_else(|| unknown(id))?;
    let request = &record.request;
    let (running, code) = match record.stage {
        Stage::Made => (false, Value::Null),
        Stage::Running(_) => (true, Value::Null),
        Stage::Ended(code) => (false, json!(code)),
    };
    Ok(ok(&json!({
        "ID": id,
        "Running": running,
        "ExitCode": code,
        "ProcessConfig": {
            "tty": request.tty,
            "entrypoint": request.command[0],
            "arguments": request.command[1..],
            "privileged": request.privileged,
            "user": request.user,
        },
        "OpenStdin": request.stdin,
        "OpenStderr": record.stderr,
        "OpenStdout": record.stdout,
        "CanRemove": !running,
        "ContainerID": request.workload,
        "DetachKeys": "",
        "Pid": 0,
    })))
}

/// `POST /exec/{id}/resize`. Before the start the size is kept for it.
pub(super) async fn resize(call: &Call, id: &str) -> Result<Reply> {
    let (columns, rows) = (call.query.number("w")?, call.query.number("h")?);
    let Some(size) = size(columns.unwrap_or(0), rows.unwrap_or(0)) else {
        return Err(Error::invalid("invalid size: expected w and h above 0"));
    };
    if let Some(session) = call.shared.execs.sized(id, size)? {
        session.resize(size).await?;
    }
    Ok(empty(StatusCode::OK))
}

/// Waits for the end and writes it down.
async fn finish(shared: Arc<Shared>, id: String, session: Arc<dyn ExecSession>) {
    let code = match session.wait().await {
        Ok(status) => status.code.unwrap_or(UNKNOWN_CODE),
        Err(_) => UNKNOWN_CODE,
    };
    shared.execs.ended(&id, code);
}

impl Execs {
    fn add(&self, id: String, record: Record) -> Result<()> {
        let mut book = self.lock();
        while book.records.len() >= MANY {
            // The oldest that does not run makes room.
            let idle = book.order.iter().position(|id| {
                let record = book.records.get(id);
                !matches!(
                    record,
                    Some(Record {
                        stage: Stage::Running(_),
                        ..
                    })
                )
            });
            let Some(oldest) = idle.and_then(|at| book.order.remove(at)) else {
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    format!("{MANY} commands run already"),
                ));
            };
            book.records.remove(&oldest);
        }
        book.order.push_back(id.clone());
        book.records.insert(id, record);
        Ok(())
    }

    /// Takes a command that was not started yet, so that it is started once.
    fn begin(&self, id: &str) -> Result<(ExecRequest, bool, bool)> {
        let mut book = self.lock();
        let record = book.records.get_mut(id).ok_or_else(|| unknown(id))?;
        if !matches!(record.stage, Stage::Made) {
            let text = format!("Error: Exec command {id} has already run");
            return Err(Error::new(ErrorKind::Conflict, text).with_retryable(false));
        }
        record.stage = Stage::Ended(UNKNOWN_CODE);
        Ok((record.request.clone(), record.stdout, record.stderr))
    }

    fn running(&self, id: &str, session: Arc<dyn ExecSession>) {
        if let Some(record) = self.lock().records.get_mut(id) {
            record.stage = Stage::Running(session);
        }
    }

    fn ended(&self, id: &str, code: i64) {
        if let Some(record) = self.lock().records.get_mut(id) {
            record.stage = Stage::Ended(code);
        }
    }

    fn sized(&self, id: &str, size: TerminalSize) -> Result<Option<Arc<dyn ExecSession>>> {
        let mut book = self.lock();
        let record = book.records.get_mut(id).ok_or_else(|| unknown(id))?;
        Ok(match &record.stage {
            Stage::Running(session) => Some(Arc::clone(session)),
            Stage::Made => {
                record.request.size = Some(size);
                None
            }
            Stage::Ended(_) => None,
        })
    }

    /// The ids of what runs in a workload.
    pub(super) fn of(&self, workload: &WorkloadId) -> Vec<String> {
        let book = self.lock();
        let in_it = |record: &Record| {
            record.request.workload == *workload && matches!(record.stage, Stage::Running(_))
        };
        let ids = book.records.iter().filter(|(_, record)| in_it(record));
        ids.map(|(id, _)| id.clone()).collect()
    }

    /// Drops what a removed workload leaves behind.
    pub(super) fn forget(&self, workload: &WorkloadId) {
        let mut book = self.lock();
        let Book { records, order } = &mut *book;
        records.retain(|_, record| {
            record.request.workload != *workload || matches!(record.stage, Stage::Running(_))
        });
        order.retain(|id| records.contains_key(id));
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("No such exec instance: {id}"))
}

fn null_is_empty<'de, D>(deserializer: D) -> Result<Vec<String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Option::<Vec<String>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

const MANY: usize = 1024;
