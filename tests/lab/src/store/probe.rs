//! Asking a store whether it answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How a member shows that it is ready.
#[derive(Debug, Clone)]
pub(super) enum Probe {
    /// Something accepts connections (where nothing more can be asked without a certificate).
    Connects,
    /// Each path answers 200, with a text in which this occurs.
    Http(Vec<(&'static str, &'static str)>),
    /// What is sent, and what the answer begins with.
    Word(&'static str, &'static str),
}

impl Probe {
    pub(super) fn ready(&self, address: SocketAddr) -> bool {
        match self {
            Self::Connects => TcpStream::connect_timeout(&address, LIMIT).is_ok(),
            Self::Http(paths) => paths.iter().all(|(path, wanted)| {
                let request =
                    format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
                ask(address, &request).is_some_and(|answer| {
                    answer
                        .lines()
                        .next()
                        .is_some_and(|line| line.contains(" 200 "))
                        && answer.contains(wanted)
                })
            }),
            Self::Word(word, wanted) => {
                ask(address, word).is_some_and(|answer| answer.starts_with(wanted))
            }
        }
    }
}

fn ask(address: SocketAddr, text: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

const LIMIT: Duration = Duration::from_secs(2);
