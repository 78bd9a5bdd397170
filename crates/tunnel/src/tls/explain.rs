use std::io;

use longshore_core::{Error, ErrorKind, Timestamp, printable};
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

/// Says what is wrong with a TLS connection and how to cure it.
pub(super) fn explain(error: io::Error) -> Error {
    let Some(cause) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        let message = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the peer closed the connection during the TLS handshake; its log says why"
            }
            _ => "the connection failed",
        };
        return Error::unavailable(message).with_source(error);
    };
    let (kind, message) = describe(cause);
    // Names in a certificate are a peer's words.
    Error::new(kind, printable(&message, LONGEST).into_owned()).with_source(error)
}

/// More of an explanation is not needed; a certificate can hold very many names.
const LONGEST: usize = 2048;

fn describe(error: &rustls::Error) -> (ErrorKind, String) {
    match error {
        rustls::Error::InvalidCertificate(reason) => (
            ErrorKind::Unauthenticated,
            format!("the peer's certificate {}", certificate(reason)),
        ),
        rustls::Error::NoCertificatesPresented => (
            ErrorKind::Unauthenticated,
            "the peer showed no certificate; tunnels need one on both sides".to_owned(),
        ),
        rustls::Error::AlertReceived(alert) => alert_received(*alert),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
            ErrorKind::Protocol,
            "the peer speaks plain text where TLS is expected; check the port, and that both \
             sides use TLS"
                .to_owned(),
        ),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => (
            ErrorKind::Protocol,
            "the peer does not speak TLS 1.3, which tunnels need".to_owned(),
        ),
        rustls::Error::NoApplicationProtocol => (ErrorKind::Protocol, NOT_LONGSHORE.to_owned()),
        other => (
            ErrorKind::Protocol,
            format!("the TLS connection failed: {other}"),
        ),
    }
}

fn certificate(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => "is signed by an unknown CA; add its CA to the trusted \
             ones here, or issue it from the CA that this side trusts"
            .to_owned(),
        CertificateError::BadSignature => {
            "was not signed by the CA that it names; was the CA made anew? Issue it again"
                .to_owned()
        }
        CertificateError::Expired => "has expired; renew it, and check both clocks".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "expired at {} and it is {} here; renew it, and check both clocks",
            moment(*not_after),
            moment(*time)
        ),
        CertificateError::NotValidYet => {
            "is not valid yet; check the clocks of both machines".to_owned()
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "is valid from {} and it is {} here; check the clocks of both machines",
            moment(*not_before),
            moment(*time)
        ),
        CertificateError::InvalidPurpose => format!("lacks a key usage; {BOTH_USAGES}"),
        CertificateError::InvalidPurposeContext { required, .. } => {
            format!("lacks the extended key usage {required}; {BOTH_USAGES}")
        }
        CertificateError::NotValidForName => "is for another name".to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let found = diallable(presented);
            format!(
                "is not for {}, it names {found}; dial one of these, or issue it with this name (an \
                 address needs an IP SAN)",
                expected.to_str()
            )
        }
        CertificateError::Revoked => "has been revoked; enrol the node again".to_owned(),
        CertificateError::Other(other) => format!("is not accepted: {}", other.0),
        other => format!("is not accepted: {other}"),
    }
}

fn alert_received(alert: AlertDescription) -> (ErrorKind, String) {
    let reason = match alert {
        AlertDescription::UnknownCA => {
            "it does not know the CA of this side's certificate; give it that CA, or issue this \
             side's certificate from the CA that it trusts"
        }
        AlertDescription::CertificateExpired => {
            "this side's certificate has expired or is not valid yet; renew it, and check both clocks"
        }
        AlertDescription::CertificateRevoked => {
            "this side's certificate was revoked; enrol the node again"
        }
        AlertDescription::CertificateRequired => "it wants a certificate and got none",
        AlertDescription::UnsupportedCertificate => {
            "this side's certificate lacks a key usage; nodes need both serverAuth and clientAuth"
        }
        AlertDescription::BadCertificate => {
            "this side's certificate has a wrong form or does not hold the name that it dialled"
        }
        AlertDescription::DecryptError => {
            "this side's certificate was not signed by the CA that it names; was the CA made anew? \
             Issue it again"
        }
        AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => {
            "it does not accept this side's certificate"
        }
        AlertDescription::NoApplicationProtocol => {
            return (ErrorKind::Protocol, NOT_LONGSHORE.to_owned());
        }
        AlertDescription::ProtocolVersion => {
            return (
                ErrorKind::Protocol,
                "the peer does not speak TLS 1.3, which tunnels need".to_owned(),
            );
        }
        other => {
            return (
                ErrorKind::Protocol,
                format!("the peer ended the TLS handshake: {other:?}"),
            );
        }
    };
    (
        ErrorKind::Unauthenticated,
        format!("the peer refused the connection: {reason}"),
    )
}

/// The names that could be dialled, out of the TLS library's `DnsName("a")`, `IpAddress(b)`, ….
fn diallable(presented: &[String]) -> String {
    let names: Vec<&str> = presented
        .iter()
        .filter(|name| name.starts_with("DnsName") || name.starts_with("IpAddress"))
        .filter_map(|name| name.split_once('('))
        .map(|(_, name)| name.trim_end_matches(')').trim_matches('"'))
        .collect();
    if names.is_empty() {
        "no DNS name and no address".to_owned()
    } else {
        names.join(", ")
    }
}

fn moment(time: rustls::pki_types::UnixTime) -> Timestamp {
    Timestamp::from_secs(time.as_secs())
}

pub(super) const NOT_LONGSHORE: &str =
    "the peer speaks TLS and not longshore's tunnel protocol; check the port";
const BOTH_USAGES: &str = "issue it with both serverAuth and clientAuth";
