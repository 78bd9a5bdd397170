use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use longshore_core::Cidr;

/// Hands out the addresses of one block, in order, starting over at the end: an address given back
/// is the last to be given again, so that stale entries elsewhere do not lead to a newcomer.
///
/// Some addresses are never handed out: the first of the block (the block itself, or IPv6's
/// subnet-router anycast), the second (the node's own address in the network) and the last of an
/// IPv4 block (broadcast). A block of one or two addresses has no room for that and hands out all.
///
/// Pure: no clock, no I/O.
#[derive(Clone, Debug)]
pub struct BlockAllocator {
    block: Cidr,
    /// The first and the last offset that can be handed out.
    from: u128,
    to: u128,
    /// Where to look next.
    next: u128,
    held: BTreeSet<u128>,
}

/// Why an address can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocationError {
    /// All addresses are held.
    Full,
    /// This one is held.
    Taken,
    /// It lies outside the block.
    Outside,
    /// It is one that is never handed out.
    Reserved,
}

impl fmt::Display for AllocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "all addresses of the block are held",
            Self::Taken => "the address is held by another workload",
            Self::Outside => "the address is not in this node's block",
            Self::Reserved => "the address is never handed out",
        })
    }
}

impl std::error::Error for AllocationError {}

impl BlockAllocator {
    /// All addresses of the block are free.
    pub fn new(block: Cidr) -> Self {
        let width: u32 = if block.address().is_ipv4() { 32 } else { 128 };
        let bits = width - u32::from(block.prefix());
        let last = 1u128.checked_shl(bits).map_or(u128::MAX, |size| size - 1);
        let (from, to) = match (bits, block.address()) {
            (0 | 1, _) => (0, last),
            (_, IpAddr::V4(_)) => (2, last - 1),
            (_, IpAddr::V6(_)) => (2, last),
        };
        Self {
            block,
            from,
            to,
            next: from,
            held: BTreeSet::new(),
        }
    }

    /// The block.
    pub fn block(&self) -> Cidr {
        self.block
    }

    /// How many addresses are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The next free address.
    ///
    /// # Errors
    /// [`AllocationError::Full`].
    pub fn allocate(&mut self) -> Result<IpAddr, AllocationError> {
        let offset = self
            .free_from(self.next, self.to)
            .or_else(|| self.free_from(self.from, self.to));
        let offset = offset.ok_or(AllocationError::Full)?;
        self.held.insert(offset);
        self.next = if offset < self.to {
            offset + 1
        } else {
            self.from
        };
        Ok(self.address(offset))
    }

    /// This address.
    ///
    /// # Errors
    /// It is outside, reserved or taken.
    pub fn take(&mut self, address: IpAddr) -> Result<(), AllocationError> {
        let offset = self.offset(address).ok_or(AllocationError::Outside)?;
        if !(self.from..=self.to).contains(&offset) {
            return Err(AllocationError::Reserved);
        }
        if self.held.insert(offset) {
            Ok(())
        } else {
            Err(AllocationError::Taken)
        }
    }

    /// Gives an address back. One that is not held is free already.
    pub fn release(&mut self, address: IpAddr) {
        if let Some(offset) = self.offset(address) {
            self.held.remove(&offset);
        }
    }

    /// The first offset of a range that is not held: one step for each held one before it.
    fn free_from(&self, from: u128, to: u128) -> Option<u128> {
        let mut free = from;
        for held in self.held.range(from..=to) {
            if *held > free {
                break;
            }
            free = free.checked_add(1)?;
        }
        (free <= to).then_some(free)
    }

    fn offset(&self, address: IpAddr) -> Option<u128> {
        self.block
            .contains(address)
            .then(|| bits(address) - bits(self.block.address()))
    }

    fn address(&self, offset: u128) -> IpAddr {
        let bits = bits(self.block.address()) + offset;
        match self.block.address() {
            // An offset lies within the block, so the sum fits the family.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests;
