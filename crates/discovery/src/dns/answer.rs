//! What an answer says about a name: its records, or where to look on. Pure.

use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use longshore_core::{Error, ErrorKind, Result};

/// A name's records of one type, behind its aliases.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<RData>,
    /// The shortest time to live on the way, in seconds.
    pub(super) ttl: Option<u32>,
    /// The last name of the chain of aliases, when the answer stops there.
    pub(super) next: Option<Name>,
}

/// Whether a message answers this question at all; others are from elsewhere or of before.
pub(super) fn belongs(message: &Message, id: u16, question: &Query) -> bool {
    message.metadata.id == id
        && message.metadata.message_type == MessageType::Response
        && message.queries.len() == 1
        && message.queries[0].name == question.name
        && message.queries[0].query_type() == question.query_type()
}

/// Whether the server had an answer at all, also that there is nothing.
///
/// # Errors
/// It failed or refused: another one may know.
pub(super) fn usable(message: &Message) -> Result<()> {
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(()),
        code => Err(
            Error::unavailable("the DNS server does not answer the question")
                .with_context("code", code),
        ),
    }
}

/// Reads the answer. `chain` has the names on the way here and grows by the aliases.
///
/// # Errors
/// The name does not exist, the server refuses, or the aliases go in a circle.
pub(super) fn read(message: &Message, kind: RecordType, chain: &mut Vec<Name>) -> Result<Found> {
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => {
            return Err(Error::not_found("the name does not exist in the DNS"));
        }
        _ => usable(message)?,
    }
    let mut found = Found::default();
    let mut name = chain.last().cloned().unwrap_or_default();
    loop {
        let own = message.answers.iter().filter(|record| record.name == name);
        let mut alias = None;
        for record in own {
            let wanted = record.data.record_type() == kind;
            if !wanted && record.data.record_type() != RecordType::CNAME {
                continue;
            }
            let ttl = found.ttl.unwrap_or(u32::MAX).min(record.ttl);
            found.ttl = Some(ttl);
            match &record.data {
                RData::CNAME(target) if !wanted => alias = Some(target.0.to_lowercase()),
                data => {
                    if found.records.len() >= MOST_RECORDS {
                        let message = format!("a name has more than {MOST_RECORDS} records");
                        return Err(Error::new(ErrorKind::ResourceExhausted, message));
                    }
                    found.records.push(data.clone());
                }
            }
        }
        let Some(alias) = alias.filter(|_| found.records.is_empty()) else {
            break;
        };
        follow(chain, alias.clone())?;
        let known = message.answers.iter().any(|record| record.name == alias);
        name = alias;
        if !known {
            found.next = Some(name);
            break;
        }
    }
    Ok(found)
}

/// Adds a name to the chain.
///
/// # Errors
/// It is in it already, or the chain is too long.
pub(super) fn follow(chain: &mut Vec<Name>, name: Name) -> Result<()> {
    let circle = chain.contains(&name);
    chain.push(name);
    if !circle && chain.len() <= LONGEST_CHAIN {
        return Ok(());
    }
    let names: Vec<String> = chain.iter().map(ToString::to_string).collect();
    let what = match circle {
        true => "the DNS records go in a circle: correct one of them",
        false => "the DNS records are a chain of too many aliases",
    };
    Err(Error::invalid(what).with_context("names", names.join(" -> ")))
}

const MOST_RECORDS: usize = 1024;
const LONGEST_CHAIN: usize = 9;
