use std::{fmt, path::Path, time::Duration};

use longshore_core::{Error, NodeId, Random, Result, Timestamp, tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber,
};
use time::OffsetDateTime;

use super::{NodeKey, Profile, TlsIdentity, TlsTrust, Usage, files, name};

/// A certificate authority for one cluster. `Debug` never shows its key.
///
/// ```
/// use longshore_core::{Clock, NodeId, OsRandom, SystemClock};
/// use longshore_tunnel::pki::{Authority, NodeKey, Profile};
///
/// # fn main() -> longshore_core::Result<()> {
/// let now = SystemClock::new().now();
/// let authority = Authority::generate("my cluster", now, &OsRandom)?;
///
/// // On the node: the key stays there.
/// let node = NodeId::new("node-1")?;
/// let key = NodeKey::generate()?;
/// let request = key.request(&node)?;
///
/// // At the authority: it decides whose certificate this is.
/// let profile = Profile::new(node.clone()).with_host("10.0.0.7")?;
/// let chain = authority.sign(&request, &profile, now, &OsRandom)?;
///
/// // On the node again.
/// let identity = key.into_identity(&chain)?;
/// assert_eq!(identity.node()?, node);
/// # Ok(())
/// # }
/// ```
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl Authority {
    /// A new authority with a key of its own, valid for ten years. `name` is for people.
    ///
    /// # Errors
    /// The key or the certificate can't be made.
    pub fn generate(name: &str, now: Timestamp, random: &dyn Random) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        // Two authorities of one name would be told apart by their signatures only, and a peer of
        // the other one would be refused with "bad signature" where "unknown CA" is meant.
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{name} {}", random.hex(4)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, TEN_YEARS)?;
        params.serial_number = Some(serial(random));
        let key = KeyPair::generate().map_err(|error| internal("cannot make a key", error))?;
        let issuer = CertifiedIssuer::self_signed(params, key)
            .map_err(|error| internal("cannot make the CA certificate", error))?;
        let certificate_pem = issuer.pem();
        Self::from_pem(&certificate_pem, &issuer.key().serialize_pem())
    }

    /// An authority kept from an earlier run: its certificate and its private key in PEM.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) when one can't be read,
    /// the certificate is not a CA's, or the two do not belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self> {
        let parsed = tls::certificates(certificate.as_bytes())?;
        let first = &parsed[0];
        if !name::is_authority(first)? {
            return Err(Error::invalid("the certificate is not a CA's"));
        }
        // For its message about encrypted and missing keys.
        tls::private_key(key.as_bytes())?;
        let key = KeyPair::from_pem(key)
            .map_err(|_| Error::invalid("the CA's private key can't be read"))?;
        if name::public_key(first)? != key.der_bytes() {
            return Err(Error::invalid(
                "the private key does not belong to the CA certificate",
            ));
        }
        let issuer = Issuer::from_ca_cert_der(first, key)
            .map_err(|error| internal("cannot use the CA certificate", error))?;
        Ok(Self {
            issuer,
            certificate_pem: certificate.to_owned(),
        })
    }

    /// The same from files. Blocks the thread.
    ///
    /// # Errors
    /// A file can't be read, or as [`from_pem`](Self::from_pem).
    pub fn load(certificate: &Path, key: &Path) -> Result<Self> {
        let (certificate_pem, key_pem) = (files::read_file(certificate)?, files::read_file(key)?);
        Self::from_pem(&certificate_pem, &key_pem).map_err(|error| {
            error
                .with_context("certificate", certificate.display())
                .with_context("key", key.display())
        })
    }

    /// Writes both files, readable by their owner only. Blocks the thread.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<()> {
        files::write_private_file(key, self.issuer.key().serialize_pem().as_bytes())?;
        files::write_private_file(certificate, self.certificate_pem.as_bytes())
    }

    /// The CA certificate in PEM. Not a secret: everybody needs it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Trust in this authority.
    ///
    /// # Errors
    /// The certificate can't be used as a trust anchor.
    pub fn trust(&self) -> Result<TlsTrust> {
        TlsTrust::from_pem(&self.certificate_pem)
    }

    /// A key and its certificate, for the process that holds the authority. Nodes make their own
    /// key and send a request: see [`sign`](Self::sign).
    ///
    /// # Errors
    /// The profile holds a name that no certificate can hold.
    pub fn issue(
        &self,
        profile: &Profile,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<TlsIdentity> {
        let key = NodeKey::generate()?;
        let request = key.request(&profile.node)?;
        key.into_identity(&self.sign(&request, profile, now, random)?)
    }

    /// Signs the key of a request (PEM) and returns the certificate in PEM. Only the key is taken
    /// from the request, and the proof that its sender holds it: whose certificate it becomes, and
    /// what it says, is the profile's to decide.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) when the request can't
    /// be read or is not signed by its own key.
    pub fn sign(
        &self,
        request: &str,
        profile: &Profile,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<String> {
        if request.len() > MAX_REQUEST {
            return Err(Error::invalid(
                "the certificate request is larger than 64 KiB",
            ));
        }
        let request = CertificateSigningRequestParams::from_pem(request).map_err(|error| {
            Error::invalid(format!("the certificate request can't be used: {error}"))
        })?;
        let params = node_params(profile, now, random)?;
        let certificate = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(|error| internal("cannot sign the certificate", error))?;
        Ok(certificate.pem())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn node_params(
    profile: &Profile,
    now: Timestamp,
    random: &dyn Random,
) -> Result<CertificateParams> {
    let text = |name: String| {
        name.clone()
            .try_into()
            .map_err(|error| Error::invalid(format!("no certificate can name {name:?}: {error}")))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name(&profile.node));
    for uri in name::uris(&profile.node, profile.role) {
        params.subject_alt_names.push(SanType::URI(text(uri)?));
    }
    for name in &profile.dns_names {
        params
            .subject_alt_names
            .push(SanType::DnsName(text(name.clone())?));
    }
    params
        .subject_alt_names
        .extend(profile.addresses.iter().copied().map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match profile.usage {
        Usage::Both => {
            vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ]
        }
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, profile.validity)?;
    params.serial_number = Some(serial(random));
    Ok(params)
}

/// Valid a little before now, for machines whose clocks are behind.
fn set_validity(params: &mut CertificateParams, now: Timestamp, lasts: Duration) -> Result<()> {
    let moment = |at: Timestamp| {
        i64::try_from(at.as_secs())
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(|| Error::invalid("the certificate's validity is out of range"))
    };
    params.not_before = moment(now.before(CLOCK_SKEW))?;
    params.not_after = moment(now.after(lasts))?;
    Ok(())
}

/// 127 random bits: positive, and never used twice.
fn serial(random: &dyn Random) -> SerialNumber {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

/// For people; X.520 allows 64 characters. The identity is the URI name.
pub(super) fn common_name(node: &NodeId) -> String {
    node.as_str().chars().take(64).collect()
}

pub(super) fn internal(what: &'static str, error: rcgen::Error) -> Error {
    Error::internal(what).with_source(error)
}

const TEN_YEARS: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
const MAX_REQUEST: usize = 64 * 1024;
