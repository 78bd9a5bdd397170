use longshore::{core::Timestamp, tunnel::pki::TlsIdentity};

/// How much of a certificate's life has passed, and what was said of it.
#[derive(Debug)]
pub struct Age {
    starts: Timestamp,
    expires: Timestamp,
    said: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Fresh,
    TwoThirds,
    NineTenths,
    Over,
}

impl Age {
    pub fn of(identity: &TlsIdentity) -> Self {
        Self {
            starts: identity.starts(),
            expires: identity.expires(),
            said: Stage::Fresh,
        }
    }

    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// What to say of it now; each stage is told of once.
    pub fn warning(&mut self, now: Timestamp) -> Option<String> {
        let stage = self.stage(now);
        if stage <= self.said {
            return None;
        }
        self.said = stage;
        let expires = self.expires;
        let cure = "issue a new one (platform cert issue … --force): it is taken into use without \
                    a restart";
        Some(match stage {
            Stage::Fresh | Stage::TwoThirds => {
                format!("is past two thirds of its life and ends at {expires}; {cure}")
            }
            Stage::NineTenths => format!("ends soon, at {expires}; {cure}"),
            Stage::Over => format!("has expired at {expires}: nobody can connect; {cure}"),
        })
    }

    fn stage(&self, now: Timestamp) -> Stage {
        let (life, passed) = (self.expires.since(self.starts), now.since(self.starts));
        if now >= self.expires {
            Stage::Over
        } else if passed >= life.mul_f64(0.9) {
            Stage::NineTenths
        } else if passed >= life.mul_f64(2.0 / 3.0) {
            Stage::TwoThirds
        } else {
            Stage::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_of_twice_before_it_comes() {
        let at = Timestamp::from_secs;
        let mut age = Age {
            starts: at(1000),
            expires: at(1900),
            said: Stage::Fresh,
        };
        let mut said = Vec::new();
        for second in 1000..2000 {
            if let Some(warning) = age.warning(at(second)) {
                said.push((second, warning));
            }
        }
        let seconds: Vec<_> = said.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [1600, 1810, 1900]);
        assert_eq!(
            said[0].1,
            "is past two thirds of its life and ends at 1970-01-01T00:31:40Z; issue a new one \
             (platform cert issue … --force): it is taken into use without a restart"
        );
    }

    #[test]
    fn who_starts_late_is_told_once() {
        let mut age = Age {
            starts: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(100),
            said: Stage::Fresh,
        };
        assert!(age.warning(Timestamp::from_secs(95)).is_some());
        assert!(age.warning(Timestamp::from_secs(96)).is_none());
    }
}
