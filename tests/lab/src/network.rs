//! Bridge, links, addresses and packet filters.

use std::collections::BTreeSet;

use crate::host::Host;
use crate::names::LabId;
use crate::{LabError, tool};

/// The third bytes of all 10.90.x.0/24 that this machine already knows.
pub(crate) fn subnets_in_use() -> Result<BTreeSet<u8>, LabError> {
    let addresses = ip(&["-4", "-oneline", "address", "show"])?;
    let routes = ip(&["-4", "-oneline", "route", "show"])?;
    let words = addresses
        .split_whitespace()
        .chain(routes.split_whitespace());
    Ok(words
        .filter_map(|word| word.strip_prefix("10.90.")?.split('.').next()?.parse().ok())
        .collect())
}

/// Makes the bridge; false when it exists, because then the number is taken.
pub(crate) fn create_bridge(id: LabId) -> Result<bool, LabError> {
    let bridge = id.bridge();
    if let Err(error) = ip(&["link", "add", &bridge, "type", "bridge"]) {
        return if error.to_string().contains("File exists") {
            Ok(false)
        } else {
            Err(error)
        };
    }
    ip(&[
        "address",
        "add",
        &format!("{}/24", id.gateway()),
        "dev",
        &bridge,
    ])?;
    ip(&["link", "set", &bridge, "up"])?;
    Ok(true)
}

/// Makes each host's namespace and its link into the bridge.
pub(crate) fn create_links<'a>(
    id: LabId,
    hosts: impl Iterator<Item = &'a Host>,
) -> Result<(), LabError> {
    for host in hosts {
        let name = host.namespace();
        let mac = mac(id, host.index());
        ip(&["netns", "add", name])?;
        ip(&[
            "link", "add", name, "type", "veth", "peer", "name", LINK, "address", &mac, "netns",
            name,
        ])?;
        ip(&["link", "set", name, "master", &id.bridge(), "up"])?;
        let address = format!("{}/24", host.address());
        ip(&["-netns", name, "address", "add", &address, "dev", LINK])?;
        ip(&["-netns", name, "link", "set", LINK, "up"])?;
        ip(&["-netns", name, "link", "set", "lo", "up"])?;
    }
    Ok(())
}

/// Puts the host's own filter in place.
pub(crate) fn configure(host: &Host) -> Result<(), LabError> {
    if !host.spec().nat {
        return Ok(());
    }
    // After connection tracking (-200) and before the address translation of
    // published ports (-100): nothing new gets in, neither to the host nor to
    // its containers.
    let rules = format!(
        "table inet longshore_nat {{ chain inbound {{
            type filter hook prerouting priority -150; policy accept;
            iifname \"{LINK}\" ct state established,related accept
            iifname \"{LINK}\" drop
        }}
        }}"
    );
    filter(host, &rules)
}

/// Drops everything that reaches `host` from the link of `from`, whatever
/// address it carries, under the name `table`.
pub(crate) fn drop_from(host: &Host, from: &Host, table: &str) -> Result<(), LabError> {
    let mac = mac(host.lab(), from.index());
    let rules = format!(
        "table inet {table} {{ chain inbound {{
            type filter hook prerouting priority -400; policy accept;
            iifname \"{LINK}\" ether saddr {mac} drop
        }}
        }}"
    );
    filter(host, &rules)
}

/// Removes what [`drop_from`] made.
pub(crate) fn undrop(host: &Host, table: &str) -> Result<(), LabError> {
    filter(host, &format!("delete table inet {table}"))
}

/// Takes the host's link off the bridge: silent in both directions, the
/// carrier stays up, exactly as a partition looks from inside.
pub(crate) fn unplug(host: &Host) -> Result<(), LabError> {
    ip(&["link", "set", host.namespace(), "nomaster"]).map(drop)
}

/// Undoes [`unplug`].
pub(crate) fn plug(host: &Host) -> Result<(), LabError> {
    ip(&[
        "link",
        "set",
        host.namespace(),
        "master",
        &host.lab().bridge(),
    ])
    .map(drop)
}

fn filter(host: &Host, rules: &str) -> Result<(), LabError> {
    let nft = tool::find("nft").unwrap_or_else(|| "nft".into());
    tool::run_with_input(host.command(nft).args(["-f", "-"]), rules).map(drop)
}

fn mac(id: LabId, index: usize) -> String {
    // Locally administered, one per lab and host.
    format!("02:4c:53:00:{:02x}:{:02x}", id.0, index + 1)
}

fn ip(arguments: &[&str]) -> Result<String, LabError> {
    tool::run(tool::command("ip").args(arguments))
}

/// The host's end of its link.
const LINK: &str = "eth0";
