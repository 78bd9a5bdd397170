use std::fmt;

use longshore_core::{Bytes, MilliCpu};

/// Something that a node has an amount of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// Processor time in thousandths.
    Cpu,
    /// Memory in bytes.
    Memory,
    /// A counted resource by name.
    Generic(&'a str),
}

/// An amount that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need<'a> {
    /// Of what.
    pub(crate) resource: Resource<'a>,
    /// How much, more than zero.
    pub(crate) amount: u64,
    /// Its place among the needs of the request.
    pub(crate) position: usize,
}

impl Resource<'_> {
    /// Whether it is neither CPU nor memory.
    pub(crate) fn is_generic(&self) -> bool {
        matches!(self, Self::Generic(_))
    }

    /// An amount with its unit: `1.5 CPUs`, `2 GiB of memory`, `1 gpu`.
    pub(crate) fn with_unit(self, amount: u64) -> impl fmt::Display {
        fmt::from_fn(move |f| match self {
            Self::Cpu if amount == 1000 => f.write_str("1 CPU"),
            Self::Cpu => write!(f, "{} CPUs", MilliCpu(amount)),
            Self::Memory => write!(f, "{} of memory", Bytes(amount)),
            Self::Generic(name) => write!(f, "{amount} {name}"),
        })
    }

    /// An amount alone: `1.5`, `2 GiB`, `1`.
    pub(crate) fn bare(self, amount: u64) -> impl fmt::Display {
        fmt::from_fn(move |f| match self {
            Self::Cpu => write!(f, "{}", MilliCpu(amount)),
            Self::Memory => write!(f, "{}", Bytes(amount)),
            Self::Generic(_) => write!(f, "{amount}"),
        })
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("CPU"),
            Self::Memory => f.write_str("memory"),
            Self::Generic(name) => f.write_str(name),
        }
    }
}
