//! TLS to engines: the connector suite, and what is said when something is wrong.

#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use longshore_core::{
    BoxByteStream, Clock, Connector, Endpoint, Error, ErrorKind, SystemClock, Timestamp,
    testkit::{ManualClock, connector::Harness},
};
use longshore_engine::{TcpConnector, TlsConnector, TlsIdentity, TlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Mutex,
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Issued {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        Self(issuer.unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn issue(&self, names: &[&str], usages: &[ExtendedKeyUsagePurpose]) -> Issued {
        self.issue_with(names, usages, |_| {})
    }

    fn issue_with(
        &self,
        names: &[&str],
        usages: &[ExtendedKeyUsagePurpose],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "engine");
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        params.extended_key_usages = usages.to_vec();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    fn identity(&self) -> TlsIdentity {
        TlsIdentity::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// A server with this certificate that wants one of `clients`' from its clients, if given.
    fn server(&self, clients: Option<&Authority>) -> tokio_rustls::TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = builder.with_single_cert(self.chain(), key);
        Arc::new(config.unwrap()).into()
    }

    /// A server that shows this certificate and signs with the key of another.
    fn borrowed(
        &self,
        other: &Self,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> tokio_rustls::TlsAcceptor {
        let provider = rustls::crypto::ring::default_provider();
        let key = PrivateKeyDer::from_pem_slice(other.key.as_bytes()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let shown = CertifiedKey::new(self.chain(), key);
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        Arc::new(config).into()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        chain.map(Result::unwrap).collect()
    }
}

const SERVER: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];
const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn verified(authority: &Authority, identity: Option<&Issued>) -> TlsSettings {
    let identity = identity.map(Issued::identity);
    TlsSettings::verified(&authority.pem(), identity, clock()).unwrap()
}

/// A server that does a handshake with whoever comes, and answers a read.
async fn serve(acceptor: tokio_rustls::TlsAcceptor) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().into();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(tcp).await {
                    let _ = stream.read(&mut [0; 64]).await;
                    let _ = stream.write_all(b"ok").await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    endpoint
}

/// The error of a connect, or of the first read after it.
async fn failure(connector: &dyn Connector) -> Error {
    let mut stream = match connector.connect().await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let error = stream.read(&mut [0; 64]).await.expect_err("a failure");
    let told = error.get_ref().expect("a reason").downcast_ref::<Error>();
    let told = told.expect("one of ours");
    Error::new(told.kind(), told.message().to_owned())
}

#[track_caller]
fn check(error: &Error, kind: ErrorKind, message: &str) {
    assert_eq!(error.message(), message);
    assert_eq!(error.kind(), kind);
}

fn place(endpoint: &Endpoint) -> String {
    format!("TLS with the engine at tcp://{endpoint} failed")
}

#[tokio::test]
async fn a_missing_address_is_named_with_the_names_found() {
    let authority = Authority::new("lab CA");
    let issued = authority.issue(&["node-1", "10.9.8.7"], SERVER);
    let endpoint = serve(issued.server(None)).await;
    let connector = TlsConnector::new(endpoint.clone(), verified(&authority, None));
    check(
        &failure(&connector).await,
        ErrorKind::Unauthenticated,
        &format!(
            "{}: its certificate is not valid for 127.0.0.1: it has only DNS:node-1, IP:10.9.8.7. \
             Issue one with subjectAltName = IP:127.0.0.1, or dial a name that it has",
            place(&endpoint)
        ),
    );
    let named = connector.with_server_name("node-1");
    assert!(named.connect().await.is_ok());
}

#[tokio::test]
async fn a_certificate_without_names_is_told_as_such() {
    let authority = Authority::new("lab CA");
    let endpoint = serve(authority.issue(&[], SERVER).server(None)).await;
    let connector = TlsConnector::new(endpoint.clone(), verified(&authority, None));
    check(
        &failure(&connector).await,
        ErrorKind::Unauthenticated,
        &format!(
            "{}: its certificate is not valid for 127.0.0.1: it has no subject alternative names \
             at all. Issue one with subjectAltName = IP:127.0.0.1, or dial a name that it has",
            place(&endpoint)
        ),
    );
}

#[tokio::test]
async fn a_missing_key_usage_of_the_server_is_named() {
    let authority = Authority::new("lab CA");
    let endpoint = serve(authority.issue(&["127.0.0.1"], CLIENT).server(None)).await;
    let connector = TlsConnector::new(endpoint.clone(), verified(&authority, None));
    check(
        &failure(&connector).await,
        ErrorKind::Unauthenticated,
        &format!(
            "{}: its certificate lacks the extended key usage serverAuth (it has clientAuth). \
             Issue one with extendedKeyUsage = serverAuth",
            place(&endpoint)
        ),
    );
}

#[tokio::test]
async fn an_unknown_authority_is_named_beside_the_trusted_one() {
    let (authority, other) = (Authority::new("lab CA"), Authority::new("other CA"));
    let endpoint = serve(other.issue(&["127.0.0.1"], SERVER).server(None)).await;
    let connector = TlsConnector::new(endpoint.clone(), verified(&authority, None));
    check(
        &failure(&connector).await,
        ErrorKind::Unauthenticated,
        &format!(
            "{}: its certificate was issued by \"CN=other CA\", which the trusted CA (\"CN=lab \
             CA\") did not sign. Give the CA that issued it as --tlscacert",
            place(&endpoint)
        ),
    );
}

#[tokio::test]
async fn an_expired_certificate_is_judged_by_the_injected_clock() {
    let authority = Authority::new("lab CA");
    let issued = authority.issue_with(&["127.0.0.1"], SERVER, |params| {
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 2, 1);
    });
    let endpoint = serve(issued.server(None)).await;
    let at = |text: &str| {
        let time = Timestamp::parse_rfc3339(text).unwrap().unwrap();
        let clock = Arc::new(ManualClock::new(time));
        let settings = TlsSettings::verified(&authority.pem(), None, clock).unwrap();
        TlsConnector::new(endpoint.clone(), settings)
    };
    assert!(at("2026-01-15T00:00:00Z").connect().await.is_ok());
    check(
        &failure(&at("2026-03-01T00:00:00Z")).await,
        ErrorKind::Unauthenticated,
        &format!(
            "{}: its certificate expired on 2026-02-01T00:00:00Z. Renew it, or check this \
             machine's clock",
            place(&endpoint)
        ),
    );
    check(
        &failure(&at("2025-03-01T00:00:00Z")).await,
        ErrorKind::Unauthenticated,
        &format!(
            "{}: its certificate is valid only from 2026-01-01T00:00:00Z on. Check both clocks",
            place(&endpoint)
        ),
    );
}

#[tokio::test]
async fn a_refusal_of_our_certificate_is_explained() {
    let (authority, other) = (Authority::new("lab CA"), Authority::new("other CA"));
    let issued = authority.issue(&["127.0.0.1"], SERVER);
    let endpoint = serve(issued.server(Some(&authority))).await;

    let nobody = TlsConnector::new(endpoint.clone(), verified(&authority, None));
    let error = failure(&nobody).await;
    check(
        &error,
        ErrorKind::Unauthenticated,
        &format!(
            "{}: it refused our certificate (CertificateRequired): none was shown. Give one that \
             its --tlscacert issued as --tlscert and --tlskey",
            place(&endpoint)
        ),
    );

    let stranger = other.issue(&["client"], CLIENT);
    let stranger = TlsConnector::new(endpoint.clone(), verified(&authority, Some(&stranger)));
    let error = failure(&stranger).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(
        error.message().contains("it refused our certificate"),
        "{error}"
    );

    let known = authority.issue(&["client"], CLIENT);
    let known = TlsConnector::new(endpoint, verified(&authority, Some(&known)));
    let mut stream = known.connect().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"ok");
}

#[tokio::test]
async fn a_plaintext_engine_on_a_tls_port_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = listener.local_addr().unwrap().into();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tcp.read(&mut [0; 1024]).await;
        let _ = tcp
            .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
            .await;
    });
    let authority = Authority::new("lab CA");
    let connector = TlsConnector::new(endpoint.clone(), verified(&authority, None));
    check(
        &failure(&connector).await,
        ErrorKind::Protocol,
        &format!(
            "{}: it does not speak TLS on this port. Turn TLS on there (--tlsverify), or dial its \
             TLS port (2376 by custom)",
            place(&endpoint)
        ),
    );
}

