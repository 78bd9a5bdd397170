use std::{fmt, io, net::IpAddr};

use longshore_core::{Error, ErrorKind, Timestamp};
use rustls::{
    AlertDescription, CertificateError,
    pki_types::{CertificateDer, ServerName},
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::connect::place::Place;

/// A sentence about a certificate, on its way through rustls's error type.
#[derive(Debug)]
pub(super) struct Explained(pub(super) String);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Explained {}

/// What is wrong with a server's certificate and how to cure it.
pub(super) fn certificate(
    reason: &CertificateError,
    certificate: &CertificateDer<'_>,
    dialled: &ServerName<'_>,
    trusted: &[String],
) -> String {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return "its certificate is not valid X.509".to_owned();
    };
    let dialled = dialled.to_str();
    match reason {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let kind = match dialled.parse::<IpAddr>() {
                Ok(_) => "IP",
                Err(_) => "DNS",
            };
            let names = subject_names(&parsed);
            let names = if names.is_empty() {
                "no subject alternative names at all".to_owned()
            } else {
                format!("only {}", names.join(", "))
            };
            format!(
                "its certificate is not valid for {dialled}: it has {names}. Issue one with \
                 subjectAltName = {kind}:{dialled}, or dial a name that it has"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!(
                "its certificate lacks the extended key usage serverAuth (it has {}). Issue one \
                 with extendedKeyUsage = serverAuth",
                key_usages(&parsed)
            )
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate was issued by \"{}\", which the trusted CA (\"{}\") did not sign. \
             Give the CA that issued it as --tlscacert",
            parsed.issuer(),
            trusted.join("\", \"")
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "its certificate expired on {}. Renew it, or check this machine's clock",
            time(parsed.validity().not_after.timestamp())
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "its certificate is valid only from {} on. Check both clocks",
            time(parsed.validity().not_before.timestamp())
        ),
        other => format!("its certificate was refused: {other}"),
    }
}

/// Why a handshake, or a stream after it, failed. `verified` says whether we showed a certificate
/// that the server may dislike.
pub(super) fn failure(place: &Place, error: io::Error) -> Error {
    let say = |kind, text: String| {
        Error::new(kind, format!("TLS with {place} failed: {text}")).with_retryable(false)
    };
    let told = match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            say(ErrorKind::Unauthenticated, other.to_string())
        }
        // Of the handshake: of the certificate's own it is said above.
        Some(rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => say(
            ErrorKind::Unauthenticated,
            "it does not hold the key of the certificate that it shows".to_owned(),
        ),
        Some(rustls::Error::InvalidMessage(_)) => say(
            ErrorKind::Protocol,
            "it does not speak TLS on this port. Turn TLS on there (--tlsverify), or dial its TLS \
             port (2376 by custom)"
                .to_owned(),
        ),
        Some(rustls::Error::PeerIncompatible(reason)) => say(
            ErrorKind::Protocol,
            format!("it speaks neither TLS 1.3 nor 1.2 as this side does ({reason:?})"),
        ),
        Some(rustls::Error::AlertReceived(alert)) => match refusal(*alert) {
            Some(text) => say(ErrorKind::Unauthenticated, text),
            None => say(ErrorKind::Protocol, format!("it sent the alert {alert:?}")),
        },
        _ if error.kind() == io::ErrorKind::UnexpectedEof => Error::unavailable(format!(
            "TLS with {place} failed: it closed the connection without a word; \
             perhaps it does not speak TLS on this port"
        )),
        _ => Error::unavailable(format!("the TLS connection to {place} broke")),
    };
    told.with_source(error)
}

/// The alerts by which servers refuse a client's certificate.
fn refusal(alert: AlertDescription) -> Option<String> {
    let reason = match alert {
        AlertDescription::CertificateRequired => "none was shown",
        AlertDescription::UnknownCA => "it does not know the CA that issued it",
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnsupportedCertificate => "it lacks the extended key usage clientAuth",
        // What Go's TLS says in almost every case, dockerd included.
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "none was shown, or its CA is not trusted there, it has expired, or it lacks the \
             extended key usage clientAuth"
        }
        AlertDescription::AccessDenied => "access was denied",
        _ => return None,
    };
    Some(format!(
        "it refused our certificate ({alert:?}): {reason}. Give one that its --tlscacert issued as \
         --tlscert and --tlskey"
    ))
}

pub(super) fn subject(certificate: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(certificate)
        .map(|(_, parsed)| parsed.subject().to_string())
        .unwrap_or_default()
}

/// The extended key usages by name, for people.
pub(super) fn key_usages(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(usage)) = certificate.extended_key_usage() else {
        return "none".to_owned();
    };
    let usage = usage.value;
    let known = [
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let names: Vec<_> = known
        .iter()
        .filter_map(|(has, name)| has.then_some(*name))
        .collect();
    if names.is_empty() {
        "others".to_owned()
    } else {
        names.join(", ")
    }
}

fn subject_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter().take(20);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
            GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
                Ok(four) => Some(format!("IP:{}", IpAddr::from(four))),
                Err(_) => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|sixteen| format!("IP:{}", IpAddr::from(sixteen))),
            },
            _ => None,
        })
        .collect()
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_secs(u64::try_from(seconds).unwrap_or_default())
}
