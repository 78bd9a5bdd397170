//! Answers to who may not come in. The client has to read them as HTTP, whatever it asked.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(super) const NODE_ANSWER: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n\
Content-Length: 171\r\nConnection: close\r\n\r\n\
{\"message\":\"this is a node's certificate, which may not call the endpoint: use a client's \
(platform cert issue --role client) or a manager's\",\"reason\":\"permission-denied\"}";
pub(super) const PLAINTEXT_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\
Content-Length: 101\r\nConnection: close\r\n\r\n\
{\"message\":\"plaintext HTTP request sent to a TLS port: use --tls or --tlsverify\",\"reason\":\"protocol\"}";

/// Answers and closes, once the request's head is there: to a client, an answer before its question
/// is a fault of the connection (hyper's "unexpected message"), and a close with bytes unread may
/// take the answer away again.
///
/// How long that may take is the caller's to bound. Dropping it leaves the client without an answer.
pub(super) async fn refuse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while head.len() < MAX_HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => head.extend_from_slice(&piece[..count]),
        }
    }
    // Nothing can be said of a failure to say it.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

const MAX_HEAD: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{DuplexStream, duplex},
        time::timeout,
    };

    use super::*;

    async fn silent(client: &mut DuplexStream) -> bool {
        let mut byte = [0];
        let read = client.read(&mut byte);
        timeout(Duration::from_secs(1), read).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_waits_for_the_question() {
        let (mut client, mut server) = duplex(64 * 1024);
        let refusing = tokio::spawn(async move { refuse(&mut server, b"no").await });
        assert!(silent(&mut client).await);
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert!(silent(&mut client).await);
        client.write_all(b"\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "no");
        refusing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_without_an_end_is_refused_too() {
        let (mut client, mut server) = duplex(64 * 1024);
        tokio::spawn(async move { refuse(&mut server, b"no").await });
        client.write_all(&[b'x'; MAX_HEAD]).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "no");
    }
}
