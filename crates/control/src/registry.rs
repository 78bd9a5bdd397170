mod config_file;

use std::{fmt::Debug, path::PathBuf};

use async_trait::async_trait;
use longshore_core::{Error, RegistryCredentials, Result};

/// Where stacks get credentials for registries from (S25). A service names them
/// ([`ServiceSpec::with_registry_credentials`](crate::ServiceSpec::with_registry_credentials)); what
/// the name stands for never gets into a stack or into the store of stacks. Every manager has a
/// source of its own, so each of them must know the names.
///
/// It is asked before every pull, retries and replacements of lost instances included, so what is
/// exchanged or taken away counts from the next pull on.
#[async_trait]
pub trait RegistrySource: Debug + Send + Sync + 'static {
    /// The credentials of this name for a registry, such as `registry.example:5000` or `docker.io`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) if there are none, naming both;
    /// what keeps the source from telling. An error holds no secret: it is shown to users.
    ///
    /// # Cancel safety
    /// Safe: asking changes nothing.
    async fn credentials(&self, name: &str, registry: &str) -> Result<RegistryCredentials>;
}

/// Files as `docker login` writes them (`config.json`), each under a name. They are read anew for
/// every pull.
///
/// Passwords and identity tokens in the file itself are read. A file that leaves them to a helper
/// (`credsStore`, `credHelpers`) is refused, since helpers are programs of a desktop session.
#[derive(Clone, Debug, Default)]
pub struct DockerConfigFiles {
    files: Vec<(String, PathBuf)>,
}

impl DockerConfigFiles {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file under a name, in place of another of that name.
    #[must_use]
    pub fn with_file(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let name = name.into();
        self.files.retain(|(known, _)| *known != name);
        self.files.push((name, path.into()));
        self
    }

    /// Reads all of them, to find out early what is wrong with one.
    ///
    /// # Errors
    /// The first that can't be read or is no such file, naming it.
    pub fn check(&self) -> Result<()> {
        self.files
            .iter()
            .try_for_each(|(_, path)| config_file::read(path).map(|_| ()))
    }
}

#[async_trait]
impl RegistrySource for DockerConfigFiles {
    async fn credentials(&self, name: &str, registry: &str) -> Result<RegistryCredentials> {
        let Some((_, path)) = self.files.iter().find(|(known, _)| known == name) else {
            return Err(Error::not_found(format!(
                "this manager has no registry credentials named {name}"
            )));
        };
        let (path, asked) = (path.clone(), registry.to_owned());
        let found = tokio::task::spawn_blocking(move || config_file::read(&path)?.header(&asked));
        let found = found
            .await
            .map_err(|error| Error::internal("reading a file panicked").with_source(error))??;
        found.ok_or_else(|| {
            Error::not_found(format!(
                "the registry credentials named {name} are not for {registry}"
            ))
        })
    }
}

/// The registry of an image, by Docker's rule: what stands before the first slash, if it can be a
/// host; else `docker.io`.
pub(crate) fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DOCKER_HUB,
    }
}

const DOCKER_HUB: &str = "docker.io";

#[cfg(test)]
mod tests {
    use longshore_core::ErrorKind;

    use super::*;

    #[test]
    fn s25_the_registry_is_in_the_reference() {
        assert_eq!(registry_of("nginx"), "docker.io");
        assert_eq!(registry_of("library/nginx:1"), "docker.io");
        assert_eq!(
            registry_of("registry.example:5000/a/b@sha256:1"),
            "registry.example:5000"
        );
        assert_eq!(registry_of("localhost/a"), "localhost");
    }

    #[tokio::test]
    async fn s25_a_file_is_read_for_every_pull_and_errors_hold_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let source = DockerConfigFiles::new().with_file("ours", &path);
        let ask = async |name: &str, registry: &str| source.credentials(name, registry).await;
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        assert_eq!(
            ask("theirs", "r.example").await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert!(source.check().is_err());
        // alice:secret, bob:hidden
        write(r#"{"auths": {"r.example": {"auth": "YWxpY2U6c2VjcmV0"}}}"#);
        source.check().unwrap();
        let first = ask("ours", "r.example").await.unwrap();
        write(r#"{"auths": {"r.example": {"auth": "Ym9iOmhpZGRlbg=="}}}"#);
        let second = ask("ours", "r.example").await.unwrap();
        assert_ne!(first, second);
        let error = ask("ours", "other.example").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        write("{\"auths\": {\"r.example\": {\"auth\": \"c2VjcmV0\"}}}");
        let error = ask("ours", "r.example").await.unwrap_err();
        let all = format!("{error:?} {}", error.chain());
        assert!(
            !all.contains("secret") && !all.contains("c2VjcmV0"),
            "{all}"
        );
        assert!(all.contains("config.json"), "{all}");
    }
}
