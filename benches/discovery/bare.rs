//! A client with nothing in it: requests to etcd's gateway written to a socket by hand, answers
//! looked at just enough to go on.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

pub struct Bare {
    stream: BufReader<TcpStream>,
}

impl Bare {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("etcd accepts");
        stream.set_nodelay(true).expect("an option of TCP");
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// One request and its whole answer.
    pub async fn post(&mut self, path: &str, body: &str) -> String {
        self.send(path, body).await;
        let length = self.head().await.expect("a length");
        let mut answer = vec![0; length];
        self.stream
            .read_exact(&mut answer)
            .await
            .expect("an answer");
        String::from_utf8(answer).expect("text")
    }

    /// Begins a watch of a prefix; waits until etcd has confirmed it.
    pub async fn watch(&mut self, prefix: &str) {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("a prefix") += 1;
        let body = format!(
            r#"{{"create_request":{{"key":"{}","range_end":"{}"}}}}"#,
            base64(prefix.as_bytes()),
            base64(&end)
        );
        self.send("/v3/watch", &body).await;
        assert_eq!(self.head().await, None, "a watch has no length");
        self.line_with("created").await;
    }

    /// Reads on until a line in which this occurs.
    pub async fn line_with(&mut self, text: &str) {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = self.stream.read_until(b'\n', &mut line).await;
            assert!(read.expect("a line") > 0, "the watch ended");
            if String::from_utf8_lossy(&line).contains(text) {
                return;
            }
        }
    }

    async fn send(&mut self, path: &str, body: &str) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(request.as_bytes()).await.expect("sent");
    }

    /// The length of the answer's body, if it has one; the status must be 200.
    async fn head(&mut self) -> Option<usize> {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).await.expect("a head");
            let text = line.trim_end();
            if text.starts_with("HTTP/") {
                assert!(text.contains(" 200 "), "{text}");
            }
            if let Some(value) = text.strip_prefix("Content-Length: ") {
                length = value.parse().ok();
            }
            if text.is_empty() {
                return length;
            }
        }
    }
}

/// Registers as ours does: a lease, and a key tied to it.
pub async fn register(client: &mut Bare, key: &str, value: &str) {
    let granted = client.post("/v3/lease/grant", r#"{"TTL":3600}"#).await;
    let (_, id) = granted.split_once(r#""ID":""#).expect("an id");
    let id = id.split('"').next().unwrap_or_default();
    let body = format!(
        r#"{{"key":"{}","value":"{}","lease":"{id}"}}"#,
        base64(key.as_bytes()),
        base64(value.as_bytes())
    );
    client.post("/v3/kv/put", &body).await;
}

pub async fn put(client: &mut Bare, key: &str, value: &str) {
    let body = format!(
        r#"{{"key":"{}","value":"{}"}}"#,
        base64(key.as_bytes()),
        base64(value.as_bytes())
    );
    client.post("/v3/kv/put", &body).await;
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (index, byte)| {
            word | u32::from(*byte) << (16 - 8 * index)
        });
        for index in 0..4 {
            match index <= chunk.len() {
                true => text.push(char::from(DIGITS[(word >> (18 - 6 * index)) as usize & 63])),
                false => text.push('='),
            }
        }
    }
    text
}
