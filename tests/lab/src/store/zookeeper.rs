//! ZooKeeper: one server.

use std::path::{Path, PathBuf};

use super::member::{StoreMember, data_of, directory};
use super::probe::Probe;
use super::{StoreSpec, ports};
use crate::{LabError, tool};

pub(super) fn program() -> Result<PathBuf, String> {
    let java = tool::find("java").ok_or("needs Debian's zookeeper and default-jre-headless")?;
    match Path::new(JAR).is_file() {
        true => Ok(java),
        false => Err("needs Debian's zookeeper".to_owned()),
    }
}

pub(super) fn member(spec: &StoreSpec) -> Result<StoreMember, LabError> {
    let java = program().map_err(LabError::new)?;
    let directory = directory("zookeeper")?;
    let port = ports::free(1)?[0];
    let file = directory.join("zoo.cfg");
    let mut lines = vec![
        "tickTime=500".to_owned(),
        format!("dataDir={}", data_of(&directory).display()),
        format!("clientPort={port}"),
        "clientPortAddress=127.0.0.1".to_owned(),
        "admin.enableServer=false".to_owned(),
        "4lw.commands.whitelist=srvr".to_owned(),
        "maxClientCnxns=0".to_owned(),
    ];
    lines.extend(spec.configuration.lines().map(str::to_owned));
    std::fs::write(&file, lines.join("\n"))
        .map_err(|error| LabError::io("cannot write zookeeper's configuration", error))?;
    let mut arguments: Vec<String> = [
        "-Xmx384m",
        // Quick to start, and light on two cores.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
        JAR,
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(spec.arguments.iter().cloned());
    arguments.push("org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned());
    arguments.push(file.display().to_string());
    let address = ports::loopback(port);
    let probe = Probe::Word("srvr", "Zookeeper version");
    Ok(
        StoreMember::new("zookeeper", directory, address, java, arguments, probe)
            .with_environment("LC_ALL", "C"),
    )
}

const JAR: &str = "/usr/share/java/zookeeper.jar";
