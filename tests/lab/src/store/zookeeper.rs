//! ZooKeeper: one server.

use std::path::{Path, PathBuf};

use super::member::{StoreMember, data_of, directory};
use super::probe::Probe;
use super::{StoreSpec, StoreTlsFiles, ports};
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
    let port = ports::free_ports(1)?[0];
    let file = directory.join("zoo.cfg");
    let mut lines = vec![
        "tickTime=500".to_owned(),
        format!("dataDir={}", data_of(&directory).display()),
        "admin.enableServer=false".to_owned(),
        "4lw.commands.whitelist=srvr".to_owned(),
        "maxClientCnxns=0".to_owned(),
    ];
    match &spec.tls {
        None => lines.extend([
            format!("clientPort={port}"),
            format!("clientPortAddress={}", spec.place.ip),
        ]),
        Some(tls) => lines.extend(secure(spec, tls, port)),
    }
    lines.extend(spec.configuration.lines().map(str::to_owned));
    std::fs::write(&file, lines.join("\n"))
        .map_err(|error| LabError::io("cannot write zookeeper's configuration", error))?;
    let mut arguments: Vec<String> = [
        "-Xmx384m",
        // Quick to start, and light on two cores.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(match spec.tls {
        Some(_) => format!("{JAR}:{CODEC}:{RESOLVER}"),
        None => JAR.to_owned(),
    });
    arguments.extend(spec.arguments.iter().cloned());
    arguments.push("org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned());
    arguments.push(file.display().to_string());
    let probe = match spec.tls {
        Some(_) => Probe::Connects,
        None => Probe::Word("srvr", "Zookeeper version"),
    };
    let place = (&spec.place, port);
    Ok(
        StoreMember::new("zookeeper", directory, place, java, arguments, probe)
            .with_environment("LC_ALL", "C"),
    )
}

/// TLS needs the server over Netty, and the certificate and its key in one file.
fn secure(spec: &StoreSpec, tls: &StoreTlsFiles, port: u16) -> Vec<String> {
    vec![
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory".to_owned(),
        format!("secureClientPort={port}"),
        format!("secureClientPortAddress={}", spec.place.ip),
        format!("ssl.keyStore.location={}", tls.certificate.display()),
        "ssl.keyStore.type=PEM".to_owned(),
        format!("ssl.trustStore.location={}", tls.authority.display()),
        "ssl.trustStore.type=PEM".to_owned(),
        "ssl.clientAuth=need".to_owned(),
    ]
}

/// Parts of Netty that the jar's manifest leaves out.
const CODEC: &str = "/usr/share/java/netty-codec.jar";
const RESOLVER: &str = "/usr/share/java/netty-resolver.jar";

const JAR: &str = "/usr/share/java/zookeeper.jar";
