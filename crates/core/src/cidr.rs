use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A block of addresses: `10.42.0.0/16`, `fd00::/64`. Host bits must be zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// From the first address and the length of the prefix in bits.
    ///
    /// # Errors
    /// The prefix is too long for the family, or a bit behind it is set.
    pub fn new(address: IpAddr, prefix: u8) -> crate::Result<Self> {
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        if prefix > width {
            return Err(Error::invalid(format!(
                "invalid address block {address}/{prefix}: the prefix is longer than {width} bits"
            )));
        }
        if bits(address) & !mask(width, prefix) != 0 {
            return Err(Error::invalid(format!(
                "invalid address block {address}/{prefix}: bits behind the prefix are set"
            )));
        }
        Ok(Self { address, prefix })
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address lies in the block; never across families.
    pub fn contains(&self, address: IpAddr) -> bool {
        let width: u8 = if self.address.is_ipv4() { 32 } else { 128 };
        self.address.is_ipv4() == address.is_ipv4()
            && bits(address) & mask(width, self.prefix) == bits(self.address)
    }

    /// Whether the blocks share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn mask(width: u8, prefix: u8) -> u128 {
    let host = u32::from(width - prefix);
    let all = if width == 32 {
        u128::from(u32::MAX)
    } else {
        u128::MAX
    };
    u128::MAX.checked_shl(host).unwrap_or(0) & all
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cidr({self})")
    }
}

impl FromStr for Cidr {
    type Err = Error;
    fn from_str(text: &str) -> crate::Result<Self> {
        let bad = || {
            Error::invalid(format!(
                "invalid address block {text:?}: expected for example 10.42.0.0/16"
            ))
        };
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        Self::new(
            address.parse().map_err(|_| bad())?,
            prefix.parse().map_err(|_| bad())?,
        )
    }
}

impl TryFrom<String> for Cidr {
    type Error = Error;
    fn try_from(text: String) -> crate::Result<Self> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(block: Cidr) -> Self {
        block.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_and_overlap() {
        let block: Cidr = "10.42.0.0/16".parse().unwrap();
        assert!(block.contains("10.42.255.1".parse().unwrap()));
        assert!(!block.contains("10.43.0.0".parse().unwrap()));
        assert!(!block.contains("::1".parse().unwrap()));
        assert!(block.overlaps(&"10.42.7.0/24".parse().unwrap()));
        assert!(
            "0.0.0.0/0"
                .parse::<Cidr>()
                .unwrap()
                .contains("9.9.9.9".parse().unwrap())
        );
        assert!(
            "::/0"
                .parse::<Cidr>()
                .unwrap()
                .contains("::9".parse().unwrap())
        );
    }

    #[test]
    fn bad_blocks_are_refused() {
        for text in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0", "x/8", "::1/0"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
