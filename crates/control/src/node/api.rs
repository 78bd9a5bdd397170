use std::{fmt, str::FromStr};

use longshore_core::{EngineInfo, Error, ErrorKind, Result};

/// A version of Docker's API, `major.minor`, ordered by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        match parsed {
            Some((major, minor)) => Ok(Self { major, minor }),
            None => Err(Error::invalid(format!(
                "invalid API version {text:?}: expected a version such as 1.41"
            ))),
        }
    }
}

/// Refuses what can't be a node: another manager, or an engine whose API is out of reach.
pub(crate) fn check_engine(
    info: &EngineInfo,
    address: &str,
    (oldest, newest): (ApiVersion, ApiVersion),
) -> Result<()> {
    let manager = info.version.starts_with("swarm/") || info.version.contains("longshore");
    if manager || info.cpu.is_zero() || info.memory.is_zero() {
        return Err(Error::invalid(format!(
            "cannot get resources for this engine, make sure {address} is a Docker Engine, \
             not a Swarm manager"
        )));
    }
    // An engine without versions does not speak Docker's API by number: nothing to compare.
    if !info.api_version.is_empty() {
        let speaks: ApiVersion = info.api_version.parse()?;
        if speaks < oldest {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the engine at {address} is too old: it speaks API {speaks} and older, \
                     this control plane needs {oldest} or newer; upgrade the engine"
                ),
            ));
        }
    }
    if !info.min_api_version.is_empty() {
        let minimum: ApiVersion = info.min_api_version.parse()?;
        if minimum > newest {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the engine at {address} is too new: it speaks API {minimum} and newer, \
                     this control plane speaks {oldest} to {newest}; upgrade the control plane"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use longshore_core::{Bytes, MilliCpu, NodeId, NodeName};

    use super::*;

    fn info() -> EngineInfo {
        EngineInfo::new(
            NodeId::new("A").unwrap(),
            NodeName::new("a").unwrap(),
            MilliCpu::from_cpus(2),
            Bytes::from_gib(1),
        )
    }

    #[track_caller]
    fn refuse(info: &EngineInfo, message: &str) {
        let range = (ApiVersion::new(1, 24), ApiVersion::new(1, 51));
        let error = check_engine(info, "10.0.0.1:2375", range).unwrap_err();
        assert_eq!(error.message(), message);
    }

    #[test]
    fn a_manager_is_not_an_engine() {
        let text = "cannot get resources for this engine, make sure 10.0.0.1:2375 is a Docker \
                    Engine, not a Swarm manager";
        let mut without = info();
        without.cpu = MilliCpu::ZERO;
        refuse(&without, text);
        let mut swarm = info();
        swarm.version = "swarm/1.2.9".into();
        refuse(&swarm, text);
        swarm.version = "swarm/1.2.9-longshore-0.1.0".into();
        refuse(&swarm, text);
    }

    #[test]
    fn api_versions_out_of_reach_are_named() {
        let mut engine = info();
        engine.api_version = "1.12".into();
        refuse(
            &engine,
            "the engine at 10.0.0.1:2375 is too old: it speaks API 1.12 and older, this control \
             plane needs 1.24 or newer; upgrade the engine",
        );
        engine.api_version = "1.99".into();
        engine.min_api_version = "1.60".into();
        refuse(
            &engine,
            "the engine at 10.0.0.1:2375 is too new: it speaks API 1.60 and newer, this control \
             plane speaks 1.24 to 1.51; upgrade the control plane",
        );
        engine.min_api_version = "x".into();
        refuse(
            &engine,
            "invalid API version \"x\": expected a version such as 1.41",
        );
    }

    #[test]
    fn versions_order_by_number() {
        assert!(ApiVersion::new(1, 9) < ApiVersion::new(1, 41));
        assert_eq!("1.41".parse::<ApiVersion>().unwrap().to_string(), "1.41");
    }
}
