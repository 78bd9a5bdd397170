//! Getting the stub into a container.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, Result};
use serde_json::json;
use tokio::sync::OnceCell;

use super::Stub;
use crate::docker::{
    api::Api,
    sidecar::{NAMED, ROLE, STUB},
};

/// Where the stub is, by container.
#[derive(Debug, Default)]
pub(in crate::docker) struct Placements(Mutex<HashMap<String, Arc<OnceCell<String>>>>);

impl Placements {
    /// The stub's path inside a container, putting it there first. Many at a time do it once.
    pub(super) async fn place(&self, api: &Api, container: &str, stub: &Stub) -> Result<String> {
        let cell = {
            let mut places = self.lock();
            if places.len() >= MOST && !places.contains_key(container) {
                // What is forgotten is put there again.
                places.clear();
            }
            Arc::clone(places.entry(container.to_owned()).or_default())
        };
        let path = cell.get_or_try_init(|| put(api, container, stub)).await?;
        Ok(path.clone())
    }

    /// It is not there any more.
    pub(super) fn forget(&self, container: &str) {
        self.lock().remove(container);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<OnceCell<String>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn put(api: &Api, container: &str, stub: &Stub) -> Result<String> {
    let name = format!(".longshore-exec-stub-{}", stub.name());
    match api.put_archive(container, archive(stub, &name)?).await {
        Ok(()) => Ok(format!("/{name}")),
        // An engine that does not know this call knows no images either.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Unsupported
            ) =>
        {
            Err(error)
        }
        Err(error) => {
            tracing::debug!(
                container,
                error = error.chain(),
                "the stub is lent by a helper"
            );
            lend(api, container, stub).await
        }
    }
}

/// A helper container in the same process namespace has the stub in its own file system, and the
/// container's processes reach it through `/proc`. Linux lets them if the helper's process has the
/// same user and no capability that they lack (ptrace(2), "access mode checking").
async fn lend(api: &Api, container: &str, stub: &Stub) -> Result<String> {
    let image = image(api, stub).await?;
    let short = &container[..container.len().min(16)];
    let name = format!("{NAMED}{STUB}-{short}-{}", stub.name());
    let config = json!({
        "Image": image,
        "Cmd": [format!("/{PROGRAM}"), "hold"],
        "User": "0:0",
        "Tty": true,
        "Labels": { (ROLE): STUB },
        "HostConfig": {
            "PidMode": format!("container:{container}"),
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "ReadonlyRootfs": true,
            "AutoRemove": true,
            "LogConfig": { "Type": "json-file" },
        },
    });
    let id = match api.create_container(&name, &config).await {
        Ok(id) => id,
        // Another gateway, or an earlier life of this one, has made it.
        Err(error) if error.kind() == ErrorKind::Conflict => name,
        Err(error) => return Err(error),
    };
    api.start_container(&id).await?;
    let line = api.first_line(&id).await?;
    let pid: u32 = line
        .strip_prefix("pid ")
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| Error::protocol("the stub's helper container said no process id"))?;
    Ok(format!("/proc/{pid}/root/{PROGRAM}"))
}

/// An image with nothing but the stub, made on the engine if it is not there.
pub(in crate::docker) async fn image(api: &Api, stub: &Stub) -> Result<String> {
    let reference = format!("{PROGRAM}:{}", stub.name());
    if !api.has_image(&reference).await? {
        api.import_image(PROGRAM, stub.name(), archive(stub, PROGRAM)?)
            .await?;
    }
    Ok(reference)
}

/// A tar archive with the stub, runnable by everybody.
pub(in crate::docker) fn archive(stub: &Stub, name: &str) -> Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_size(stub.program().len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, name, &stub.program()[..])
        .and_then(|()| archive.into_inner())
        .map(Bytes::from)
        .map_err(|error| Error::io("cannot pack the stub", error))
}

pub(in crate::docker) const PROGRAM: &str = "longshore-exec-stub";
const MOST: usize = 4096;
