//! TCP with TLS.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use longshore_control::endpoint::{ListenOptions, Listener, TlsFiles, TlsReload, router, serve};
use longshore_core::{Access, Authorizer, Identity, SystemClock, Target};
use longshore_core::{Action, Result as CoreResult};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use crate::cluster::{Cluster, Setup};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.clone().self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn issue(&self, name: &str) -> (String, String) {
        self.issue_for(name, &[])
    }

    fn issue_for(&self, name: &str, uris: &[&str]) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn files(folder: &Path, authority: &Authority) -> TlsFiles {
    let (cert, key) = authority.issue("endpoint");
    TlsFiles::verified(
        write(folder, "cert.pem", &cert),
        write(folder, "key.pem", &key),
        write(folder, "ca.pem", &authority.pem),
    )
}

/// Remembers who came.
#[derive(Debug, Default)]
struct Guests(std::sync::Mutex<Vec<Identity>>);

#[async_trait::async_trait]
impl Authorizer for Guests {
    async fn authorize(&self, who: &Identity, _: Action, _: &Target) -> CoreResult<Access> {
        self.0.lock().unwrap().push(who.clone());
        Ok(Access::default())
    }
}

async fn listening(cluster: &Cluster, files: TlsFiles) -> SocketAddr {
    listening_as(cluster, ListenOptions::default().with_tls(files)).await
}

async fn listening_as(cluster: &Cluster, options: ListenOptions) -> SocketAddr {
    bound(cluster, options).await.0
}

async fn reloadable(cluster: &Cluster, files: TlsFiles) -> (SocketAddr, TlsReload) {
    let (address, reload) = bound(cluster, ListenOptions::default().with_tls(files)).await;
    (address, reload.unwrap())
}

async fn bound(cluster: &Cluster, options: ListenOptions) -> (SocketAddr, Option<TlsReload>) {
    let listener = Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap(), options)
        .await
        .unwrap();
    let address = listener
        .address()
        .strip_prefix("tcp://")
        .unwrap()
        .parse()
        .unwrap();
    let reload = listener.tls();
    let app = router(cluster.plane.clone(), Default::default());
    let clock = Arc::new(SystemClock::new());
    tokio::spawn(serve(listener, app, clock, cluster.shutdown.clone()));
    (address, reload)
}

