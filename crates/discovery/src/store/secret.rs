use std::fmt;

/// A name and a password. `Debug` shows neither; nothing prints them.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreCredentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl StoreCredentials {
    /// For etcd and ZooKeeper (digest): a user and its password; for Consul the password is the ACL
    /// token and the name counts for nothing.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }
}

impl fmt::Debug for StoreCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreCredentials(…)")
    }
}
