//! Whom a command runs as: users of the container, not of the engine's host.

use std::{ffi::OsString, fs, io, os::unix::process::CommandExt, process::Command};

use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

/// A user with all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<String>,
}

impl User {
    /// `user`, `uid`, and either with `:group` or `:gid`, as in a Dockerfile.
    pub(crate) fn find(spec: &str) -> Result<Self, String> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let group = fs::read_to_string("/etc/group").unwrap_or_default();
        Self::resolve(spec, &passwd, &group)
    }

    fn resolve(spec: &str, passwd: &str, group: &str) -> Result<Self, String> {
        let (user, wanted_group) = match spec.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (spec, None),
        };
        let entry = lines(passwd)
            .find(|fields| fields.first() == Some(&user) || fields.get(2) == Some(&user));
        let number = |index: usize| entry.as_ref()?.get(index)?.parse().ok();
        let uid = number(2)
            .or_else(|| user.parse().ok())
            .ok_or_else(|| format!("there is no user {user:?} in the container's /etc/passwd"))?;
        let name = entry.as_ref().and_then(|fields| fields.first()).copied();
        let home = entry.as_ref().and_then(|fields| fields.get(5)).copied();
        let gid = match wanted_group {
            Some(wanted) => lines(group)
                .find(|fields| fields.first() == Some(&wanted))
                .and_then(|fields| fields.get(2)?.parse().ok())
                .or_else(|| wanted.parse().ok())
                .ok_or_else(|| format!("there is no group {wanted:?} in the container"))?,
            None => number(3).unwrap_or(0),
        };
        // As the engine does it: further groups only where none was asked for.
        let mut groups = Vec::new();
        if let (Some(name), None) = (name, wanted_group) {
            let mine = lines(group).filter(|fields| {
                fields
                    .get(3)
                    .is_some_and(|members| members.split(',').any(|one| one == name))
            });
            groups.extend(mine.filter_map(|fields| fields.get(2)?.parse::<u32>().ok()));
        }
        groups.push(gid);
        groups.sort_unstable();
        groups.dedup();
        Ok(Self {
            uid,
            gid,
            groups,
            home: home.filter(|home| !home.is_empty()).map(str::to_owned),
        })
    }

    /// The arguments of [`become_and_run`].
    pub(crate) fn arguments(&self) -> [String; 3] {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        [self.uid.to_string(), self.gid.to_string(), groups.join(",")]
    }
}

/// Gives up root for good and becomes the command. Returns only with the reason why not.
pub(crate) fn become_and_run(mut arguments: impl Iterator<Item = OsString>) -> String {
    let mut next = || arguments.next()?.into_string().ok();
    let (Some(uid), Some(gid), Some(groups)) = (next(), next(), next()) else {
        return "become expects UID GID GROUPS -- COMMAND…".to_owned();
    };
    if next().as_deref() != Some("--") {
        return "become expects -- before the command".to_owned();
    }
    let Some(program) = arguments.next() else {
        return "the command is empty".to_owned();
    };
    let dropped = (|| -> Option<rustix::io::Result<()>> {
        let groups = groups
            .split(',')
            .map(|group| group.parse().ok().map(Gid::from_raw));
        let groups: Vec<Gid> = groups.collect::<Option<_>>()?;
        let (gid, uid) = (gid.parse().ok()?, uid.parse().ok()?);
        // One thread: what is set for it is set for the process.
        Some(
            set_thread_groups(&groups)
                .and_then(|()| set_thread_gid(Gid::from_raw(gid)))
                .and_then(|()| set_thread_uid(Uid::from_raw(uid))),
        )
    })();
    match dropped {
        Some(Ok(())) => {}
        Some(Err(error)) => return format!("cannot become user {uid}: {error}"),
        None => return "become expects numbers".to_owned(),
    }
    let error = Command::new(&program).args(arguments).exec();
    let code = if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    let _ = io::Write::write_all(
        &mut io::stderr(),
        format!("cannot run {}: {error}\n", program.display()).as_bytes(),
    );
    // The process is the command's, so is the code that a shell would give.
    std::process::exit(code)
}

/// Whether becoming somebody else is possible at all.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/srv/ann:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nann:x:1001:\naudio:x:29:bob,ann\nops:x:50:ann\n";

    #[test]
    fn names_and_numbers_become_users() {
        let ann = User::resolve("ann", PASSWD, GROUP).unwrap();
        assert_eq!((ann.uid, ann.gid), (1000, 1001));
        assert_eq!(ann.groups, [29, 50, 1001]);
        assert_eq!(ann.home.as_deref(), Some("/srv/ann"));
        assert_eq!(User::resolve("1000", PASSWD, GROUP).unwrap(), ann);
        let other = User::resolve("4242", PASSWD, GROUP).unwrap();
        assert_eq!((other.uid, other.gid), (4242, 0));
        let with_group = User::resolve("ann:audio", PASSWD, GROUP).unwrap();
        assert_eq!((with_group.gid, with_group.groups), (29, vec![29]));
        assert_eq!(User::resolve("7:8", "", "").unwrap().gid, 8);
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        let error = User::resolve("eve", PASSWD, GROUP).unwrap_err();
        assert!(error.contains("\"eve\""), "{error}");
        let error = User::resolve("ann:evil", PASSWD, GROUP).unwrap_err();
        assert!(error.contains("\"evil\""), "{error}");
    }
}
