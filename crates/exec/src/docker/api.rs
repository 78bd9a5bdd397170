//! The few calls of the Docker API that are needed.

mod helper;
mod look;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use longshore_core::{
    BoxByteStream, Clock, ClockExt, Error, ErrorKind, ExecRequest, Random, Result, TerminalSize,
    WorkloadId,
    http::{HttpClient, Upgraded, empty_body, full_body, read_body},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::io::StreamReader;

pub(super) use self::look::AtRest;

/// One engine's API.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) client: HttpClient,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

/// What the engine says of a command.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ExecState {
    #[serde(default)]
    pub(super) running: bool,
    pub(super) exit_code: Option<i64>,
    #[serde(default)]
    pub(super) pid: i64,
}

/// What an attachment needs to know of its container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerState {
    #[serde(default)]
    pub(super) id: String,
    pub(super) config: ContainerConfig,
    pub(super) state: RunState,
    #[serde(default)]
    pub(super) host_config: HostConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerConfig {
    #[serde(default)]
    pub(super) tty: bool,
    #[serde(default)]
    pub(super) open_stdin: bool,
    #[serde(default)]
    pub(super) user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(default)]
    pub(super) cap_drop: Option<Vec<String>>,
    #[serde(default)]
    pub(super) pid_mode: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RunState {
    #[serde(default)]
    pub(super) running: bool,
    #[serde(default)]
    pub(super) paused: bool,
    #[serde(default, rename = "OOMKilled")]
    pub(super) oom_killed: bool,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

#[derive(Deserialize)]
struct Ended {
    #[serde(rename = "StatusCode")]
    code: i64,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl ContainerState {
    /// Whether its processes are among those of the host.
    pub(super) fn is_among_the_hosts(&self) -> bool {
        self.host_config.pid_mode == "host"
    }

    /// Whether all its processes end with it: they are in a process namespace of its own.
    pub(super) fn ends_its_processes(&self) -> bool {
        matches!(self.host_config.pid_mode.as_str(), "" | "private")
    }
}

impl Api {
    /// Makes a command without starting it, and gives its id.
    pub(super) async fn create_exec(
        &self,
        request: &ExecRequest,
        env: &[String],
    ) -> Result<String> {
        let body = json!({
            "AttachStdin": request.stdin,
            "AttachStdout": true,
            "AttachStderr": true,
            "Tty": request.tty,
            "Cmd": request.command,
            "Env": env,
            "WorkingDir": request.working_dir,
            "User": request.user,
            "Privileged": request.privileged,
            "DetachKeys": DETACH_KEYS,
        });
        let path = format!("/containers/{}/exec", segment(request.workload.as_str()));
        let created: Created = self.call(Method::POST, &path, Some(&body)).await?;
        if created.id.is_empty() || !created.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::protocol("the engine gave a command no usable id"));
        }
        Ok(created.id)
    }

    /// Starts a command and gives its stream. Its framing follows `tty` here, not at the creation,
    /// so both must be the same.
    pub(super) async fn start_exec(
        &self,
        id: &str,
        tty: bool,
        size: Option<TerminalSize>,
    ) -> Result<BoxByteStream> {
        let mut body = json!({ "Detach": false, "Tty": tty });
        // Engines before API 1.42 do not know it, and ignore it.
        if let Some(size) = size.filter(|_| tty) {
            body["ConsoleSize"] = json!([size.rows, size.columns]);
        }
        let body = Bytes::from(body.to_string());
        self.upgrade(&format!("/exec/{id}/start"), body).await
    }

    pub(super) async fn inspect_exec(&self, id: &str) -> Result<ExecState> {
        self.call(Method::GET, &format!("/exec/{id}/json"), None)
            .await
    }

    /// Sets the size of a command's terminal. An engine that can't just now, because the command
    /// has not quite begun or has ended, is no error.
    pub(super) async fn resize(&self, path: &str, size: TerminalSize) -> Result<()> {
        let path = format!("{path}/resize?h={}&w={}", size.rows, size.columns);
        let harmless = [
            StatusCode::NOT_FOUND,
            StatusCode::CONFLICT,
            StatusCode::INTERNAL_SERVER_ERROR,
        ];
        match self.send(Method::POST, &path, None).await? {
            (status, _) if status.is_success() || harmless.contains(&status) => Ok(()),
            (status, body) => Err(refused(status, &body)),
        }
    }

    pub(super) async fn inspect_container(&self, id: &WorkloadId) -> Result<ContainerState> {
        let path = format!("/containers/{}/json", segment(id.as_str()));
        self.call(Method::GET, &path, None).await
    }

    pub(super) async fn attach(
        &self,
        id: &WorkloadId,
        stdin: bool,
        backlog: bool,
    ) -> Result<BoxByteStream> {
        let path = format!(
            "/containers/{}/attach?stream=1&stdout=1&stderr=1&stdin={}&logs={}&detachKeys={}",
            segment(id.as_str()),
            u8::from(stdin),
            u8::from(backlog),
            segment(DETACH_KEYS),
        );
        self.upgrade(&path, Bytes::new()).await
    }

    /// The log of a container from its beginning, and what is added until it stops. Framed like an
    /// attachment.
    pub(super) async fn follow_log(&self, id: &WorkloadId) -> Result<BoxByteStream> {
        let id = segment(id.as_str());
        let path = format!("/containers/{id}/logs?follow=1&stdout=1&stderr=1");
        let request = request(Method::GET, &path, None)?;
        let asking = self.client.send(request);
        let response = self
            .clock
            .timeout(PATIENCE, "the engine's answer", asking)
            .await??;
        let (status, body) = (response.status(), response.into_body());
        if !status.is_success() {
            return Err(refused(status, &read_body(body, LARGEST_ANSWER).await?));
        }
        let bytes = body.into_data_stream().map_err(std::io::Error::other);
        let log = StreamReader::new(bytes);
        Ok(Box::new(tokio::io::join(log, tokio::io::sink())))
    }

    /// Waits for the end of a container, as long as it takes. `next`: of the run that has not
    /// begun yet.
    pub(super) async fn wait_container(&self, id: &WorkloadId, next: bool) -> Result<i64> {
        let condition = if next { "next-exit" } else { "not-running" };
        let path = format!(
            "/containers/{}/wait?condition={condition}",
            segment(id.as_str())
        );
        let request = request(Method::POST, &path, None)?;
        let response = self.client.send(request).await?;
        let status = response.status();
        let body = read_body(response.into_body(), LARGEST_ANSWER).await?;
        let ended: Ended = parse(status, &body)?;
        Ok(ended.code)
    }

    pub(super) async fn kill_container(
        &self,
        id: &WorkloadId,
        signal: longshore_core::Signal,
    ) -> Result<()> {
        let path = format!(
            "/containers/{}/kill?signal={}",
            segment(id.as_str()),
            signal.number()
        );
        match self.send(Method::POST, &path, None).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, body) => Err(refused(status, &body)),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T> {
        let (status, body) = self.send(method, path, body).await?;
        parse(status, &body)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes)> {
        let request = request(method, path, body)?;
        let answer = async {
            let response = self.client.send(request).await?;
            let status = response.status();
            Ok((
                status,
                read_body(response.into_body(), LARGEST_ANSWER).await?,
            ))
        };
        self.clock
            .timeout(PATIENCE, "the engine's answer", answer)
            .await?
    }

    async fn upgrade(&self, path: &str, body: Bytes) -> Result<BoxByteStream> {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| Error::internal("invalid request").with_source(error))?;
        let upgrade = self.client.upgrade(request);
        let answer = self
            .clock
            .timeout(PATIENCE, "the engine's answer", upgrade)
            .await??;
        match answer {
            Upgraded::Stream { stream, .. } => Ok(stream),
            Upgraded::Refused { status, body } => Err(refused(status, &body)),
        }
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Request<longshore_core::http::Body>> {
    let request = Request::builder().method(method).uri(path);
    let request = match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(full_body(body.to_string())),
        None => request.body(empty_body()),
    };
    request.map_err(|error| Error::internal("invalid request").with_source(error))
}

