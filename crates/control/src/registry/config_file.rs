use std::{collections::BTreeMap, fmt, fs::File, io::Read, path::Path};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use longshore_core::{Error, RegistryCredentials, Result};
use serde::Deserialize;
use serde_json::json;

/// The part of Docker's `config.json` that is about registries.
#[derive(Deserialize)]
pub(super) struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credsStore")]
    store: String,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(skip)]
    shown: String,
}

#[derive(Deserialize)]
struct Auth {
    /// `user:password` in base64.
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

/// Reads a file.
///
/// # Errors
/// It can't be read, or it is no such file.
pub(super) fn read(path: &Path) -> Result<ConfigFile> {
    let shown = path.display().to_string();
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    read.map_err(|error| Error::io(format!("cannot read {shown}"), error))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::invalid(format!(
            "{shown} is longer than {LARGEST} bytes"
        )));
    }
    // What serde says of it may quote a secret: only where it is wrong is told.
    let mut config: ConfigFile = serde_json::from_slice(&text).map_err(|error| {
        Error::invalid(format!(
            "{shown} is no config.json of Docker: see line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    config.shown = shown;
    Ok(config)
}

impl ConfigFile {
    /// The credentials for a registry as a header's value, if there are any.
    ///
    /// # Errors
    /// They are malformed, or a helper has them.
    pub(super) fn header(&self, registry: &str) -> Result<Option<RegistryCredentials>> {
        let shown = &self.shown;
        let is_it = |key: &&String| host(key) == host(registry);
        let entry = self.auths.iter().find(|(key, _)| is_it(key));
        let helped = self.helpers.keys().any(|key| is_it(&key));
        let filled = |auth: &Auth| !auth.auth.is_empty() || !auth.identity_token.is_empty();
        match entry {
            Some((server, auth)) if filled(auth) => {
                let value = match auth.identity_token.as_str() {
                    "" => {
                        let (user, password) = pair(&auth.auth).ok_or_else(|| {
                            Error::invalid(format!(
                                "the auth for {registry} in {shown} is not user:password in base64"
                            ))
                        })?;
                        json!({"username": user, "password": password, "serveraddress": server})
                    }
                    token => json!({"identitytoken": token, "serveraddress": server}),
                };
                let header = URL_SAFE.encode(value.to_string());
                Ok(Some(RegistryCredentials::from_header(header)))
            }
            _ if helped || (entry.is_some() && !self.store.is_empty()) => {
                Err(Error::unsupported(format!(
                    "{shown} leaves the credentials for {registry} to a helper program: log in \
                     with a configuration folder of its own that has none (docker --config)"
                )))
            }
            _ => Ok(None),
        }
    }
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigFile({})", self.shown)
    }
}

fn pair(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker pads with zeros.
    let password = password.trim_end_matches('\0');
    Some((user.to_owned(), password.to_owned()))
}

/// A key of `auths` may be a whole URL; Docker Hub has several names.
fn host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use longshore_core::ErrorKind;
    use serde_json::Value;

    use super::*;

    fn config(value: Value) -> ConfigFile {
        let mut config: ConfigFile = serde_json::from_value(value).unwrap();
        config.shown = "f".to_owned();
        config
    }

    fn decoded(config: &ConfigFile, registry: &str) -> Value {
        let header = config.header(registry).unwrap().unwrap();
        serde_json::from_slice(&URL_SAFE.decode(header.header()).unwrap()).unwrap()
    }

    #[test]
    fn s25_what_docker_login_writes_is_read() {
        let config = config(json!({
            "auths": {
                "https://index.docker.io/v1/": {"auth": "YWxpY2U6czpl"},
                "r.example:5000": {"identitytoken": "t"},
            },
            "HttpHeaders": {"User-Agent": "x"},
        }));
        assert_eq!(
            decoded(&config, "docker.io"),
            json!({"username": "alice", "password": "s:e",
                "serveraddress": "https://index.docker.io/v1/"})
        );
        assert_eq!(
            decoded(&config, "r.example:5000"),
            json!({"identitytoken": "t", "serveraddress": "r.example:5000"})
        );
        assert!(config.header("r.example").unwrap().is_none());
        assert!(!format!("{config:?}").contains("YWxp"));
    }

    #[test]
    fn s25_what_a_helper_has_is_said() {
        let store = config(json!({"auths": {"r.example": {}}, "credsStore": "desktop"}));
        assert_eq!(
            store.header("r.example").unwrap_err().kind(),
            ErrorKind::Unsupported
        );
        let helper = config(json!({"credHelpers": {"r.example": "x"}}));
        assert_eq!(
            helper.header("r.example").unwrap_err().kind(),
            ErrorKind::Unsupported
        );
        assert!(helper.header("other.example").unwrap().is_none());
    }
}
