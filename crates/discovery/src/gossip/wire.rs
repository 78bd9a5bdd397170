//! Messages between members, before they are sealed. Pure. Every length is checked, and nothing is
//! allocated beyond the datagram that came.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes};
use longshore_core::{Error, Result};

/// Of a message; sealed it fits into a datagram that no network on the way takes apart.
pub(super) const LARGEST: usize = 1200;
/// Of what one member says about itself.
pub(super) const LARGEST_PAYLOAD: usize = 900;
/// Groups that members fall into when two compare what they know.
pub(super) const BUCKETS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Alive,
    Suspect,
    Dead,
    /// Said goodbye.
    Left,
}

/// What is said about one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: u64,
    /// Grows with what the member says itself: its incarnation.
    pub(super) version: u64,
    pub(super) status: Status,
    /// Who suspects it.
    pub(super) accuser: u64,
    pub(super) address: SocketAddr,
    pub(super) payload: Bytes,
}

impl Record {
    /// Whether this one replaces the other: what is newer, and at the same age what is worse.
    pub(super) fn overrides(&self, other: &Self) -> bool {
        (self.version, self.status) > (other.version, other.status)
    }

    pub(super) fn size(&self) -> usize {
        27 + self.payload.len() + if self.address.is_ipv4() { 7 } else { 19 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ping {
        sequence: u64,
        target: u64,
    },
    /// Asks a third one to ping the target.
    PingFor {
        sequence: u64,
        target: u64,
        address: SocketAddr,
    },
    Ack {
        sequence: u64,
    },
    /// What the sender knows, in short; who knows otherwise says so.
    Compare {
        digest: Box<[u32; BUCKETS]>,
        answer: bool,
    },
    /// Only records.
    Tell,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) sender: u64,
    pub(super) kind: Kind,
    /// Shared with what the sender knows.
    pub(super) records: Vec<Arc<Record>>,
}

impl Message {
    /// In bytes, once encoded.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let body = match &self.kind {
            Kind::Ping { .. } => 16,
            Kind::PingFor { address, .. } => 16 + if address.is_ipv4() { 7 } else { 19 },
            Kind::Ack { .. } => 8,
            Kind::Compare { .. } => 4 * BUCKETS,
            Kind::Tell => 0,
        };
        9 + body
            + self
                .records
                .iter()
                .map(|record| record.size())
                .sum::<usize>()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LARGEST);
        out.put_u64(self.sender);
        match &self.kind {
            Kind::Ping { sequence, target } => {
                out.put_u8(0);
                out.put_u64(*sequence);
                out.put_u64(*target);
            }
            Kind::PingFor {
                sequence,
                target,
                address,
            } => {
                out.put_u8(1);
                out.put_u64(*sequence);
                out.put_u64(*target);
                put_address(&mut out, address);
            }
            Kind::Ack { sequence } => {
                out.put_u8(2);
                out.put_u64(*sequence);
            }
            Kind::Compare { digest, answer } => {
                out.put_u8(if *answer { 4 } else { 3 });
                digest.iter().for_each(|part| out.put_u32(*part));
            }
            Kind::Tell => out.put_u8(5),
        }
        for record in &self.records {
            out.put_u64(record.id);
            out.put_u64(record.version);
            out.put_u8(record.status as u8);
            out.put_u64(record.accuser);
            put_address(&mut out, &record.address);
            out.put_u16(record.payload.len() as u16);
            out.put_slice(&record.payload);
        }
        out
    }

    pub(super) fn decode(data: &[u8]) -> Result<Self> {
        let data = &mut &data[..];
        let sender = take(data, 8)?.get_u64();
        let kind = match take(data, 1)?.get_u8() {
            0 => Kind::Ping {
                sequence: take(data, 8)?.get_u64(),
                target: take(data, 8)?.get_u64(),
            },
            1 => Kind::PingFor {
                sequence: take(data, 8)?.get_u64(),
                target: take(data, 8)?.get_u64(),
                address: take_address(data)?,
            },
            2 => Kind::Ack {
                sequence: take(data, 8)?.get_u64(),
            },
            kind @ (3 | 4) => {
                let mut digest = Box::new([0; BUCKETS]);
                let mut parts = take(data, 4 * BUCKETS)?;
                digest.iter_mut().for_each(|part| *part = parts.get_u32());
                let answer = kind == 4;
                Kind::Compare { digest, answer }
            }
            5 => Kind::Tell,
            _ => return Err(malformed()),
        };
        let mut records = Vec::new();
        while !data.is_empty() {
            let id = take(data, 8)?.get_u64();
            let version = take(data, 8)?.get_u64();
            let status = match take(data, 1)?.get_u8() {
                0 => Status::Alive,
                1 => Status::Suspect,
                2 => Status::Dead,
                3 => Status::Left,
                _ => return Err(malformed()),
            };
            let accuser = take(data, 8)?.get_u64();
            let address = take_address(data)?;
            let length = usize::from(take(data, 2)?.get_u16());
            if length > LARGEST_PAYLOAD {
                return Err(malformed());
            }
            // Not a view: a record is kept for longer than its datagram.
            let payload = Bytes::copy_from_slice(take(data, length)?);
            records.push(Arc::new(Record {
                id,
                version,
                status,
                accuser,
                address,
                payload,
            }));
        }
        Ok(Self {
            sender,
            kind,
            records,
        })
    }
}

