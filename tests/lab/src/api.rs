//! Just enough HTTP to talk to an engine on a unix socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::LabError;

/// An engine's answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApiResponse {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl ApiResponse {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Whether an engine answers on `socket`, given two seconds.
pub(crate) fn ping(socket: &Path) -> Result<(), LabError> {
    let answer = request(
        socket,
        "GET",
        "/_ping",
        "text/plain",
        &[],
        Duration::from_secs(2),
    )?;
    if answer.status == 200 {
        return Ok(());
    }
    Err(LabError::new(format!(
        "the engine answered {}",
        answer.status
    )))
}

/// One request, one connection. HTTP/1.0, so that the body simply ends with
/// the connection.
pub(crate) fn request(
    socket: &Path,
    method: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
    timeout: Duration,
) -> Result<ApiResponse, LabError> {
    let failed = |e| LabError::io(format!("{method} {path} on {}", socket.display()), e);
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(timeout)).map_err(failed)?;
    stream.set_write_timeout(Some(timeout)).map_err(failed)?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: lab\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(failed)?;
    stream.write_all(body).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    parse(&answer).ok_or_else(|| LabError::new(format!("{method} {path}: not an HTTP answer")))
}

/// Percent-encodes a query value.
pub(crate) fn encode(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn parse(answer: &[u8]) -> Option<ApiResponse> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(ApiResponse {
        status,
        body: answer[end + 4..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_into_status_and_body() {
        let answer = parse(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{\"x\":1}").unwrap();
        assert_eq!((answer.status, answer.json()["x"].as_i64()), (404, Some(1)));
        assert!(parse(b"nonsense").is_none());
    }

    #[test]
    fn query_values_are_encoded() {
        assert_eq!(encode("CMD [\"sh\"]"), "CMD%20%5B%22sh%22%5D");
    }
}
