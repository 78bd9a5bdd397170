//! Which side is which, and what the copy is called.

use std::{
    ffi::OsString,
    fmt, fs,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use super::Landing;
use crate::Failure;

/// A path in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    pub container: String,
    /// Absolute.
    pub path: String,
}

/// Which way.
#[derive(Debug, PartialEq, Eq)]
pub enum Copying {
    Out {
        from: Inside,
        to: PathBuf,
    },
    In {
        from: PathBuf,
        to: Inside,
    },
    /// An archive, to our output.
    OutStream {
        from: Inside,
    },
    /// An archive, from our input.
    InStream {
        to: Inside,
    },
}

impl Copying {
    /// Exactly one side is in a container. A local path with a colon is told by its `/` or `./`, as is a
    /// file that is called `-`.
    pub fn parse(source: &str, destination: &str) -> Result<Self, Failure> {
        match (inside(source)?, inside(destination)?) {
            (Some(from), None) if destination == "-" => Ok(Self::OutStream { from }),
            (None, Some(to)) if source == "-" => Ok(Self::InStream { to }),
            (Some(from), None) => Ok(Self::Out {
                from,
                to: destination.into(),
            }),
            (None, Some(to)) => Ok(Self::In {
                from: source.into(),
                to,
            }),
            (Some(_), Some(_)) => Err(Failure::new(
                "both sides are in containers: copy to a local path first",
            )),
            (None, None) => Err(Failure::new(format!(
                "neither {source:?} nor {destination:?} is in a container: say NAME:/PATH for the \
                 side that is"
            ))),
        }
    }
}

fn inside(text: &str) -> Result<Option<Inside>, Failure> {
    let Some((container, path)) = text.split_once(':') else {
        return Ok(None);
    };
    if container.starts_with(['.', '/']) || container.is_empty() {
        return Ok(None);
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if !container.bytes().all(known) {
        return Err(Failure::new(format!(
            "{container:?} is no name of a container"
        )));
    }
    let place = Inside {
        container: container.to_owned(),
        path: path.to_owned(),
    };
    if !path.starts_with('/') {
        return Err(Failure::new(format!(
            "{place}: the path in the container must begin with /"
        )));
    }
    Ok(Some(place))
}

impl Inside {
    /// Another path in the same container; a relative one beside this.
    pub fn leads_to(&self, target: &str) -> Self {
        let folder = self.path.trim_end_matches('/').rsplit_once('/');
        let folder = folder.map_or("", |(folder, _)| folder);
        Self {
            container: self.container.clone(),
            path: match target.starts_with('/') {
                true => target.to_owned(),
                false => format!("{folder}/{target}"),
            },
        }
    }

    /// The last part; a copy of `/` has none.
    pub fn name(&self) -> Option<&str> {
        let name = self.path.trim_end_matches('/').rsplit('/').next()?;
        (!name.is_empty()).then_some(name)
    }

    /// The folder and the name in it.
    pub fn split(&self) -> Result<(String, OsString), Failure> {
        let path = self.path.trim_end_matches('/');
        match path.rsplit_once('/') {
            Some((folder, name)) if !matches!(name, "" | "." | "..") => {
                Ok((format!("{folder}/"), name.into()))
            }
            _ => Err(Failure::new(format!("{self} names no file or folder"))),
        }
    }

    pub fn malformed(&self) -> Failure {
        Failure::new(format!("{self} is malformed"))
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.container, self.path)
    }
}

/// Where a copy lands at this side: in a folder that is there, else under the name that was said.
pub fn ready_to_receive(to: &Path, name: Option<&str>) -> Result<Landing, Failure> {
    let Some(name) = name.filter(|name| !matches!(*name, "." | "..")) else {
        return Err(Failure::new(
            "name a file or folder below /, without . or .. at its end",
        ));
    };
    match fs::metadata(to) {
        Ok(found) if found.is_dir() => Ok(Landing {
            folder: to.to_owned(),
            name: name.into(),
        }),
        Err(_) if to.as_os_str().as_bytes().ends_with(b"/") => Err(Failure::new(format!(
            "there is no folder {}; make it first",
            to.display()
        ))),
        _ => {
            let folder = match to.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            };
            let shown = folder.display();
            if !folder.is_dir() {
                return Err(Failure::new(format!(
                    "there is no folder {shown}; make it first"
                )));
            }
            Ok(Landing {
                name: name_of(to)?,
                folder,
            })
        }
    }
}

/// The name of a local file or folder.
pub fn name_of(path: &Path) -> Result<OsString, Failure> {
    let whole = path.canonicalize();
    let last = match path.components().next_back() {
        Some(Component::Normal(name)) => Some(name.to_owned()),
        // `.` and `..` have a name, too.
        _ => whole
            .ok()
            .and_then(|path| path.file_name().map(ToOwned::to_owned)),
    };
    last.ok_or_else(|| Failure::new(format!("{} names no file or folder", path.display())))
}

/// For a query.
pub fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            all.push(char::from(byte));
        } else {
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}
