use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use longshore_core::{
    Announcement, Discovery, DiscoveryCapabilities, Error, Membership, MembershipEvent,
    MembershipStream, Registration, Result, WatchMode,
};

use crate::entry;

/// A list of nodes that never changes: `nodes://10.0.0.1:2375,10.0.0.[5:9]:2375`.
#[derive(Clone, Debug)]
pub struct StaticDiscovery {
    nodes: Vec<Announcement>,
    /// Numbers (from 1) of the items that were empty.
    empty_items: Vec<usize>,
}

impl StaticDiscovery {
    /// These nodes.
    pub fn new(nodes: Vec<Announcement>) -> Self {
        Self {
            nodes: Membership::new(nodes, Vec::new()).nodes,
            empty_items: Vec::new(),
        }
    }

    /// Reads a comma-separated list of addresses, with ranges. Space around items is ignored; empty
    /// items are skipped and reported as problems.
    ///
    /// # Errors
    /// Names every item that is wrong: a list that is typed in is refused as a whole.
    pub fn parse(list: &str) -> Result<Self> {
        let (mut nodes, mut empty_items, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for (index, item) in list.split(',').map(str::trim).enumerate() {
            if item.is_empty() {
                empty_items.push(index + 1);
                continue;
            }
            match entry::parse(item, nodes.len()) {
                Ok(more) => nodes.extend(more),
                Err(error) if reasons.len() < MOST_REASONS => {
                    reasons.push(error.message().to_owned());
                }
                Err(_) => {}
            }
        }
        if nodes.is_empty() && reasons.is_empty() {
            reasons.push("missing port in address".to_owned());
        }
        if !reasons.is_empty() {
            return Err(Error::invalid(format!("{}, {HINT}", reasons.join("; "))));
        }
        Ok(Self {
            empty_items,
            ..Self::new(nodes)
        })
    }

    fn problems(&self) -> Vec<Error> {
        self.empty_items
            .iter()
            .take(MOST_REASONS)
            .map(|item| Error::invalid(format!("item {item} of the list of nodes is empty")))
            .collect()
    }
}

#[async_trait]
impl Discovery for StaticDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::read_only(WatchMode::Fixed)
    }

    fn describe(&self) -> String {
        let shown: Vec<String> = self
            .nodes
            .iter()
            .take(8)
            .map(|node| node.endpoint.to_string())
            .collect();
        let more = if self.nodes.len() > 8 { ",…" } else { "" };
        format!("nodes://{}{more}", shown.join(","))
    }

    async fn register(&self, _: &Announcement, _: Duration) -> Result<Registration> {
        Err(crate::not_implemented("nodes"))
    }

    async fn renew(&self, _: &Registration) -> Result<Registration> {
        Err(crate::not_implemented("nodes"))
    }

    async fn deregister(&self, _: &Registration) -> Result<()> {
        Err(crate::not_implemented("nodes"))
    }

    async fn list(&self) -> Result<Membership> {
        Ok(Membership::new(self.nodes.clone(), self.problems()))
    }

    /// The set, then nothing for ever.
    fn watch(&self) -> MembershipStream {
        let problems = self.problems().into_iter().map(MembershipEvent::Problem);
        let events = std::iter::once(MembershipEvent::Reset(self.nodes.clone())).chain(problems);
        stream::iter(events.collect::<Vec<_>>())
            .chain(stream::pending())
            .boxed()
    }
}

/// Swarm's advice behind a bad list.
const HINT: &str = "please check you are using the correct discovery (missing token:// ?)";

/// How many bad items one error names.
const MOST_REASONS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use longshore_core::ErrorKind;

    #[track_caller]
    fn check(list: &str, expected: &[&str]) {
        let parsed = StaticDiscovery::parse(list).unwrap();
        let found: Vec<_> = parsed
            .nodes
            .iter()
            .map(|node| node.endpoint.to_string())
            .collect();
        assert_eq!(found, expected, "{list}");
    }

    #[track_caller]
    fn refuse(list: &str, message: &str) {
        let error = StaticDiscovery::parse(list).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::InvalidInput, message)
        );
    }

    #[test]
    fn d4_items_expand_are_trimmed_and_lose_duplicates() {
        check("a:1, b:1 ,a:1", &["a:1", "b:1"]);
        check(
            "10.0.0.[1:2]:2375,c:1",
            &["10.0.0.1:2375", "10.0.0.2:2375", "c:1"],
        );
    }

    #[test]
    fn d4_an_empty_item_is_skipped_and_reported() {
        let discovery = StaticDiscovery::parse("a:1,,b:1").unwrap();
        let found = discovery.list().now_or_never().unwrap().unwrap();
        assert_eq!(found.nodes.len(), 2);
        assert_eq!(
            found.problems[0].message(),
            "item 2 of the list of nodes is empty"
        );
    }

    #[test]
    fn d1_bad_lists_are_refused_with_swarms_texts() {
        refuse(
            "10.0.0.1",
            "address 10.0.0.1: missing port in address, please check you are using the correct \
             discovery (missing token:// ?)",
        );
        refuse(
            "10.0.0.[a:b]:2375",
            "address 10.0.0.[a:b]:2375: too many colons in address, please check you are using \
             the correct discovery (missing token:// ?)",
        );
        refuse(
            "",
            "missing port in address, please check you are using the correct discovery \
             (missing token:// ?)",
        );
        refuse(
            "a:0,b",
            "address a:0: the port must be from 1 to 65535; address b: missing port in address, \
             please check you are using the correct discovery (missing token:// ?)",
        );
    }

    #[test]
    fn the_whole_list_is_bounded() {
        refuse(
            "a[1:65536]:1,b:1",
            "b:1: with those before it, more than 65536 addresses, please check you are using the correct \
             discovery (missing token:// ?)",
        );
    }

    #[test]
    fn d1_registering_is_refused_in_swarms_words() {
        let discovery = StaticDiscovery::parse("a:1").unwrap();
        let node = Announcement::new("b:1".parse().unwrap());
        let answer = discovery
            .register(&node, Duration::from_secs(1))
            .now_or_never()
            .unwrap();
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.message(), "not implemented in this discovery service");
    }
}
