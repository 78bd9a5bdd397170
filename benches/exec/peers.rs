//! Several peers of one figure.

use crate::report::{Measurement, Report};

/// Tells a figure of ours beside those of its peers, with a name and a bar each. A peer that was not
/// there has no figure.
pub fn beside(
    report: &Report,
    (case, ours, unit): (&'static str, f64, &'static str),
    peers: &[(f64, &'static str, &'static str)],
) {
    for &(peer, peer_name, bar) in peers.iter().filter(|(peer, ..)| !peer.is_nan()) {
        report.add(&Measurement {
            case,
            ours,
            peer,
            peer_name,
            unit,
            bar,
        });
    }
}