#[tokio::test]
async fn a_tls_engine_on_a_plaintext_port_is_recognised() {
    let authority = Authority::new("lab CA");
    let endpoint = serve(authority.issue(&["127.0.0.1"], SERVER).server(None)).await;
    check(
        &failure(&TcpConnector::new(endpoint.clone())).await,
        ErrorKind::Protocol,
        &format!(
            "the engine at tcp://{endpoint} speaks TLS and was spoken to in plain text: turn TLS on \
             (--tlsverify with --tlscacert, --tlscert and --tlskey)"
        ),
    );
}

#[tokio::test]
async fn without_verification_any_server_will_do() {
    let authority = Authority::new("lab CA");
    let endpoint = serve(authority.issue(&["elsewhere"], CLIENT).server(None)).await;
    let settings = TlsSettings::dangerously_accept_any_server(None, clock()).unwrap();
    assert!(!settings.is_verified());
    assert!(
        TlsConnector::new(endpoint, settings)
            .connect()
            .await
            .is_ok()
    );
}

/// Certificates are public: also who takes any of them wants its key to be there.
#[tokio::test]
async fn a_certificate_that_was_copied_without_its_key_is_not_taken() {
    let authority = Authority::new("lab CA");
    let copied = authority.issue(&["127.0.0.1"], SERVER);
    let thief = authority.issue(&["127.0.0.1"], SERVER);
    let any = TlsSettings::dangerously_accept_any_server(None, clock()).unwrap();
    for settings in [any, verified(&authority, None)] {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let endpoint = serve(copied.borrowed(&thief, version)).await;
            let connector = TlsConnector::new(endpoint.clone(), settings.clone());
            check(
                &failure(&connector).await,
                ErrorKind::Unauthenticated,
                &format!(
                    "{}: it does not hold the key of the certificate that it shows",
                    place(&endpoint)
                ),
            );
            let endpoint = serve(copied.borrowed(&copied, version)).await;
            let connector = TlsConnector::new(endpoint, settings.clone());
            assert!(connector.connect().await.is_ok(), "{version:?}");
        }
    }
}

