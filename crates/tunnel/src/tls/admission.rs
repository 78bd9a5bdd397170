use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Bounds how many connections of a listener are without a finished handshake, in all and per
/// address: nobody is allowed in yet, so nobody may take up much.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    most: usize,
    most_per_address: usize,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place among the unfinished handshakes, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Admission,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        Self {
            most,
            most_per_address,
            waiting: Arc::default(),
        }
    }

    pub(super) fn admit(&self, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let here = waiting
            .by_address
            .get(&address)
            .copied()
            .unwrap_or_default();
        if waiting.all >= self.most || here >= self.most_per_address {
            return None;
        }
        waiting.all += 1;
        waiting.by_address.insert(address, here + 1);
        Some(Place {
            admission: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self
            .admission
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        waiting.all -= 1;
        if let Some(here) = waiting.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                waiting.by_address.remove(&self.address);
            }
        }
    }
}

/// What one sender can have many of: in IPv6 that is the addresses of a /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let admission = Admission::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(a).unwrap();
        assert!(admission.admit(a).is_none(), "two per address");
        let _third = admission.admit(b).unwrap();
        assert!(admission.admit(b).is_none(), "three in all");
        drop(first);
        let last = admission.admit(b);
        assert!(last.is_some());
        drop((last, _second, _third));
        assert!(admission.waiting.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let admission = Admission::new(10, 1);
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let _first = admit("2001:db8::1").unwrap();
        assert!(admit("2001:db8::ffff:2").is_none());
        let _second = admit("2001:db8:0:1::1").unwrap();
        let _third = admit("10.0.0.1").unwrap();
        assert!(admit("::ffff:10.0.0.1").is_none());
        assert!(admit("10.0.0.2").is_some());
    }
}
