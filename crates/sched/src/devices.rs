use longshore_core::{Bytes, Comparison, Device, DeviceDemand, DeviceRequest};

use crate::{matcher::RegexCache, term::Term};

/// Devices of a kind that a request asks for, compiled.
#[derive(Debug)]
pub(crate) struct Wanted<'r> {
    /// As it was written.
    pub(crate) request: &'r DeviceRequest,
    tests: Vec<Test<'r>>,
}

#[derive(Debug)]
enum Test<'r> {
    Attribute(Term<'r>),
    Amount(&'r str, Comparison, Bytes),
}

impl<'r> Wanted<'r> {
    pub(crate) fn compile(
        requests: &'r [DeviceRequest],
        cache: &RegexCache,
    ) -> Result<Vec<Self>, String> {
        let count: u64 = requests
            .iter()
            .map(|wanted| u64::from(wanted.count()))
            .sum();
        if count > u64::from(DeviceRequest::MAX_COUNT) {
            return Err(format!(
                "a request holds at most {} devices, this one holds {count}",
                DeviceRequest::MAX_COUNT
            ));
        }
        let compile = |(position, request): (usize, &'r DeviceRequest)| {
            let demands = request.demands();
            if demands.len() > DeviceRequest::MAX_DEMANDS {
                return Err(format!("{request}: too many demands on a device"));
            }
            let tests = demands.iter().map(|demand| match demand {
                DeviceDemand::Attribute(expression) => {
                    Term::compile("device", position, expression, cache).map(Test::Attribute)
                }
                DeviceDemand::Amount {
                    attribute,
                    comparison,
                    amount,
                    ..
                } => Ok(Test::Amount(attribute, *comparison, *amount)),
                other => Err(format!("device demand {other} is not known")),
            });
            Ok(Self {
                request,
                tests: tests.collect::<Result<_, _>>()?,
            })
        };
        requests.iter().enumerate().map(compile).collect()
    }

    /// How many it comes to on a node that has these.
    pub(crate) fn pieces(&self, all: &[Device]) -> usize {
        match self.request.is_all() {
            true => all.iter().filter(|device| self.fits(device)).count().max(1),
            false => self.request.count() as usize,
        }
    }

    /// Whether a device is of the kind and as demanded.
    pub(crate) fn fits(&self, device: &Device) -> bool {
        device.id.kind == self.request.kind()
            && self.tests.iter().all(|test| match test {
                Test::Attribute(term) => {
                    let key = term.expression.key();
                    term.holds(device.attributes.get(key).into_iter())
                }
                Test::Amount(attribute, comparison, amount) => device
                    .attributes
                    .get(attribute)
                    .and_then(|text| text.parse().ok())
                    .is_some_and(|had| comparison.holds(had, *amount)),
            })
    }
}

/// The devices for a request among those that are free of all that a node has, in the order of the
/// request; nothing if they do not suffice. Free devices come sorted by id. Of all ways to do it, the one in which the first
/// piece has the least device, then the second, and so on.
pub(crate) fn assign<'d>(
    wanted: &[Wanted<'_>],
    all: &[Device],
    free: &[&'d Device],
) -> Option<Vec<&'d Device>> {
    let pieces = wanted.iter().flat_map(|wanted| {
        let fitting: Vec<usize> = (0..free.len())
            .filter(|at| wanted.fits(free[*at]))
            .collect();
        std::iter::repeat_n(fitting, wanted.pieces(all))
    });
    let mut matching = Matching {
        fitting: pieces.collect(),
        device_of: Vec::new(),
        piece_of: vec![None; free.len()],
    };
    for piece in 0..matching.fitting.len() {
        matching.device_of.push(None);
        if !matching.place(piece, 0, &mut vec![false; free.len()]) {
            return None;
        }
    }
    for piece in 0..matching.fitting.len() {
        matching.improve(piece);
    }
    Some(
        matching
            .device_of
            .iter()
            .flatten()
            .map(|at| free[*at])
            .collect(),
    )
}

/// Pieces and devices, matched by augmenting paths (Kuhn 1955).
struct Matching {
    /// By piece, the devices that fit, the least first.
    fitting: Vec<Vec<usize>>,
    device_of: Vec<Option<usize>>,
    piece_of: Vec<Option<usize>>,
}

impl Matching {
    /// Finds a device for a piece; the pieces before `fixed` keep theirs.
    fn place(&mut self, piece: usize, fixed: usize, seen: &mut [bool]) -> bool {
        for at in 0..self.fitting[piece].len() {
            let device = self.fitting[piece][at];
            if std::mem::replace(&mut seen[device], true) {
                continue;
            }
            let free = match self.piece_of[device] {
                None => true,
                Some(other) => other >= fixed && self.place(other, fixed, seen),
            };
            if free {
                self.give(device, piece);
                return true;
            }
        }
        false
    }

    /// Gives a piece the least device that leaves enough for those behind it.
    fn improve(&mut self, piece: usize) {
        let Some(present) = self.device_of[piece] else {
            return;
        };
        for at in 0..self.fitting[piece].len() {
            let device = self.fitting[piece][at];
            if device == present {
                return;
            }
            match self.piece_of[device] {
                None => {
                    self.piece_of[present] = None;
                    self.give(device, piece);
                    return;
                }
                Some(other) if other > piece => {
                    // The other one looks for a device of its own: what this piece had is free.
                    self.piece_of[present] = None;
                    self.give(device, piece);
                    let mut seen = vec![false; self.piece_of.len()];
                    seen[device] = true;
                    if self.place(other, piece + 1, &mut seen) {
                        return;
                    }
                    self.give(device, other);
                    self.give(present, piece);
                }
                Some(_) => {}
            }
        }
    }

    fn give(&mut self, device: usize, piece: usize) {
        self.device_of[piece] = Some(device);
        self.piece_of[device] = Some(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By trying everything, in order.
    fn naive<'d>(pieces: &[&Wanted<'_>], free: &[&'d Device]) -> Option<Vec<&'d Device>> {
        let Some((first, rest)) = pieces.split_first() else {
            return Some(vec![]);
        };
        free.iter().enumerate().find_map(|(at, device)| {
            if !first.fits(device) {
                return None;
            }
            let mut others = free.to_vec();
            others.remove(at);
            let mut all = vec![*device];
            all.extend(naive(rest, &others)?);
            Some(all)
        })
    }

    proptest::proptest! {
        /// It finds the least assignment whenever there is one.
        #[test]
        fn assignments_are_the_least(
            sizes in proptest::collection::vec(0..4u32, 0..6),
            asked in proptest::collection::vec((0..3u32, 0..4u32, 0..3u8), 0..4),
            taken in 0..64u8,
        ) {
            let devices: Vec<Device> = sizes.iter().enumerate().map(|(at, size)| {
                Device::new("gpu", format!("g{at}")).with("memory", size.to_string())
            }).collect();
            let is_free = |at: &usize| taken >> at & 1 == 0;
            let free: Vec<&Device> = (0..devices.len()).filter(is_free).map(|at| &devices[at]).collect();
            let requests: Vec<DeviceRequest> = asked.iter().map(|(count, memory, how)| {
                let how = ["<=", ">=", "=="][usize::from(*how)];
                let count = if *count == 0 { "all".into() } else { count.to_string() };
                format!("{count} gpu where memory{how}{memory}").parse().unwrap()
            }).collect();
            let cache = RegexCache::default();
            let wanted = Wanted::compile(&requests, &cache).unwrap();
            let pieces: Vec<&Wanted<'_>> = wanted.iter()
                .flat_map(|w| {
                    let all = devices.iter().filter(|device| w.fits(device)).count();
                    let count = if w.request.is_all() { all.max(1) } else { w.request.count() as usize };
                    std::iter::repeat_n(w, count)
                }).collect();
            proptest::prop_assert_eq!(assign(&wanted, &devices, &free), naive(&pieces, &free));
        }
    }
}