async fn get(
    address: SocketAddr,
    trusted: &Authority,
    own: Option<(String, String)>,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        Some((cert, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    stream
        .write_all(b"GET /containers/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn handshakes_that_never_end_lock_nobody_out() {
    let (cluster, authority) = (Cluster::new().await, Authority::new("ca"));
    let files = files(cluster.folder.path(), &authority);
    let options = ListenOptions::default().with_tls(files);
    let address = listening_as(&cluster, options.with_max_handshakes(2)).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // The third one displaced it.
    assert_eq!(silent[0].read(&mut [0]).await.unwrap(), 0);
    let own = authority.issue("alice");
    let answer = get(address, &authority, Some(own)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn clients_prove_who_they_are() {
    let guests = Arc::new(Guests::default());
    let cluster = Cluster::with(Setup {
        authorizer: guests.clone(),
        ..Setup::default()
    })
    .await;
    let authority = Authority::new("ours");
    let address = listening(&cluster, files(cluster.folder.path(), &authority)).await;
    let alice = authority.issue("alice");
    let text = get(address, &authority, Some(alice)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert_eq!(
        *guests.0.lock().unwrap(),
        [Identity::new("CN=alice", "tls")]
    );
    // Without a certificate, or with a stranger's, nobody gets in.
    assert!(get(address, &authority, None).await.is_err());
    let stranger = Authority::new("theirs").issue("alice");
    assert!(get(address, &authority, Some(stranger)).await.is_err());
    assert_eq!(guests.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn certificates_are_replaced_while_it_serves() {
    let cluster = Cluster::new().await;
    let folder = cluster.folder.path();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (address, reload) = reloadable(&cluster, files(folder, &old)).await;
    let (of_old, of_new) = (old.issue("alice"), new.issue("alice"));
    assert!(get(address, &old, Some(of_old.clone())).await.is_ok());

    files(folder, &new);
    write(folder, "key.pem", &old.issue("other").1);
    let error = reload.reload().unwrap_err();
    assert!(
        error.message().contains("does not belong"),
        "{}",
        error.message()
    );
    assert!(get(address, &old, Some(of_old.clone())).await.is_ok());

    files(folder, &new);
    reload.reload().unwrap();
    assert!(get(address, &new, Some(of_new)).await.is_ok());
    assert!(get(address, &new, Some(of_old)).await.is_err());
}

#[tokio::test]
async fn plaintext_on_a_tls_port_is_told_so() {
    let cluster = Cluster::new().await;
    let authority = Authority::new("ours");
    let address = listening(&cluster, files(cluster.folder.path(), &authority)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /info HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request"));
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{text}"
    );
    assert_eq!(
        body,
        "{\"message\":\"plaintext HTTP request sent to a TLS port: use --tls or --tlsverify\",\
         \"reason\":\"protocol\"}"
    );
}

#[tokio::test]
async fn bad_files_fail_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = Authority::new("ours");
    let good = files(folder, &authority);
    let refuse = async |files: &TlsFiles, message: String| {
        let options = ListenOptions::default().with_tls(files.clone());
        let error = Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap(), options)
            .await
            .unwrap_err();
        assert_eq!(error.message(), message);
    };
    let pair = |files: &TlsFiles, reason: &str| {
        format!(
            "Couldn't load X509 key pair ({}, {}): {reason}. Key encrypted?",
            files.cert.display(),
            files.key.display()
        )
    };
    let mut files = good.clone();
    files.cert = folder.join("none.pem");
    refuse(
        &files,
        pair(&files, "No such file or directory (os error 2)"),
    )
    .await;
    files.cert = write(folder, "empty.pem", "");
    refuse(&files, pair(&files, "it holds no certificate in PEM form")).await;
    let mut files = good.clone();
    files.key = write(folder, "other.pem", &authority.issue("other").1);
    refuse(
        &files,
        pair(&files, "the key does not belong to the certificate"),
    )
    .await;
    files.key = write(
        folder,
        "locked.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    refuse(
        &files,
        pair(
            &files,
            "it is encrypted: decrypt it first (openssl pkey -in key.pem -out plain.pem)",
        ),
    )
    .await;
    let mut files = good;
    files.ca = Some(write(folder, "no-ca.pem", "text"));
    let path = files.ca.clone().unwrap();
    refuse(
        &files,
        format!(
            "Couldn't read CA certificate: {}: it holds no certificate in PEM form",
            path.display()
        ),
    )
    .await;
}

#[test]
fn flags_combine_as_in_swarm() {
    let path = Path::new("x");
    let check = |tls, verify, ca: bool, cert: bool, key: bool| {
        let some = |given: bool| given.then_some(path);
        TlsFiles::from_flags(tls, verify, some(ca), some(cert), some(key))
            .map(|files| files.map(|files| files.ca.is_some()))
            .map_err(|error| error.message().to_owned())
    };
    assert_eq!(check(false, false, false, false, false), Ok(None));
    assert_eq!(check(true, false, false, true, true), Ok(Some(false)));
    assert_eq!(check(false, true, true, true, true), Ok(Some(true)));
    assert_eq!(
        check(true, false, false, true, false),
        Err("--tlscert and --tlskey must be provided when using --tls".to_owned())
    );
    assert_eq!(
        check(true, true, false, true, true),
        Err("--tlscacert must be provided when using --tlsverify".to_owned())
    );
    assert_eq!(
        check(false, false, false, true, false),
        Err(
            "--tlscert, --tlskey and --tlscacert require the use of either --tls or --tlsverify"
                .to_owned()
        )
    );
}

#[tokio::test]
async fn plaintext_is_for_this_machine_only() {
    let bind = async |address: &str, options: ListenOptions| {
        Listener::bind(&address.parse().unwrap(), options)
            .await
            .map(|listener| listener.address().to_owned())
            .map_err(|error| error.message().to_owned())
    };
    let refused = bind("tcp://0.0.0.0:0", ListenOptions::default()).await;
    assert_eq!(
        refused.unwrap_err(),
        "refusing to serve tcp://0.0.0.0:0 without TLS: whoever can connect owns every node. Use \
         --tlsverify with certificates, listen on 127.0.0.1 or a unix socket, or allow it \
         explicitly (--insecure-plaintext)"
    );
    let local = bind("tcp://127.0.0.1:0", ListenOptions::default())
        .await
        .unwrap();
    assert!(local.starts_with("tcp://127.0.0.1:"));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = Listener::bind(
        &"tcp://127.0.0.1:0".parse().unwrap(),
        ListenOptions::default(),
    )
    .await
    .unwrap();
    let error = Listener::bind(&first.address().parse().unwrap(), ListenOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        format!(
            "listen {}: Address already in use (os error 98)",
            first.address()
        )
    );
    // The classic hint belongs to Docker's own ports.
    let Ok(_docker) = std::net::TcpListener::bind("127.77.0.1:2375") else {
        panic!("nobody listens on 127.77.0.1")
    };
    let error = Listener::bind(
        &"tcp://127.77.0.1:2375".parse().unwrap(),
        ListenOptions::default(),
    )
    .await
    .unwrap_err();
    assert_eq!(
        error.message(),
        "listen tcp://127.77.0.1:2375: Address already in use (os error 98): is Docker already \
         running on this machine? Try using a different port"
    );
}

/// A node that was taken over must not become the master of the cluster.
#[tokio::test]
async fn a_node_s_certificate_does_not_open_the_endpoint() {
    let cluster = Cluster::new().await;
    let authority = Authority::new("ca");
    let folder = tempfile::tempdir().unwrap();
    let address = listening(&cluster, files(folder.path(), &authority)).await;
    let (node, manager) = ("longshore://node/n1", "longshore://manager/n1");
    let own = authority.issue_for("n1", &[node]);
    let answer = get(address, &authority, Some(own)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert_eq!(
        body,
        "{\"message\":\"this is a node's certificate, which may not call the endpoint: use a \
         client's (platform cert issue --role client) or a manager's\",\
         \"reason\":\"permission-denied\"}"
    );
    for uris in [&[node, manager][..], &["longshore://client/alice"], &[]] {
        let own = authority.issue_for("x", uris);
        let answer = get(address, &authority, Some(own)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{uris:?}: {answer}");
    }
}
