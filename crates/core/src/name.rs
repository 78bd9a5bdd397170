use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {input:?}: {reason}")]
pub struct NameError {
    what: &'static str,
    input: String,
    reason: &'static str,
}

impl From<NameError> for crate::Error {
    fn from(error: NameError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Names of nodes are shared by all that speak of them; the others have one owner mostly.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $text:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name($text<str>);

        impl $name {
            /// Checks and takes the text.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                match $check(&text) {
                    Ok(()) => Ok(Self(text.into())),
                    Err(reason) => Err(NameError {
                        what: $what,
                        input: text.chars().take(80).collect(),
                        reason,
                    }),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// A node's stable identity: the engine's own id, or what its certificate says. 1 to 128
    /// visible ASCII characters without `/`.
    NodeId, Arc, "node id", check_id
);
name_type!(
    /// A node's name as people use it: the engine's host name. 1 to 253 characters, letters,
    /// digits, `-`, `_` and `.`, beginning with a letter or digit.
    NodeName, Arc, "node name", check_name
);
name_type!(
    /// A service's name within its stack. Same rules as [`NodeName`].
    ServiceName, Box, "service name", check_name
);
name_type!(
    /// A workload's (container's) name, without a leading slash. Same rules as [`NodeName`].
    WorkloadName, Box, "container name", check_name
);
name_type!(
    /// A network's name. Same rules as [`NodeName`].
    NetworkName, Box, "network name", check_name
);
name_type!(
    /// The id an engine gave a workload (container id). 1 to 128 visible ASCII characters
    /// without `/`.
    WorkloadId, Box, "container id", check_id
);
name_type!(
    /// The id of an exec, attach or tunnel session.
    SessionId, Box, "session id", check_id
);
name_type!(
    /// The id of a reservation that a scheduler holds until the work is seen or given up.
    ReservationId, Box, "reservation id", check_id
);

fn check_id(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > 128 {
        return Err("it is longer than 128 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'/') {
        return Err("only visible ASCII characters without '/' are allowed");
    }
    Ok(())
}

fn check_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > 253 {
        return Err("it is longer than 253 characters");
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err("it must begin with a letter or a digit");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        return Err("only letters, digits, '-', '_' and '.' are allowed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_is_named_in_its_error() {
        let error = NodeName::new("-x").unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid node name \"-x\": it must begin with a letter or a digit"
        );
    }

    #[test]
    fn names_check_on_deserialization() {
        assert!(serde_json::from_str::<WorkloadId>("\"a/b\"").is_err());
        assert!(serde_json::from_str::<WorkloadId>("\"ab\"").is_ok());
    }
}