fn parse<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T> {
    if !status.is_success() {
        return Err(refused(status, body));
    }
    serde_json::from_slice(body).map_err(|error| {
        Error::protocol("the engine's answer is not what its API promises").with_source(error)
    })
}

/// What a refusal means for the caller, in the engine's words.
fn refused(status: StatusCode, body: &[u8]) -> Error {
    let message = serde_json::from_slice::<Refusal>(body).map_or_else(
        |_| format!("the engine refused with status {status}"),
        |refusal| refusal.message,
    );
    let kind = match status {
        StatusCode::BAD_REQUEST => ErrorKind::InvalidInput,
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::CONFLICT => ErrorKind::Conflict,
        StatusCode::NOT_IMPLEMENTED => ErrorKind::Unsupported,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => ErrorKind::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => ErrorKind::Timeout,
        _ => ErrorKind::Internal,
    };
    let retryable = matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout);
    Error::new(kind, message)
        .with_retryable(retryable)
        .with_backend("docker")
        .with_context("status", status.as_u16())
}

/// A piece of a path or query, with everything escaped that may mean something there.
fn segment(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(byte.into()),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

/// Without it the engine keeps Ctrl-P back until the next key, and Ctrl-P Ctrl-Q ends the session.
/// It can't be turned off, only made so long and so rare that nobody sends it: the first key alone
/// is kept back, and Ctrl-^ is on no menu.
const DETACH_KEYS: &str = "ctrl-^,ctrl-_,ctrl-^,ctrl-],ctrl-^,ctrl-_,ctrl-^,ctrl-\\,\
                           ctrl-^,ctrl-],ctrl-^,ctrl-_,ctrl-^,ctrl-\\,ctrl-^,ctrl-_";
const LARGEST_ANSWER: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_change_the_path() {
        assert_eq!(segment("web-1_a.b"), "web-1_a.b");
        assert_eq!(segment("a?b#c%2f"), "a%3Fb%23c%252f");
    }

    #[test]
    fn refusals_keep_the_engines_words() {
        let error = refused(
            StatusCode::NOT_FOUND,
            br#"{"message":"No such container: x"}"#,
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.message(), "No such container: x");
        let error = refused(StatusCode::CONFLICT, b"<html>");
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Conflict, false)
        );
        assert_eq!(
            error.message(),
            "the engine refused with status 409 Conflict"
        );
    }
}
