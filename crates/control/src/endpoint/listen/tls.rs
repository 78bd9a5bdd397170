use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use longshore_core::{
    Clock, Error, ErrorKind, Identity, Result,
    tls::{self, ClockTime, MANAGER_URI, NODE_URI},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
    server::WebPkiClientVerifier,
    time_provider::TimeProvider,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::refusal::{NODE_ANSWER, PLAINTEXT_ANSWER, refuse};

/// Certificate files in PEM form, as the flags `--tls`, `--tlsverify`, `--tlscacert`, `--tlscert`
/// and `--tlskey` name them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities whose clients are let in; `None`: anybody is.
    pub ca: Option<PathBuf>,
}

impl TlsFiles {
    /// From the flags. `None` when no TLS was asked for.
    ///
    /// # Errors
    /// A combination that makes no sense, in Swarm's words.
    pub fn from_flags(
        tls: bool,
        verify: bool,
        ca: Option<&Path>,
        cert: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Option<Self>> {
        if !tls && !verify {
            return if ca.is_none() && cert.is_none() && key.is_none() {
                Ok(None)
            } else {
                Err(Error::invalid(
                    "--tlscert, --tlskey and --tlscacert require the use of either --tls or \
                     --tlsverify",
                ))
            };
        }
        let (Some(cert), Some(key)) = (cert, key) else {
            return Err(Error::invalid(
                "--tlscert and --tlskey must be provided when using --tls",
            ));
        };
        if verify && ca.is_none() {
            return Err(Error::invalid(
                "--tlscacert must be provided when using --tlsverify",
            ));
        }
        Ok(Some(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            ca: ca.filter(|_| verify).map(Path::to_owned),
        }))
    }

    /// Clients must have a certificate of this authority.
    pub fn verified(
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        ca: impl Into<PathBuf>,
    ) -> Self {
        Self {
            cert: cert.into(),
            key: key.into(),
            ca: Some(ca.into()),
        }
    }

    /// What an operator should be told of this configuration, if anything.
    pub fn warning(&self) -> Option<&'static str> {
        self.ca
            .is_none()
            .then_some("TLS without --tlsverify: the endpoint lets in every client, whoever it is")
    }
}

/// A listener's certificates, to be read again while it serves: how they are rotated. Clones share
/// one state.
#[derive(Clone)]
pub struct TlsReload(Arc<Shared>);

impl TlsReload {
    /// Reads the files again, for connections made from now on; those that are open go on. Blocks
    /// the thread.
    ///
    /// # Errors
    /// As [`Listener::bind`](super::Listener::bind) for files that can't be used; the old
    /// certificates stay in use then.
    pub fn reload(&self) -> Result<()> {
        let config = config(&self.0.files, &self.0.clock)?;
        let current = &self.0.current;
        *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }
}

impl fmt::Debug for TlsReload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsReload").field(&self.0.files).finish()
    }
}

struct Shared {
    files: TlsFiles,
    clock: Arc<ServersClock>,
    current: RwLock<Arc<ServerConfig>>,
}

/// The clock that certificates are judged by: known once the listener is served.
#[derive(Debug, Default)]
struct ServersClock(OnceLock<ClockTime>);

impl TimeProvider for ServersClock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.get()?.current_time()
    }
}

/// Takes TLS connections.
#[derive(Clone)]
pub(super) struct Acceptor(Arc<Shared>);

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    pub(super) fn new(files: &TlsFiles) -> Result<Self> {
        let clock = Arc::new(ServersClock::default());
        let config = config(files, &clock)?;
        if let Some(warning) = files.warning() {
            tracing::warn!("{warning}");
        }
        Ok(Self(Arc::new(Shared {
            files: files.clone(),
            clock,
            current: RwLock::new(Arc::new(config)),
        })))
    }

    /// Judges certificates by this clock.
    pub(super) fn judging_by(self, clock: Arc<dyn Clock>) -> Self {
        // A listener is served once, so nobody else has set it.
        let _ = self.0.clock.0.set(ClockTime::new(clock));
        self
    }

    pub(super) fn reload(&self) -> TlsReload {
        TlsReload(Arc::clone(&self.0))
    }

    fn current(&self) -> Arc<ServerConfig> {
        let current = self.0.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes one connection, up to who it is.
    pub(super) async fn accept(
        &self,
        mut stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Identity)> {
        let mut first = [0];
        let seen = stream
            .peek(&mut first)
            .await
            .map_err(|error| Error::io("the client left", error))?;
        if seen == 0 {
            return Err(Error::closed("the client left before the handshake"));
        }
        // Every TLS record of a handshake begins with this byte, and no HTTP request does.
        if first[0] != HANDSHAKE_RECORD {
            let _ = stream.write_all(PLAINTEXT_ANSWER).await;
            let _ = stream.shutdown().await;
            return Err(Error::protocol(
                "the client speaks plaintext to a TLS port: it needs --tls or --tlsverify",
            ));
        }
        let acceptor = TlsAcceptor::from(self.current());
        let mut stream = acceptor.accept(stream).await.map_err(|error| {
            Error::new(ErrorKind::Unauthenticated, advice(&error)).with_source(error)
        })?;
        let who = match stream.get_ref().1.peer_certificates() {
            Some([certificate, ..]) => match caller(certificate)? {
                Caller::Of(subject) => Identity::new(subject, "tls"),
                Caller::Node(node) => {
                    refuse(&mut stream, NODE_ANSWER).await;
                    return Err(Error::new(
                        ErrorKind::PermissionDenied,
                        format!("node {node} called the endpoint with its node certificate"),
                    ));
                }
            },
            _ => Identity::new("anonymous", "none"),
        };
        Ok((stream, who))
    }
}

