//! Questions to servers: UDP, and TCP for what does not fit.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use longshore_core::{Clock, ClockExt, Error, Random, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use super::answer;

#[derive(Debug)]
pub(super) struct Transport {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl Transport {
    /// The first server's answer, or that of another one where it fails; each is asked twice.
    pub(super) async fn ask(&self, question: &Query) -> Result<Message> {
        let mut last = Error::invalid(
            "no DNS server is known: give one as ?server=host:port or --discovery-opt dns.server=…",
        );
        for server in self.servers.iter().chain(&self.servers) {
            let answer = self.ask_one(*server, question).await;
            let answer = answer.and_then(|message| answer::usable(&message).map(|()| message));
            match answer {
                Ok(message) => return Ok(message),
                Err(error) => last = error.with_context("server", server),
            }
        }
        Err(last)
    }

    async fn ask_one(&self, server: SocketAddr, question: &Query) -> Result<Message> {
        let id = self.random.next_u64() as u16;
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(question.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_DATAGRAM as u16);
        message.set_edns(edns);
        let bytes = message
            .to_vec()
            .map_err(|error| Error::invalid("no sound DNS question").with_source(error))?;
        let datagram = datagram(server, &bytes, id, question);
        let clock = &self.clock;
        let answer = clock
            .timeout(PATIENCE, "the DNS server's answer", datagram)
            .await??;
        if !answer.metadata.truncation {
            return Ok(answer);
        }
        let stream = stream(server, &bytes, id, question);
        clock
            .timeout(PATIENCE, "the DNS server's answer over TCP", stream)
            .await?
    }
}

async fn datagram(server: SocketAddr, bytes: &[u8], id: u16, question: &Query) -> Result<Message> {
    let unreachable =
        |error| Error::io("the DNS server can't be reached", error).with_retryable(true);
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0; 8], 0).into(),
    };
    // A socket of its own for each question: its port is one more thing that a forger must guess.
    let socket = UdpSocket::bind(any).await.map_err(unreachable)?;
    socket.connect(server).await.map_err(unreachable)?;
    socket.send(bytes).await.map_err(unreachable)?;
    let mut buffer = vec![0; LARGEST_DATAGRAM + 1];
    for _ in 0..MOST_STRANGE {
        let length = socket.recv(&mut buffer).await.map_err(unreachable)?;
        // What is malformed or answers something else is not the answer: it may still come.
        if let Ok(message) = Message::from_vec(&buffer[..length])
            && answer::belongs(&message, id, question)
        {
            return Ok(message);
        }
    }
    Err(Error::protocol("the DNS server sends answers to other questions").with_retryable(true))
}

async fn stream(server: SocketAddr, bytes: &[u8], id: u16, question: &Query) -> Result<Message> {
    let broke =
        |error| Error::io("the DNS server's TCP answer broke off", error).with_retryable(true);
    let mut stream = TcpStream::connect(server).await.map_err(broke)?;
    let mut framed = (bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await.map_err(broke)?;
    let length = stream.read_u16().await.map_err(broke)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(broke)?;
    let message = Message::from_vec(&buffer).map_err(|error| {
        Error::protocol("the DNS server's answer is malformed").with_source(error)
    })?;
    match answer::belongs(&message, id, question) && !message.metadata.truncation {
        true => Ok(message),
        false => Err(Error::protocol(
            "the DNS server's TCP answer is to another question, or cut off",
        )),
    }
}

const PATIENCE: Duration = Duration::from_secs(3);
/// What passes every network in one piece (DNS flag day 2020).
const LARGEST_DATAGRAM: usize = 1232;
/// Datagrams that are not the answer.
const MOST_STRANGE: usize = 64;
