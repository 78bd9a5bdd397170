//! `raft://a=host:port,b=host:port,c=host:port[/prefix][?self=a&dir=/path[&listen=host:port]]`. Pure.

use std::{collections::BTreeMap, path::PathBuf};

use longshore_core::{Endpoint, Error, Result, printable};

use super::options::check_names;
use crate::DiscoveryUrl;

/// Who the managers are, and which of them we are, if any.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RaftUrl {
    pub(super) members: BTreeMap<String, Endpoint>,
    pub(super) prefix: String,
    pub(super) member: Option<Own>,
}

/// What a member says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    /// Where to listen, if not at the address that the others dial.
    pub(super) listen: Endpoint,
}

impl RaftUrl {
    /// # Errors
    /// Names what is wrong, and shows the form.
    pub(super) fn parse(url: &DiscoveryUrl) -> Result<Self> {
        let (place, query) = url.rest().split_once('?').unwrap_or((url.rest(), ""));
        let (list, prefix) = place.split_once('/').unwrap_or((place, ""));
        let mut members = BTreeMap::new();
        let mut names = Vec::new();
        for member in list
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            let (name, address) = member
                .split_once('=')
                .ok_or_else(|| bad(&format!("the manager {} has no name", shown(member))))?;
            names.push(name.to_owned());
            members.insert(name.to_owned(), endpoint(address)?);
        }
        // Before it is told by the map that a name is there twice.
        check_names(&names).map_err(|error| bad(error.message()))?;
        let mut values = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !["self", "dir", "listen"].contains(&key) {
                return Err(bad(&format!("unknown setting {}", shown(key))));
            }
            if value.is_empty() || values.insert(key, value).is_some() {
                return Err(bad(&format!("the setting {key} needs one value")));
            }
        }
        let member = match (values.get("self"), values.get("dir")) {
            (None, None) if values.is_empty() => None,
            (None, _) => return Err(bad("dir and listen are a manager's own: self is missing")),
            (Some(_), None) => {
                return Err(bad(
                    "a manager keeps its data in a directory: dir is missing",
                ));
            }
            (Some(name), Some(directory)) => {
                let own = members
                    .get(*name)
                    .ok_or_else(|| bad(&format!("self={} is not in the list", shown(name))))?;
                let listen = match values.get("listen") {
                    None => own.clone(),
                    Some(address) => endpoint(address)?,
                };
                Some(Own {
                    name: (*name).to_owned(),
                    directory: PathBuf::from(directory),
                    listen,
                })
            }
        };
        Ok(Self {
            members,
            prefix: prefix.trim_matches('/').to_owned(),
            member,
        })
    }
}

fn endpoint(text: &str) -> Result<Endpoint> {
    let endpoint: Endpoint = text.parse().map_err(|error: Error| bad(error.message()))?;
    match endpoint.port() == 0 || endpoint.host().is_empty() {
        true => Err(bad(&format!(
            "address {}: a host and a port are needed",
            shown(text)
        ))),
        false => Ok(endpoint),
    }
}

fn bad(what: &str) -> Error {
    Error::invalid(format!("{what}; expected for example {EXAMPLE}"))
}

fn shown(text: &str) -> String {
    printable(text, 80).into_owned()
}

const EXAMPLE: &str = "raft://a=10.0.0.1:7300,b=10.0.0.2:7300,c=10.0.0.3:7300/prefix?self=a&dir=/var/lib/longshore/raft (without ?… as a client)";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(rest: &str) -> Result<RaftUrl> {
        RaftUrl::parse(&DiscoveryUrl::parse(&format!("raft://{rest}")).unwrap())
    }

    #[test]
    fn a_member_and_a_client_are_told_apart() {
        let url = parse("a=h1:1,b=h2:2,c=[::1]:3/x/y/?self=b&dir=/var/lib/r").unwrap();
        assert_eq!(url.prefix, "x/y");
        assert_eq!(url.members["c"].to_string(), "[::1]:3");
        let own = url.member.unwrap();
        assert_eq!(
            (own.name.as_str(), own.listen.to_string()),
            ("b", "h2:2".to_owned())
        );
        let url = parse("a=h1:1?self=a&dir=d&listen=0.0.0.0:9").unwrap();
        assert_eq!(url.member.unwrap().listen.to_string(), "0.0.0.0:9");
        assert_eq!(parse("a=h1:1,b=h2:2,c=h3:3/p").unwrap().member, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (rest, part) in [
            ("", "0 managers"),
            ("a=h:1,b=h:2", "2 managers: 3 or 5"),
            ("a=h:1,b=h:2,c=h:3,d=h:4", "an even number"),
            ("a=h:1,a=h:2,c=h:3", "a is in the list twice"),
            ("h:1", "the manager h:1 has no name"),
            ("a=h", "missing port"),
            ("a=h:1?self=b&dir=d", "self=b is not in the list"),
            ("a=h:1?self=a", "dir is missing"),
            ("a=h:1?dir=d", "self is missing"),
            ("a=h:1?selv=a", "unknown setting selv"),
            ("a=h:1?self=a&self=a&dir=d", "self needs one value"),
        ] {
            let error = parse(rest).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("expected for example"),
                "{rest}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[a-c=:,/?&0-9self dir]{0,60}") {
            if let Ok(url) = parse(&text) {
                prop_assert!(!url.members.is_empty());
            }
        }
    }
}
