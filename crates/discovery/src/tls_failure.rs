//! What is wrong with a TLS connection and what to do, for the failures that people meet.

use std::io;

use longshore_core::{Error, ErrorKind};
use rustls::{AlertDescription, CertificateError};

/// A handshake that failed. `peer` is what was dialled; its options begin with `options`.
pub(crate) fn explain(peer: &str, options: &str, host: &str, error: io::Error) -> Error {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let text = match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: renew it, or check this machine's clock".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: check both clocks".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("its certificate does not name {host}: issue one that does")
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("its certificate was not issued by the authority in {options}.cacertfile")
            }
            other => format!("its certificate was refused: {other}"),
        },
        Some(rustls::Error::AlertReceived(alert)) => {
            return refused(peer, options, host, *alert).with_source(error);
        }
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        _ => return Error::io(format!("the {peer} {host}: the TLS handshake broke"), error),
    };
    let text = format!("the {peer} {host}: {text}");
    Error::new(ErrorKind::Unauthenticated, text).with_source(error)
}

/// The other side ended the connection with a reason.
pub(crate) fn refused(peer: &str, options: &str, host: &str, alert: AlertDescription) -> Error {
    let text = format!(
        "the {peer} {host}: it refused our certificate or wants another TLS version (alert \
         {alert:?}): check {options}.certfile and {options}.keyfile"
    );
    Error::new(ErrorKind::Unauthenticated, text)
}