#[test]
fn unusable_files_fail_at_the_start_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let authority = Authority::new("lab CA");
    let (mine, other) = (
        authority.issue(&["a"], CLIENT),
        authority.issue(&["b"], CLIENT),
    );
    let server_only = authority.issue(&["c"], SERVER);
    let ca = file("ca.pem", &authority.pem());
    let empty = file("empty.pem", b"");
    let certificate = file("cert.pem", mine.certificate.as_bytes());
    let key = file("key.pem", mine.key.as_bytes());
    let wrong_key = file("wrong.pem", other.key.as_bytes());
    let no_client = file("server.pem", server_only.certificate.as_bytes());
    let encrypted = file(
        "encrypted.pem",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let missing = folder.path().join("missing.pem");
    let refuse = |ca, certificate, key| {
        let error = TlsSettings::from_files(ca, certificate, key, clock()).unwrap_err();
        error
            .message()
            .replace(&format!("{}/", folder.path().display()), "")
    };
    assert!(TlsSettings::from_files(&ca, &certificate, &key, clock()).is_ok());
    for (ca, certificate, key, message) in [
        (
            &empty,
            &certificate,
            &key,
            "the CA file empty.pem holds no certificate in PEM form",
        ),
        (
            &key,
            &certificate,
            &key,
            "the CA file key.pem holds no certificate in PEM form",
        ),
        (
            &ca,
            &empty,
            &key,
            "the certificate file empty.pem holds no certificate in PEM form",
        ),
        (
            &ca,
            &certificate,
            &empty,
            "the key file empty.pem holds no private key in PEM form",
        ),
        (
            &ca,
            &certificate,
            &missing,
            "cannot read the file missing.pem",
        ),
        (
            &ca,
            &certificate,
            &wrong_key,
            "the private key does not belong to the certificate",
        ),
        (
            &ca,
            &certificate,
            &encrypted,
            "the key file encrypted.pem is encrypted: decrypt it first (openssl pkey -in key.pem \
             -out plain.pem)",
        ),
        (
            &ca,
            &no_client,
            &key,
            "the certificate file server.pem lacks the extended key usage clientAuth (it has \
             serverAuth): engines will refuse it. Issue one with extendedKeyUsage = clientAuth",
        ),
    ] {
        assert_eq!(refuse(ca, certificate, key), message);
    }
}

#[test]
fn secrets_are_not_in_debug() {
    let issued = Authority::new("lab CA").issue(&["a"], CLIENT);
    assert_eq!(format!("{:?}", issued.identity()), "TlsIdentity(…)");
}

struct Tls {
    connector: Arc<TlsConnector>,
    acceptor: tokio_rustls::TlsAcceptor,
    listener: Mutex<Option<TcpListener>>,
    address: std::net::SocketAddr,
}

impl Tls {
    async fn new() -> Self {
        let authority = Authority::new("lab CA");
        let acceptor = authority
            .issue(&["127.0.0.1"], SERVER)
            .server(Some(&authority));
        let client = authority.issue(&["client"], CLIENT);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = verified(&authority, Some(&client));
        Self {
            connector: Arc::new(TlsConnector::new(address.into(), settings)),
            acceptor,
            listener: Mutex::new(Some(listener)),
            address,
        }
    }
}

#[async_trait]
impl Harness for Tls {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    async fn accept(&self) -> BoxByteStream {
        let listener = self.listener.lock().await;
        loop {
            let (tcp, _) = listener.as_ref().unwrap().accept().await.unwrap();
            // A handshake that was given up is no stream.
            if let Ok(stream) = self.acceptor.accept(tcp).await {
                return Box::new(stream);
            }
        }
    }

    async fn go_down(&self) -> bool {
        self.listener.lock().await.take();
        true
    }

    async fn come_back(&self) {
        *self.listener.lock().await = Some(TcpListener::bind(self.address).await.unwrap());
    }
}

mod suite {
    use super::*;
    longshore_core::connector_suite!(live, Tls::new().await);
}
