use std::{
    collections::BTreeMap,
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Sub, SubAssign},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Why a quantity was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {input:?}: {reason}")]
pub struct QuantityError {
    what: &'static str,
    input: String,
    reason: &'static str,
}

impl From<QuantityError> for crate::Error {
    fn from(error: QuantityError) -> Self {
        Self::invalid(error.to_string())
    }
}

macro_rules! quantity {
    ($name:ident) => {
        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// Whether it is nothing.
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// Sum, or `None` on overflow.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Difference, zero instead of below zero.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        /// Saturates at the largest value.
        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        /// Saturates at zero.
        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                self.saturating_sub(other)
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, Add::add)
            }
        }
    };
}

/// Processor time in thousandths of a CPU: 1500 is one and a half CPUs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MilliCpu(pub u64);
quantity!(MilliCpu);

impl MilliCpu {
    /// Whole CPUs.
    pub const fn from_cpus(cpus: u64) -> Self {
        Self(cpus.saturating_mul(1000))
    }

    /// From billionths of a CPU (Docker's `NanoCpus`), rounded up.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos.div_ceil(1_000_000))
    }
}

/// `1500` prints as `1.5`.
impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return f.pad(&whole.to_string());
        }
        let text = format!("{whole}.{rest:03}");
        f.pad(text.trim_end_matches('0'))
    }
}

/// Reads `2`, `0.5`, `500m`.
impl FromStr for MilliCpu {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let refuse = |reason| QuantityError {
            what: "CPU quantity",
            input: text.chars().take(40).collect(),
            reason,
        };
        if let Some(milli) = text.strip_suffix('m') {
            return milli
                .parse()
                .map(Self)
                .map_err(|_| refuse("expected a number before 'm'"));
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse("at most three decimal places are allowed"));
        }
        let whole: u64 = whole
            .parse()
            .map_err(|_| refuse("expected a number such as 2 or 0.5"))?;
        let fraction: u64 = format!("{fraction:0<3}").parse().unwrap_or(0);
        whole
            .checked_mul(1000)
            .and_then(|milli| milli.checked_add(fraction))
            .map(Self)
            .ok_or_else(|| refuse("it is too large"))
    }
}

/// An amount of memory or disk in bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);
quantity!(Bytes);

impl Bytes {
    /// Mebibytes.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// Gibibytes.
    pub const fn from_gib(gib: u64) -> Self {
        Self(gib.saturating_mul(1 << 30))
    }
}

/// Binary units with four significant digits, as Docker prints them: `0 B`, `1 GiB`, `1.465 GiB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit < UNITS.len() - 1 {
            value /= 1024.0;
            unit += 1;
        }
        let decimals = if value >= 1000.0 {
            0
        } else if value >= 100.0 {
            1
        } else if value >= 10.0 {
            2
        } else {
            3
        };
        let text = format!("{value:.decimals$}");
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        f.pad(&format!("{text} {}", UNITS[unit]))
    }
}

/// Reads `1073741824`, `512k`, `256m`, `1g`, `2t`, also with `b` or `ib` behind, any case.
impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let refuse = |reason| QuantityError {
            what: "size",
            input: text.chars().take(40).collect(),
            reason,
        };
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = lower[..digits]
            .parse()
            .map_err(|_| refuse("expected a number such as 512m or 2g"))?;
        let shift = match lower[digits..].trim() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(refuse("the unit must be one of b, k, m, g, t")),
        };
        number
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or_else(|| refuse("it is too large"))
    }
}

/// Amounts of what a node has or a workload asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Processor time.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// Counted resources of other kinds by name, for example `gpu`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, u64>,
}

impl Resources {
    /// CPU and memory only.
    pub fn new(cpu: MilliCpu, memory: Bytes) -> Self {
        Self {
            cpu,
            memory,
            generic: BTreeMap::new(),
        }
    }

    /// Whether nothing is asked for.
    pub fn is_zero(&self) -> bool {
        self.cpu.is_zero() && self.memory.is_zero() && self.generic.values().all(|n| *n == 0)
    }

    /// Adds `other`, saturating.
    pub fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
        for (name, amount) in &other.generic {
            let entry = self.generic.entry(name.clone()).or_default();
            *entry = entry.saturating_add(*amount);
        }
    }

    /// Takes `other` away, never below zero; a generic resource that reaches zero is dropped.
    pub fn subtract(&mut self, other: &Self) {
        self.cpu -= other.cpu;
        self.memory -= other.memory;
        for (name, amount) in &other.generic {
            if let Some(entry) = self.generic.get_mut(name) {
                *entry = entry.saturating_sub(*amount);
                if *entry == 0 {
                    self.generic.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bytes(bytes: u64, text: &str) {
        assert_eq!(Bytes(bytes).to_string(), text);
    }

    #[test]
    fn bytes_print_like_docker() {
        check_bytes(0, "0 B");
        check_bytes(1 << 30, "1 GiB");
        check_bytes(1_573_741_824, "1.466 GiB");
        check_bytes(104_857_600, "100 MiB");
    }

    #[test]
    fn quantities_parse_and_refuse() {
        assert_eq!("0.5".parse(), Ok(MilliCpu(500)));
        assert_eq!("250m".parse(), Ok(MilliCpu(250)));
        assert_eq!(MilliCpu(1500).to_string(), "1.5");
        assert_eq!("512M".parse(), Ok(Bytes(512 << 20)));
        assert!("99999999999t".parse::<Bytes>().is_err());
        assert!("-1".parse::<MilliCpu>().is_err());
        assert!("1.2345".parse::<MilliCpu>().is_err());
    }
}
