//! ^C under a flood, on a link of 100 kB/s whose buffers hold megabytes: no session drops anything,
//! and the prompt comes within a second.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use longshore_core::ExecBackend;
use longshore_exec::{
    ScriptedExec, ScriptedProcess,
    access::{Located, Place, StaticDirectory},
    gateway::GatewayOptions,
    protocol::native::{ClientFrame, Open, ServerFrame},
};

use crate::{
    raw::{BINARY, CLOSE, Raw, TEXT},
    server::{Server, id},
    slow::Slow,
};

/// A shell whose `yes` prints until it is interrupted, and counts what it printed.
async fn shell(mut process: ScriptedProcess) -> u8 {
    let line = Bytes::from("y\r\n".repeat(300));
    process.print("READY> ").await;
    while let Some(bytes) = process.read(100).await {
        if bytes != "yes\r" {
            continue;
        }
        let mut printed = 0;
        while !matches!(process.read(100).now_or_never(), Some(Some(key)) if key == "\x03") {
            process.print(line.clone()).await;
            process.drained().await;
            printed += line.len();
        }
        process.print(format!("{printed} READY> ")).await;
    }
    0
}

fn server() -> Arc<Server> {
    let exec = ScriptedExec::new()
        .with_workload(id("c"))
        .with_program("/bin/bash", shell);
    let exec: Arc<dyn ExecBackend> = Arc::new(exec);
    let lain = Place::Lain {
        app: "shop".into(),
        proc: "web".into(),
        instance: "1".into(),
    };
    let pod = Place::Pod {
        namespace: "default".into(),
        pod: "web".into(),
        container: None,
    };
    let found = || Located::new(Arc::clone(&exec), id("c"));
    let directory = StaticDirectory::new()
        .with(lain, found())
        .with(pod, found())
        .with(Place::Container("web".into()), found());
    Server::open(directory, GatewayOptions::default())
}

/// How a client types, and what of a message is output.
#[derive(Clone, Copy, Debug)]
enum Client {
    Native,
    Lain,
    LainWeb,
    Kubernetes,
    Ttyd,
}

