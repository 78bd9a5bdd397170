use std::{fmt, str::FromStr};

use longshore_core::{Error, Result};

/// How the nodes that could take the work are ranked; Swarm's names and formulas.
///
/// A node's weight is its CPU percentage plus its memory percentage, both after the placement and
/// rounded down (100 where nothing is asked for), plus a health term of ten times its health
/// indicator, so that a node which failed lately loses against any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// The least full node; of those, the one with the fewest containers.
    #[default]
    Spread,
    /// The fullest node with room; of those, the one with the most containers.
    BinPack,
    /// Any node with room, in an order that follows from the seed and the node ids alone.
    Random,
}

impl Strategy {
    /// `spread`, `binpack` or `random`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::BinPack => "binpack",
            Self::Random => "random",
        }
    }

    /// What a point of the health indicator adds to the weight.
    pub(crate) fn health_factor(self) -> i64 {
        match self {
            Self::Spread => -10,
            Self::BinPack => 10,
            Self::Random => 0,
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads Swarm's names, `binpacking` included. The message of the error is Swarm's.
impl FromStr for Strategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "spread" => Ok(Self::Spread),
            "binpack" | "binpacking" => Ok(Self::BinPack),
            "random" => Ok(Self::Random),
            _ => Err(Error::invalid("strategy not supported")),
        }
    }
}

/// What decides between nodes that a strategy ranks alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TieBreak {
    /// The node's name, then its id (S15).
    #[default]
    Name,
    /// The seed.
    Seed,
    /// When they last failed: one that never did first, then the one whose failure is longest ago;
    /// then names.
    LastFailure,
}
