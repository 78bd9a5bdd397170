//! Users and groups by name or number.

use std::fs;

use longshore_core::{Error, Result};

/// As whom a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl User {
    /// Reads `user`, `user:group`, by name or number; `None` for an empty text.
    pub(super) fn find(text: &str) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let group = fs::read_to_string("/etc/group").unwrap_or_default();
        Self::look_up(text, &passwd, &group).map(Some)
    }

    fn look_up(text: &str, passwd: &str, groups: &str) -> Result<Self> {
        let unknown = |what: &str, name: &str| {
            Error::invalid(format!("unknown {what} {name:?} in user {text:?}"))
        };
        let (name, group) = match text.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (text, None),
        };
        let entry = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name) || fields.get(2) == Some(&name));
        let number = |index: usize| entry.as_ref()?.get(index)?.parse::<u32>().ok();
        let uid = match number(2) {
            Some(uid) => uid,
            None => name.parse().map_err(|_| unknown("user", name))?,
        };
        let gid = match group {
            // Without an entry, Docker takes the group 0.
            None => number(3).unwrap_or(0),
            Some(group) => groups
                .lines()
                .map(|line| line.split(':').collect::<Vec<_>>())
                .find(|fields| fields.first() == Some(&group))
                .and_then(|fields| fields.get(2)?.parse().ok())
                .or_else(|| group.parse().ok())
                .ok_or_else(|| unknown("group", group))?,
        };
        Ok(Self { uid, gid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(u32, u32)>) {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:100::/srv/alice:/bin/sh\n";
        let groups = "root:x:0:\nstaff:x:50:alice\n";
        let found = User::look_up(text, passwd, groups).ok();
        assert_eq!(found.map(|user| (user.uid, user.gid)), expected);
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        check("alice", Some((1000, 100)));
        check("1000", Some((1000, 100)));
        check("alice:staff", Some((1000, 50)));
        check("alice:7", Some((1000, 7)));
        check("4242", Some((4242, 0)));
        check("bob", None);
        check("alice:nobody-here", None);
    }
}