impl Client {
    async fn open(self, stream: longshore_core::BoxByteStream) -> Raw {
        let lain = [
            ("app-name", "shop"),
            ("proc-name", "web"),
            ("instance-no", "1"),
        ];
        let pod = "/api/v1/namespaces/default/pods/web/exec?command=/bin/bash&stdin=true&stdout=true&tty=true";
        let (path, first) = match self {
            Self::Native => {
                let mut open = Open::default();
                (open.target, open.stdin, open.tty) = ("web".into(), true, true);
                let open = ClientFrame::Open(Box::new(open));
                ("/v1/exec", Some(open.encode().to_vec()))
            }
            Self::Lain => return Raw::open_over(stream, "/enter", &lain).await,
            Self::LainWeb => (
                "/enter?method=web",
                Some(br#"{"access_token":"t","app_name":"shop","proc_name":"web","instance_no":"1"}"#.to_vec()),
            ),
            Self::Kubernetes => (pod, None),
            Self::Ttyd => (
                "/ws?target=web",
                Some(br#"{"AuthToken":"","columns":80,"rows":24}"#.to_vec()),
            ),
        };
        let mut raw = Raw::open_over(stream, path, &[]).await;
        if let Some(first) = first {
            raw.send(BINARY, &first).await;
        }
        raw
    }

    async fn types(self, raw: &mut Raw, at: &mut u64, text: &'static str) {
        let offset = *at;
        *at += text.len() as u64;
        let json = |text: &str| {
            use base64::{Engine, engine::general_purpose::STANDARD};
            format!(r#"{{"content":"{}"}}"#, STANDARD.encode(text)).into_bytes()
        };
        match self {
            Self::Native => {
                let frame = ClientFrame::Input(offset, Bytes::from_static(text.as_bytes()));
                raw.send(BINARY, &frame.encode()).await;
            }
            Self::Lain => {
                let message = [&[0x12, text.len() as u8], text.as_bytes()].concat();
                raw.send(TEXT, &message).await;
            }
            Self::LainWeb => raw.send(TEXT, &json(text)).await,
            Self::Kubernetes => raw.send(BINARY, &[b"\x00", text.as_bytes()].concat()).await,
            Self::Ttyd => raw.send(BINARY, &[b"0", text.as_bytes()].concat()).await,
        }
    }

    /// Output of the next message; empty for any other.
    async fn output(self, raw: &mut Raw) -> Vec<u8> {
        let message = match raw.receive().await {
            Some((BINARY, message)) => message,
            Some((CLOSE, _)) | None => panic!("{self:?}: the session ended"),
            Some(_) => return Vec::new(),
        };
        match self {
            Self::Native => match ServerFrame::decode(message.into()).unwrap() {
                ServerFrame::Output(offset, _, bytes) => {
                    let ack = ClientFrame::Ack(offset + bytes.len() as u64);
                    raw.send(BINARY, &ack.encode()).await;
                    bytes.to_vec()
                }
                _ => Vec::new(),
            },
            Self::Lain => {
                // A length of one to three bytes.
                let from = 2 + message[1..].iter().take_while(|byte| **byte >= 128).count();
                match message[0] {
                    0x12 => message[from..].to_vec(),
                    _ => Vec::new(),
                }
            }
            Self::LainWeb => {
                use base64::{Engine, engine::general_purpose::STANDARD};
                let message: serde_json::Value = serde_json::from_slice(&message).unwrap();
                match message.get("msgType") {
                    None => STANDARD
                        .decode(message["content"].as_str().unwrap())
                        .unwrap(),
                    Some(_) => Vec::new(),
                }
            }
            Self::Kubernetes if message[0] == 1 => message[1..].to_vec(),
            Self::Ttyd if message[0] == b'0' => message[1..].to_vec(),
            _ => Vec::new(),
        }
    }

    /// Reads to the next prompt; gives what came before it.
    async fn prompt(self, raw: &mut Raw) -> Vec<u8> {
        let mut output = Vec::new();
        while !output.ends_with(b"READY> ") {
            output.extend(self.output(raw).await);
        }
        output
    }
}

/// Seconds from ^C to the prompt, after so long a flood.
async fn interrupted(client: Client, bytes_per_second: u64, flood: Duration) -> f64 {
    let server = server();
    let stream = Slow::over(server.dial_through(2 << 20), bytes_per_second);
    let mut raw = client.open(Box::new(stream)).await;
    let mut at = 0;
    client.prompt(&mut raw).await;
    client.types(&mut raw, &mut at, "yes\r").await;
    let start = server.clock.now();
    let mut output = Vec::new();
    while server.clock.now().since(start) < flood {
        output.extend(client.output(&mut raw).await);
    }
    // The link was used.
    let could = bytes_per_second as f64 * flood.as_secs_f64();
    assert!(
        output.len() as f64 > could * 0.6,
        "{client:?}: {} of {could}",
        output.len()
    );
    client.types(&mut raw, &mut at, "\x03").await;
    let start = server.clock.now();
    output.extend(client.prompt(&mut raw).await);
    let took = server.clock.now().since(start).as_secs_f64();
    // Nothing was dropped.
    let end = output.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let told = String::from_utf8(output[end..].to_vec()).unwrap();
    assert_eq!(told, format!("{end} READY> "), "{client:?}");
    took
}

const ALL: [Client; 5] = [
    Client::Native,
    Client::Lain,
    Client::LainWeb,
    Client::Kubernetes,
    Client::Ttyd,
];

#[tokio::test(start_paused = true)]
async fn the_prompt_comes_within_a_second_over_each_protocol() {
    for client in ALL {
        let took = interrupted(client, 100_000, Duration::from_secs(5)).await;
        // So the engine's own pipes may hold some, too.
        assert!(took <= 0.5, "{client:?}: {took} s");
    }
}

/// Slow as the link may be, what waits is little of its time; fast as it may be, it is used.
#[tokio::test(start_paused = true)]
async fn also_over_other_links() {
    for client in ALL {
        let took = interrupted(client, 30_000, Duration::from_secs(10)).await;
        assert!(took <= 0.7, "{client:?}: {took} s");
        let took = interrupted(client, 10_000_000, Duration::from_secs(2)).await;
        assert!(took <= 0.3, "{client:?}: {took} s");
    }
}
