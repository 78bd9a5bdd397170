//! Whatever happens in whatever order: one writes, the right one, and nobody approves their own input.

use bytes::Bytes;
use longshore_core::Timestamp;
use proptest::prelude::*;

use crate::session::{Role, SessionCore, SessionOptions, ViewerId};

const NOW: Timestamp = Timestamp::from_secs(1_000);

/// By whom, and to whom, of the people there may be; the first one's is the session.
#[derive(Clone, Debug)]
enum Deed {
    /// Comes, or comes once more: to look only, or as an approver.
    Join(usize, bool),
    Leave(usize),
    Grant(usize, usize),
    TakeBack(usize),
    FromOutside(usize),
    Type(usize),
    Read(usize),
    Nobody,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let who = 0usize..4;
    let deed = prop_oneof![
        3 => (who.clone(), any::<bool>()).prop_map(|(who, looks)| Deed::Join(who, looks)),
        2 => who.clone().prop_map(Deed::Leave),
        3 => (who.clone(), who.clone()).prop_map(|(from, to)| Deed::Grant(from, to)),
        1 => who.clone().prop_map(Deed::TakeBack),
        1 => who.clone().prop_map(Deed::FromOutside),
        4 => who.prop_map(Deed::Type),
        3 => (1usize..9).prop_map(Deed::Read),
        1 => Just(Deed::Nobody),
    ];
    prop::collection::vec(deed, 1..120)
}

/// A connection as it should be.
#[derive(Clone, Copy)]
struct Here {
    id: ViewerId,
    who: usize,
    only_looks: bool,
}

struct World {
    core: SessionCore,
    moderated: bool,
    here: Vec<Here>,
    owner: Option<ViewerId>,
    writer: Option<ViewerId>,
    writing: usize,
}

impl World {
    fn new(moderated: bool) -> Self {
        let mut options = SessionOptions::default().with_input(64);
        options.moderated = moderated;
        let mut core = SessionCore::new(options, NOW);
        core.started();
        Self {
            core,
            moderated,
            here: Vec::new(),
            owner: None,
            writer: None,
            writing: 0,
        }
    }

    /// The newest connection of somebody.
    fn find(&self, who: usize) -> Option<Here> {
        self.here.iter().rev().find(|it| it.who == who).copied()
    }

    fn act(&mut self, deed: &Deed) {
        match *deed {
            Deed::Join(0, true) => {
                let name = Some("0");
                let Ok(id) = self.core.attach_as(Role::Writer, name, Some(0), NOW) else {
                    return;
                };
                if let Some(old) = self.owner.replace(id) {
                    self.core.detach(old, NOW);
                    self.here.retain(|it| it.id != old);
                }
                self.writer = Some(id);
                self.came(id, 0, false);
            }
            Deed::Join(who, looks) => {
                let role = if looks { Role::Watcher } else { Role::Approver };
                let name = who.to_string();
                if let Ok(id) = self.core.attach_as(role, Some(&name), None, NOW) {
                    if looks {
                        self.core.only_looks(id);
                    }
                    self.came(id, who, looks);
                }
            }
            Deed::Leave(who) => {
                let Some(Here { id, .. }) = self.find(who) else {
                    return;
                };
                self.core.detach(id, NOW);
                self.here.retain(|it| it.id != id);
                self.owner = self.owner.filter(|owner| *owner != id);
                if self.writer == Some(id) {
                    self.writer = self.owner;
                }
            }
            Deed::Grant(from, to) => {
                let (Some(from), Some(to)) = (self.find(from), self.find(to)) else {
                    return;
                };
                let may = [self.owner, self.writer].contains(&Some(from.id)) && !to.only_looks;
                assert_eq!(self.core.grant(from.id, to.id).is_ok(), may);
                if may {
                    self.writer = Some(to.id);
                }
            }
            Deed::TakeBack(who) => {
                let Some(it) = self.find(who) else { return };
                let may = self.owner == Some(it.id);
                assert_eq!(self.core.take_back(it.id).is_ok(), may);
                if may {
                    self.writer = self.owner;
                }
            }
            Deed::FromOutside(to) => {
                let Some(to) = self.find(to) else { return };
                assert_eq!(self.core.grant_from_outside(to.id).is_ok(), !to.only_looks);
                if !to.only_looks {
                    self.writer = Some(to.id);
                }
            }
            Deed::Type(who) => {
                let Some(it) = self.find(who) else { return };
                if self.core.input_room() == 0 {
                    return;
                }
                let typed = Bytes::from(vec![who as u8]);
                let new = self.core.receive(it.id, None, typed, NOW).unwrap();
                assert_eq!(new.len(), usize::from(self.writer == Some(it.id)));
            }
            Deed::Read(most) => {
                self.core.input_written(std::mem::take(&mut self.writing));
                for byte in self.core.take_input(most).unwrap_or_default() {
                    self.writing += 1;
                    let may = self.core.connections().into_iter().any(|(id, role)| {
                        let who = self.here.iter().find(|it| it.id == id).unwrap().who;
                        role == Role::Approver && who != usize::from(byte)
                    });
                    assert!(may || !self.moderated, "{byte} approves for itself");
                }
            }
            Deed::Nobody => {
                let nobody = ViewerId(99_999);
                assert!(self.core.grant(nobody, nobody).is_err());
                assert!(self.core.take_back(nobody).is_err());
                assert!(self.core.grant_from_outside(nobody).is_err());
            }
        }
        let writers = self.core.connections().into_iter();
        let writers: Vec<_> = writers
            .filter(|(_, role)| *role == Role::Writer)
            .map(|(id, _)| id)
            .collect();
        assert_eq!(writers, self.writer.into_iter().collect::<Vec<_>>());
        assert_eq!(self.core.has_writer(), self.writer.is_some());
    }

    fn came(&mut self, id: ViewerId, who: usize, only_looks: bool) {
        self.here.push(Here {
            id,
            who,
            only_looks,
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..Default::default() })]

    #[test]
    fn one_writes_and_nobody_approves_their_own(deeds in deeds(), moderated in any::<bool>()) {
        let mut world = World::new(moderated);
        world.act(&Deed::Join(0, true));
        for deed in &deeds {
            world.act(deed);
        }
    }
}
