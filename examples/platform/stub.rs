//! Which stub exec sessions get, if any.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use longshore::{Error, Result, exec::Stub};

use crate::cli::StubChoice;

/// Finds the stub, and says in the log which it is, or why there is none.
///
/// # Errors
/// A file that was named can't be used. One that is merely there is passed over with a warning.
pub fn find(choice: &StubChoice, sidecar_image: Option<&str>) -> Result<Option<Stub>> {
    let found = match choice {
        StubChoice::None => {
            let without = without(sidecar_image);
            tracing::info!("exec sessions go without a stub, as --exec-stub none says: {without}");
            return Ok(None);
        }
        StubChoice::File(path) => Some((path.clone(), read(path)?)),
        StubChoice::Auto => places().into_iter().find_map(|path| match read(&path) {
            Ok(stub) => Some((path, stub)),
            Err(error) => {
                if path.exists() {
                    tracing::warn!(error = error.chain(), "a stub is passed over");
                }
                None
            }
        }),
    };
    match &found {
        Some((path, stub)) => tracing::info!(
            "exec sessions are owned by the stub {}, for {}",
            path.display(),
            stub.architecture().unwrap_or("an unknown architecture")
        ),
        None => tracing::info!(
            "exec sessions go without a stub, because there is none at {}: {}; --exec-stub FILE \
             names one, `cargo xtask stub` builds it",
            places()
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join(" or "),
            without(sidecar_image)
        ),
    }
    Ok(found.map(|(_, stub)| stub))
}

/// What is there in its place.
fn without(sidecar_image: Option<&str>) -> String {
    let shell = "where an image has a shell, that ends what they leave behind";
    match sidecar_image {
        Some(image) => format!(
            "{shell}; where it has none, a container of {image} does, beside it during sessions, and \
             delivers signals"
        ),
        None => format!(
            "{shell}; where it has none, nothing does, and nobody gets a shell there \
             (--exec-sidecar-image IMAGE names one that cleans up and delivers signals)"
        ),
    }
}

/// Beside this program, and where a package would put it.
fn places() -> Vec<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join(NAME)));
    beside
        .into_iter()
        .chain([Path::new("/usr/lib/longshore").join(NAME)])
        .collect()
}

fn read(path: &Path) -> Result<Stub> {
    let named = |error: Error| error.with_context("file", path.display());
    let mut program = Vec::new();
    let reading = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut program));
    if let Err(error) = reading {
        let what = match error.kind() {
            ErrorKind::NotFound => "there is no stub at this place",
            _ => "the stub can't be read",
        };
        return Err(named(Error::io(what, error)));
    }
    Stub::new(program).map_err(named)
}

const NAME: &str = "longshore-exec-stub";
/// More than any stub has.
const LARGEST: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_named_must_be_a_stub() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stub");
        let choice = StubChoice::File(path.clone());
        let error = find(&choice, None).expect_err("it is not there");
        assert!(error.chain().contains("no stub at this place"), "{error:?}");
        assert!(
            error.chain().contains(&path.display().to_string()),
            "{error:?}"
        );
        std::fs::write(&path, "#!/bin/sh\n").expect("written");
        let error = find(&choice, None).expect_err("it is no program");
        assert!(error.chain().contains("ELF"), "{error:?}");
        // No program headers, so nothing is asked for.
        let mut program = b"\x7fELF\x02\x01".to_vec();
        program.resize(64, 0);
        std::fs::write(&path, program).expect("written");
        assert!(find(&choice, None).expect("it is taken").is_some());
        assert!(find(&StubChoice::None, None).expect("no file").is_none());
    }

    #[test]
    fn what_stands_in_for_a_stub_is_told_for_images_without_a_shell_too() {
        let none = without(None);
        assert!(none.contains("nothing does") && none.contains("--exec-sidecar-image"));
        let some = without(Some("busybox"));
        assert!(some.contains("a container of busybox does") && !some.contains("nothing"));
    }

    #[test]
    fn choices_are_words_or_files() {
        assert_eq!("auto".parse(), Ok(StubChoice::Auto));
        assert_eq!("none".parse(), Ok(StubChoice::None));
        assert_eq!("./auto".parse(), Ok(StubChoice::File("./auto".into())));
        assert!("".parse::<StubChoice>().is_err());
    }
}
