use serde::{Deserialize, Serialize};

/// An operating system and processor, in Go's words (`linux`, `amd64`); empty fits any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// The operating system, compared with the node's `ostype`.
    pub os: String,
    /// The processor, compared with the node's `architecture`; `x86_64` is `amd64`, `aarch64` is
    /// `arm64`.
    pub architecture: String,
}