fn put_address(out: &mut Vec<u8>, address: &SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
    out.put_u16(address.port());
}

fn take_address(data: &mut &[u8]) -> Result<SocketAddr> {
    let ip = match take(data, 1)?.get_u8() {
        4 => IpAddr::from(take(data, 4)?.get_u32().to_be_bytes()),
        6 => IpAddr::from(take(data, 16)?.get_u128().to_be_bytes()),
        _ => return Err(malformed()),
    };
    Ok(SocketAddr::new(ip, take(data, 2)?.get_u16()))
}

fn take<'a>(data: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = data.split_at_checked(length).ok_or_else(malformed)?;
    *data = rest;
    Ok(taken)
}

fn malformed() -> Error {
    Error::protocol("a gossip message is malformed").with_backend("gossip")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let address = (any::<u32>(), any::<u16>(), any::<bool>());
        let payload = proptest::collection::vec(any::<u8>(), 0..60);
        (
            any::<u64>(),
            any::<u64>(),
            0usize..4,
            any::<u64>(),
            address,
            payload,
        )
            .prop_map(
                |(id, version, status, accuser, (ip, port, short), payload)| Record {
                    id,
                    version,
                    status: [Status::Alive, Status::Suspect, Status::Dead, Status::Left][status],
                    accuser,
                    address: match short {
                        true => (std::net::Ipv4Addr::from(ip), port).into(),
                        false => (std::net::Ipv6Addr::from(u128::from(ip) << 7), port).into(),
                    },
                    payload: payload.into(),
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            sender: u64, sequence: u64, target: u64, kind in 0..5, part: u32,
            records in proptest::collection::vec(record().prop_map(Arc::new), 0..5),
        ) {
            let address = records.first().map_or(([1, 2, 3, 4], 5).into(), |first| first.address);
            let kind = match kind {
                0 => Kind::Ping { sequence, target },
                1 => Kind::PingFor { sequence, target, address },
                2 => Kind::Ack { sequence },
                3 => Kind::Compare { digest: Box::new([part; BUCKETS]), answer: part % 2 == 0 },
                _ => Kind::Tell,
            };
            let message = Message { sender, kind, records };
            let encoded = message.encode();
            prop_assert_eq!(encoded.len(), message.size());
            prop_assert_eq!(Message::decode(&encoded).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::decode(&bytes);
        }
    }
}
