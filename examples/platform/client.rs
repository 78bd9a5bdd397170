//! Talking to an endpoint: which one, and requests with their answers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use longshore::{
    Connector, Error, Result,
    core::{
        ClockExt, SystemClock,
        http::{HttpClient, full_body, read_body},
    },
    engine::connect,
};

use crate::{Failure, check, cli::HostArg, say::note, tls};

/// Where the embedded platform of this user listens.
pub fn default_socket() -> PathBuf {
    runtime_directory().join("platform.sock")
}

/// A folder of this user alone.
pub fn runtime_directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(directory) if directory.is_absolute() => directory.join("longshore"),
        _ => {
            let user = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("longshore-{user}"))
        }
    }
}

pub fn connector(args: &HostArg) -> std::result::Result<Arc<dyn Connector>, Failure> {
    // As with `docker`, an empty one is none.
    let host = match args.host.as_deref().filter(|host| !host.is_empty()) {
        Some(host) => host.to_owned(),
        None => format!("unix://{}", default_socket().display()),
    };
    refuse_missing(&host)?;
    let files = check::tls(&args.tls).map_err(Failure::new)?;
    let options = tls::client(files.as_ref(), Arc::new(SystemClock::new()))?;
    Ok(connect(&host, &options.with_peer("manager"))?)
}

fn refuse_missing(host: &str) -> std::result::Result<(), Failure> {
    match host.strip_prefix("unix://") {
        Some(path) if !std::path::Path::new(path).exists() => Err(Failure::new(format!(
            "there is no socket at {host}: is the platform running? Start it with 'platform', or \
             name its endpoint with -H or DOCKER_HOST"
        ))),
        _ => Ok(()),
    }
}

/// A client of an endpoint's HTTP API.
pub fn http(connector: Arc<dyn Connector>) -> HttpClient {
    HttpClient::new(connector, Arc::new(SystemClock::new())).with_peer("endpoint")
}

/// Waits for an answer of the endpoint: says so when it is not there at once, and not for ever.
/// Dropping it drops the wait.
pub async fn answer<T: Send>(
    connector: &dyn Connector,
    waiting: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let clock = SystemClock::new();
    tokio::pin!(waiting);
    tokio::select! {
        biased;
        answer = &mut waiting => return answer,
        () = clock.sleep(AT_ONCE) => note(format_args!(
            "… waiting for an answer of {}, at most {PATIENCE:?}",
            connector.describe()
        )),
    }
    match clock.timeout(PATIENCE, "an answer", waiting).await {
        Ok(answer) => answer,
        Err(late) => Err(late.with_context("endpoint", connector.describe())),
    }
}

const AT_ONCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// One call to an endpoint, and its JSON answer.
pub async fn call(
    host: &HostArg,
    method: http::Method,
    path: &str,
    body: Bytes,
) -> std::result::Result<serde_json::Value, Failure> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", "application/json")
        .body(body)
        .map_err(|error| Failure::new(error.to_string()))?;
    Ok(json(connector(host)?, request).await?)
}

/// One request and its JSON answer. An error status becomes an error with the server's message.
pub async fn json(
    connector: Arc<dyn Connector>,
    request: http::Request<Bytes>,
) -> Result<serde_json::Value> {
    let client = http(connector.clone());
    let whole = async {
        let response = client.send(request.map(full_body)).await?;
        let status = response.status();
        Ok((status, read_body(response.into_body(), 64 << 20).await?))
    };
    let (status, body) = answer(&*connector, whole).await?;
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(value);
    }
    let message = value["message"].as_str().map(str::to_owned);
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
    Err(Error::invalid(message).with_context("status", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_not_there_is_named_with_the_remedy() {
        let failure = refuse_missing("unix:///no/such.sock").unwrap_err();
        assert_eq!(
            format!("{failure:?}"),
            "there is no socket at unix:///no/such.sock: is the platform running? Start it with \
             'platform', or name its endpoint with -H or DOCKER_HOST"
        );
        assert!(refuse_missing("tcp://a:1").is_ok());
    }

    /// Connects, and never says a word.
    #[derive(Debug, Default)]
    struct Mute(std::sync::Mutex<Vec<tokio::io::DuplexStream>>);

    #[async_trait::async_trait]
    impl Connector for Mute {
        async fn connect(&self) -> Result<longshore::core::BoxByteStream> {
            let (near, far) = tokio::io::duplex(64);
            self.0.lock().unwrap().push(far);
            Ok(Box::new(near))
        }

        fn describe(&self) -> String {
            "tcp://mute:1".to_owned()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_never_answers_is_named_and_not_waited_for() {
        let request = http::Request::get("/").body(Bytes::new()).unwrap();
        let error = json(Arc::new(Mute::default()), request).await.unwrap_err();
        assert_eq!(error.kind(), longshore::ErrorKind::Timeout);
        assert_eq!(
            error.chain(),
            "an answer took longer than 30s (endpoint: tcp://mute:1)"
        );
    }
}
