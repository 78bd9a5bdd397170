//! Talking to an endpoint: which one, and requests with their answers.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use longshore::{
    Connector, Error, Result,
    core::{
        SystemClock,
        http::{HttpClient, full_body, read_body},
    },
    engine::connect,
};

use crate::{Failure, check, cli::HostArg, tls};

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
    Ok(connect(
        &host,
        &tls::client(files.as_ref(), Arc::new(SystemClock::new()))?,
    )?)
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

/// One request and its JSON answer. An error status becomes an error with the server's message.
pub async fn json(
    connector: Arc<dyn Connector>,
    request: http::Request<Bytes>,
) -> Result<serde_json::Value> {
    let client = HttpClient::new(connector, Arc::new(SystemClock::new()));
    let response = client.send(request.map(full_body)).await?;
    let status = response.status();
    let body = read_body(response.into_body(), 64 << 20).await?;
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
}
