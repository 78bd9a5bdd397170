use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use longshore_core::{
    BoxByteStream, Clock, Error, ErrorKind, Result,
    tls::{CLIENT_URI, ClockTime, MANAGER_URI, certificates, private_key, provider, roots},
};
use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    pki_types::{CertificateDer, ServerName},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::network::{RaftAccess, RaftPeer};

/// Mutual TLS 1.3 between managers: whose authority is trusted, and who we are.
///
/// A manager is who shows a certificate of this authority with a URI name `longshore://manager/…`,
/// as `platform cert issue --role manager` makes them; it must name the host that is dialled as well.
/// `longshore://client/…` may read and write the store. Anybody else, nodes too, is turned away.
///
/// The files are read again for every new connection, so renewed certificates count from then on;
/// while they can't be read, those read last do.
#[derive(Clone)]
pub struct RaftTls {
    files: Arc<Files>,
}

struct Files {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    clock: Arc<dyn Clock>,
    last: Mutex<Configs>,
}

#[derive(Clone)]
struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl RaftTls {
    /// Trusts the certificates in the first file, and shows the second with the key in the third.
    /// Validity is judged by this clock.
    ///
    /// # Errors
    /// A file can't be read or holds nothing usable, or the key does not belong to the certificate;
    /// it is named.
    pub fn from_files(
        authority: impl AsRef<Path>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let paths = [authority.as_ref(), certificate.as_ref(), key.as_ref()];
        let last = Mutex::new(read_configs(paths, &clock)?);
        let [authority, certificate, key] = paths.map(Path::to_path_buf);
        Ok(Self {
            files: Arc::new(Files {
                authority,
                certificate,
                key,
                clock,
                last,
            }),
        })
    }

    /// As the one who dials `host`.
    pub(super) async fn connect(&self, stream: TcpStream, host: &str) -> Result<BoxByteStream> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::invalid(format!("{host:?} is no name that a certificate has")))?;
        let stream = TlsConnector::from(self.configs().client)
            .connect(name, stream)
            .await
            .map_err(|error| failed(&format!("the manager at {host}"), error))?;
        let shown = stream.get_ref().1.peer_certificates();
        match access(shown)? {
            RaftAccess::Manager => Ok(Box::new(stream)),
            RaftAccess::Client => Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("who listens at {host} shows a client's certificate, not a manager's"),
            )),
        }
    }

    /// As the one who is dialled.
    pub(super) async fn accept(&self, stream: TcpStream, from: &str) -> Result<RaftPeer> {
        let stream = TlsAcceptor::from(self.configs().server)
            .accept(stream)
            .await
            .map_err(|error| failed(&format!("a peer at {from}"), error))?;
        let access = access(stream.get_ref().1.peer_certificates())
            .map_err(|error| error.with_context("peer", from.to_owned()))?;
        Ok(RaftPeer::new(Box::new(stream), access))
    }

    /// The files as they are, or as they last were.
    fn configs(&self) -> Configs {
        let files = &self.files;
        let paths = [&files.authority, &files.certificate, &files.key];
        let read = read_configs(paths.map(PathBuf::as_path), &files.clock);
        let mut last = files.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(configs) => *last = configs,
            Err(error) => {
                let error = error.chain();
                tracing::warn!(error, "the TLS files can't be read; the last ones count on");
            }
        }
        last.clone()
    }
}

impl fmt::Debug for RaftTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RaftTls(…)")
    }
}

fn read_configs(paths: [&Path; 3], clock: &Arc<dyn Clock>) -> Result<Configs> {
    let [authority, certificate, key] = paths;
    let named = |path: &Path, error: Error| {
        let text = format!("{}: {}", path.display(), error.message());
        Error::invalid(text).with_source(error)
    };
    let trusted = Arc::new(roots(&read(authority)?).map_err(|error| named(authority, error))?);
    let chain = certificates(&read(certificate)?).map_err(|error| named(certificate, error))?;
    let private = private_key(&read(key)?).map_err(|error| named(key, error))?;
    let mismatch = |error: rustls::Error| {
        let message = format!(
            "the key in {} does not belong to the certificate in {}, or one can't be used",
            key.display(),
            certificate.display()
        );
        Error::invalid(message).with_source(error)
    };
    let time = Arc::new(ClockTime::new(clock.clone()));
    let mut client = ClientConfig::builder_with_details(provider(), time.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(mismatch)?
        .with_root_certificates(trusted.clone())
        .with_client_auth_cert(chain.clone(), private.clone_key())
        .map_err(mismatch)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    let verifier = WebPkiClientVerifier::builder_with_provider(trusted, provider())
        .build()
        .map_err(|error| {
            let message = format!("{} can't be used to check peers", authority.display());
            Error::invalid(message).with_source(error)
        })?;
    let mut server = ServerConfig::builder_with_details(provider(), time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(mismatch)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, private)
        .map_err(mismatch)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(Configs {
        client: Arc::new(client),
        server: Arc::new(server),
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::invalid(format!("cannot read the TLS file {}", path.display())).with_source(error)
    })
}

/// What the holder of a certificate may do, by its URI names.
fn access(chain: Option<&[CertificateDer<'_>]>) -> Result<RaftAccess> {
    let refused = |why: &str| Error::new(ErrorKind::Unauthenticated, why.to_owned());
    let first = chain
        .and_then(<[_]>::first)
        .ok_or_else(|| refused("the peer shows no certificate"))?;
    let (_, parsed) = X509Certificate::from_der(first)
        .map_err(|_| refused("the peer's certificate can't be read"))?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let has = |prefix: &str| {
        names
            .iter()
            .any(|name| matches!(name, GeneralName::URI(uri) if uri.starts_with(prefix)))
    };
    if has(MANAGER_URI) {
        return Ok(RaftAccess::Manager);
    }
    if has(CLIENT_URI) {
        return Ok(RaftAccess::Client);
    }
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "the peer's certificate is neither a manager's nor a client's: a URI name \
             {MANAGER_URI}<id> or {CLIENT_URI}<id> is missing"
        ),
    ))
}

fn failed(peer: &str, error: std::io::Error) -> Error {
    let cause = error.get_ref();
    let is_refusal = cause
        .and_then(|cause| cause.downcast_ref::<rustls::Error>())
        .is_some();
    match is_refusal {
        true => Error::new(
            ErrorKind::Unauthenticated,
            format!("{peer}: the TLS handshake failed: {error}"),
        )
        .with_source(error),
        false => Error::unavailable(format!("{peer}: the TLS handshake broke")).with_source(error),
    }
}

/// What managers speak inside TLS.
const ALPN: &[u8] = b"longshore-raft/1";
