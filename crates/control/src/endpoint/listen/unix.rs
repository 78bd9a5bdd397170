use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
};

use longshore_core::{Error, Random, Result};
use tokio::net::{UnixListener, UnixStream};

/// The socket file of a listener; removed when this is dropped, if it is still the same file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a socket that nobody else can open at any moment: it is made in a private directory, gets
/// its mode there, and is then moved to its place. A stale socket file is replaced by the move; one
/// that a process still serves, and any other kind of file, is left alone.
pub(super) async fn bind(
    path: &Path,
    group: Option<u32>,
    random: &dyn Random,
) -> Result<(UnixListener, SocketFile)> {
    refuse_long(path)?;
    refuse_live(path).await?;
    let fail = |error: io::Error| {
        Error::io(
            format!("cannot listen on unix://{}: {error}", path.display()),
            error,
        )
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    refuse_homeless(path, parent)?;
    let private = parent.join(format!(".{}", random.hex(4)));
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&private)
        .map_err(fail)?;
    let fresh = private.join("s");
    let made = bind_within(&private, &fresh).and_then(|listener| {
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
        if let Some(group) = group {
            chown(&fresh, None, Some(group))?;
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o660))?;
        }
        let identity = identity(&fresh)?;
        fs::rename(&fresh, path)?;
        Ok((listener, identity))
    });
    if made.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    let _ = fs::remove_dir(&private);
    let (listener, identity) = made.map_err(fail)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity,
    };
    Ok((listener, file))
}

/// The private folder's path may be too long for the kernel where the socket's own is not.
fn bind_within(private: &Path, fresh: &Path) -> io::Result<UnixListener> {
    if fresh.as_os_str().len() <= MAX_PATH {
        return UnixListener::bind(fresh);
    }
    let folder = fs::File::open(private)?;
    UnixListener::bind(format!("/proc/self/fd/{}/s", folder.as_raw_fd()))
}

/// The kernel would say `path must be shorter than SUN_LEN`, and not of which path.
fn refuse_long(path: &Path) -> Result<()> {
    let length = path.as_os_str().len();
    if length <= MAX_PATH {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "cannot listen on unix://{}: the path has {length} bytes, and a socket's may have at most \
         {MAX_PATH}: choose a shorter one",
        path.display()
    )))
}

fn refuse_homeless(path: &Path, parent: &Path) -> Result<()> {
    let cannot = format!("cannot listen on unix://{}", path.display());
    match fs::metadata(parent) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::invalid(format!(
            "{cannot}: {} is not a folder",
            parent.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = parent.display();
            Err(Error::not_found(format!(
                "{cannot}: the folder {folder} does not exist: make it first (mkdir -p {folder})"
            )))
        }
        Err(error) => Err(Error::io(format!("{cannot}: {error}"), error)),
    }
}

async fn refuse_live(path: &Path) -> Result<()> {
    let taken = |reason: &str| {
        Error::new(
            longshore_core::ErrorKind::AlreadyExists,
            format!("cannot listen on unix://{}: {reason}", path.display()),
        )
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(
            format!("cannot listen on unix://{}: {error}", path.display()),
            error,
        )),
        Ok(found) if !found.file_type().is_socket() => {
            Err(taken("the path holds something that is not a socket"))
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(_) => Err(taken(
                "another process serves this socket: stop it, or choose another path",
            )),
            Err(error) => Err(taken(&format!(
                "it can't be told whether another process serves this socket: {error}"
            ))),
        },
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// What fits into the kernel's address with the zero byte at its end.
const MAX_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use longshore_core::{ErrorKind, OsRandom};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn the_socket_is_its_owner_s_alone_and_goes_with_the_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let (_listener, file) = bind(&path, None, &OsRandom).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone_and_a_stale_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let other = UnixListener::bind(&path).unwrap();
        let error = bind(&path, None, &OsRandom).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            error.message(),
            format!(
                "cannot listen on unix://{}: another process serves this socket: stop it, or choose another path",
                path.display()
            )
        );
        drop(other);
        assert!(path.exists());
        bind(&path, None, &OsRandom).await.unwrap();
    }

    #[tokio::test]
    async fn other_files_are_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        fs::write(&path, "precious").unwrap();
        let error = bind(&path, None, &OsRandom).await.unwrap_err();
        assert!(
            error
                .message()
                .ends_with("the path holds something that is not a socket")
        );
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_successor_s_socket_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let (listener, file) = bind(&path, None, &OsRandom).await.unwrap();
        drop(listener);
        let (_second, _second_file) = bind(&path, None, &OsRandom).await.unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_missing_folder_is_named_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/s.sock");
        let error = bind(&path, None, &OsRandom).await.unwrap_err();
        let parent = path.parent().unwrap().display();
        assert_eq!(
            error.chain(),
            format!(
                "cannot listen on unix://{}: the folder {parent} does not exist: make it first \
                 (mkdir -p {parent})",
                path.display()
            )
        );
    }

    #[tokio::test]
    async fn the_longest_path_works_and_a_longer_one_names_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let room = MAX_PATH - folder.path().as_os_str().len() - 1;
        let path = folder.path().join("s".repeat(room));
        bind(&path, None, &OsRandom).await.unwrap();
        let path = folder.path().join("s".repeat(room + 1));
        let error = bind(&path, None, &OsRandom).await.unwrap_err();
        assert!(error.message().contains("108 bytes"), "{error}");
        assert!(error.message().contains("at most 107"), "{error}");
        // The socket is made in a folder of its own first, whose path may be longer than its place.
        let name = "d".repeat(room - 2);
        fs::create_dir(folder.path().join(&name)).unwrap();
        bind(&folder.path().join(name).join("s"), None, &OsRandom)
            .await
            .unwrap();
    }
}