fn config(files: &TlsFiles, clock: &Arc<ServersClock>) -> Result<ServerConfig> {
    let pair = |reason: &str| {
        Error::invalid(format!(
            "Couldn't load X509 key pair ({}, {}): {reason}. Key encrypted?",
            files.cert.display(),
            files.key.display()
        ))
    };
    let parts = || {
        let chain = tls::certificates(&read(&files.cert)?)?;
        Ok((chain, tls::private_key(&read(&files.key)?)?))
    };
    let (chain, key) = parts().map_err(|error: Error| pair(error.message()))?;
    let provider = tls::provider();
    let builder = ServerConfig::builder_with_details(
        Arc::clone(&provider),
        Arc::<ServersClock>::clone(clock),
    )
    .with_safe_default_protocol_versions()
    .map_err(|error| Error::internal(error.to_string()))?;
    let builder = match &files.ca {
        Some(path) => {
            let bad = |reason: &str| {
                Error::invalid(format!(
                    "Couldn't read CA certificate: {}: {reason}",
                    path.display()
                ))
            };
            let roots = read(path).and_then(|pem| tls::roots(&pem));
            let roots = Arc::new(roots.map_err(|error| bad(error.message()))?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| bad(&error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| pair(&explain_pair(&error)))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::invalid(error.to_string()))
}

fn explain_pair(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key does not belong to the certificate".to_owned()
        }
        other => other.to_string(),
    }
}

/// What is wrong with a handshake, and the cure.
fn advice(error: &io::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error as Tls};
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Tls>());
    match inner {
        Some(Tls::NoCertificatesPresented) => {
            "the client has no certificate: it needs --tlscert and --tlskey".to_owned()
        }
        Some(Tls::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the client's certificate is from an authority that is not in --tlscacert".to_owned()
        }
        Some(Tls::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "the client's certificate has expired: issue a new one".to_owned(),
        Some(Tls::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        )) => "the client's certificate lacks the extended key usage clientAuth".to_owned(),
        Some(Tls::AlertReceived(AlertDescription::UnknownCA)) => {
            "the client does not know the authority of this endpoint's certificate: give it the \
             same --tlscacert"
                .to_owned()
        }
        Some(Tls::AlertReceived(AlertDescription::BadCertificate)) => {
            "the client refused this endpoint's certificate: look for a missing subject \
             alternative name (an IP address needs an IP entry) or the extended key usage \
             serverAuth"
                .to_owned()
        }
        _ => "the TLS handshake failed".to_owned(),
    }
}

/// Whose certificate it is.
enum Caller {
    /// Somebody who may call: by the subject, `CN=alice,O=ops`.
    Of(String),
    /// A node: whoever takes one over holds its certificate, and must not command the cluster.
    Node(String),
}

fn caller(certificate: &CertificateDer<'_>) -> Result<Caller> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| {
        Error::new(
            ErrorKind::Unauthenticated,
            "the client's certificate can't be read",
        )
        .with_source(io::Error::other(error.to_string()))
    })?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let uri = |prefix: &str| {
        names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(prefix),
            _ => None,
        })
    };
    if let (Some(node), None) = (uri(NODE_URI), uri(MANAGER_URI)) {
        return Ok(Caller::Node(node.escape_debug().to_string()));
    }
    let subject = parsed.subject().to_string();
    if !subject.is_empty() {
        return Ok(Caller::Of(subject));
    }
    // A certificate may name its owner in the alternative names only.
    names
        .first()
        .map(|name| Caller::Of(name.to_string()))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Unauthenticated,
                "the client's certificate names nobody",
            )
        })
}

const HANDSHAKE_RECORD: u8 = 0x16;
