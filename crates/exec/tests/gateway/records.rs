//! What a client sees of TLS: LAIN's stock client waits on the raw socket, and what shares a record
//! with an earlier message stays unseen until more comes (the specification's rule 1.3.6).

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{BoxByteStream, ExecBackend, tls};
use longshore_exec::{
    ScriptedExec,
    access::{Located, Place, StaticDirectory},
    gateway::GatewayOptions,
};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::ServerName, version::TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    raw::{BINARY, PING, Raw, TEXT},
    server::{Server, id},
};

/// How much plaintext each record from the server had.
type Records = Arc<Mutex<Vec<usize>>>;

/// A connection over TLS, whose records are counted on their way.
async fn dial(server: &Server) -> (BoxByteStream, Records) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let theirs = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            tls::private_key(key.signing_key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let ours = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, middle) = tokio::io::duplex(64 << 10);
    let (through, far) = tokio::io::duplex(64 << 10);
    let gateway = server.gateway.clone();
    tokio::spawn(async move {
        let stream = TlsAcceptor::from(Arc::new(theirs))
            .accept(far)
            .await
            .unwrap();
        let service = service_fn(move |request| {
            let gateway = gateway.clone();
            async move { Ok::<_, Infallible>(gateway.handle(request).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let _ = connection.with_upgrades().await;
    });
    let records = Records::default();
    let (mut from_client, mut to_client) = tokio::io::split(middle);
    let (mut from_server, mut to_server) = tokio::io::split(through);
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let seen = Arc::clone(&records);
    tokio::spawn(async move {
        let mut head = [0; 5];
        while from_server.read_exact(&mut head).await.is_ok() {
            let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
            let mut body = vec![0; length];
            from_server.read_exact(&mut body).await.unwrap();
            if head[0] == APPLICATION_DATA {
                seen.lock().unwrap().push(length - SEALED);
            }
            to_client.write_all(&head).await.unwrap();
            to_client.write_all(&body).await.unwrap();
        }
    });
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(ours)).connect(name, near).await;
    (Box::new(stream.unwrap()), records)
}

const APPLICATION_DATA: u8 = 23;
/// The inner type and the tag of TLS 1.3 (RFC 8446, section 5.2).
const SEALED: usize = 1 + 16;

/// How long a frame of the server is (RFC 6455, section 5.2).
fn frame(payload: &[u8]) -> usize {
    payload.len()
        + match payload.len() {
            ..126 => 2,
            126..65536 => 4,
            _ => 10,
        }
}

#[tokio::test(start_paused = true)]
async fn each_message_has_a_record_of_its_own() {
    let exec = ScriptedExec::new().with_workload(id("c")).with_program(
        "/bin/bash",
        |mut process| async move {
            process.print("$ ").await;
            process.read(1).await;
            // Several messages at once, which do not fit into one together.
            process.print(vec![b'x'; 35_000]).await;
            process.print_error("y").await;
            process.read(1).await;
            0
        },
    );
    let exec: Arc<dyn ExecBackend> = Arc::new(exec);
    let place = Place::Lain {
        app: "shop".into(),
        proc: "web".into(),
        instance: "1".into(),
    };
    let directory = StaticDirectory::new().with(place, Located::new(exec, id("c")));
    let server = Server::open(directory, GatewayOptions::default());
    let (stream, records) = dial(&server).await;
    let headers = [
        ("app-name", "shop"),
        ("proc-name", "web"),
        ("instance-no", "1"),
    ];
    let mut raw = Raw::open_over(stream, "/enter", &headers).await;
    assert_eq!(raw.message().await, b"\x12\x02$ ");
    // Handshake, tickets and the upgrade are over.
    records.lock().unwrap().clear();
    raw.send(TEXT, &[0x12, 1, b'a']).await;
    let (mut frames, mut output, mut pings) = (Vec::new(), 0, 0);
    let mut pinged = false;
    while output < 35_001 || pings < 2 {
        let (opcode, payload) = raw.receive().await.unwrap();
        // The stock client blocks behind a ping until it has a data message (rule 1.3.5).
        assert!(!pinged || opcode == BINARY && payload == b"\x08\x03\x12\x04ping");
        pinged = opcode == PING;
        frames.push(frame(&payload));
        match opcode {
            BINARY if payload[0] == 0x12 => {
                assert!(payload.len() <= 10_240 + 4);
                output += payload.len() - if payload.len() > 130 { 3 } else { 2 };
            }
            BINARY => assert_eq!(payload, b"\x08\x03\x12\x04ping"),
            PING => pings += 1,
            other => panic!("opcode {other}"),
        }
    }
    assert!(frames.len() > 6, "{frames:?}");
    let records = records.lock().unwrap();
    assert_eq!(records[..frames.len()], frames);
}
