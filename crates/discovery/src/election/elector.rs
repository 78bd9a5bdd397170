use futures::StreamExt;
use longshore_core::{BoxStream, Leader, LeaderElection, Timestamp};

use super::{Election, ElectionState};

/// As a control plane wants to know it.
impl LeaderElection for Election {
    fn leader(&self) -> Leader {
        self.state()
            .seen_by(self.advertised(), self.shared.clock.now())
    }

    fn watch(&self) -> BoxStream<Leader> {
        let this = self.clone();
        Self::watch(self)
            .map(move |state| state.seen_by(this.advertised(), this.shared.clock.now()))
            .boxed()
    }
}

impl Election {
    fn advertised(&self) -> Option<&str> {
        self.shared.options.advertise.as_deref()
    }
}

impl ElectionState {
    fn seen_by(&self, own: Option<&str>, now: Timestamp) -> Leader {
        if let Some((token, _)) = self.leading.filter(|(_, until)| now < *until) {
            return Leader::Here { token: token.get() };
        }
        match &self.leader {
            // Its own record from before: it does not act by it any more, or not yet.
            Some(address) if own == Some(address) => Leader::Nobody,
            Some(address) => Leader::Elsewhere(address.clone()),
            None => Leader::Nobody,
        }
    }
}
