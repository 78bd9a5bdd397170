use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn act(token: u64) -> Option<Mandate> {
    Some(Mandate::Act { token })
}

fn outputs(machine: &mut Machine) -> Vec<Output> {
    std::iter::from_fn(|| machine.poll_output()).collect()
}

#[test]
fn l2_a_lower_token_is_refused_and_both_are_named() {
    let mut machine = Machine::new(Some(7));
    machine.handle(Input::Opened(0, act(6)));
    let said = outputs(&mut machine);
    let [Output::Refuse(0, reason)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(reason.contains("token 6 is older than 7"), "{reason}");
    assert_eq!(machine.highest(), Some(7));
}

#[test]
fn l2_a_higher_token_ends_what_was_opened_under_lower_ones() {
    let mut machine = Machine::new(None);
    machine.handle(Input::Opened(0, None));
    machine.handle(Input::Opened(1, act(3)));
    machine.handle(Input::Opened(2, act(3)));
    machine.handle(Input::Opened(3, Some(Mandate::Observe)));
    machine.handle(Input::Ended(2));
    machine.handle(Input::Opened(4, act(9)));
    let reason =
        |had: &str, token| format!("it was opened under {had}, and a leader with {token} came");
    assert_eq!(
        outputs(&mut machine),
        [
            Output::Admit(0, None),
            Output::End(0, reason("no token", 3)),
            Output::Admit(1, Some(3)),
            Output::Admit(2, Some(3)),
            Output::Observe(3),
            Output::End(1, reason("token 3", 9)),
            Output::Admit(4, Some(9)),
        ]
    );
}

#[test]
fn l2_a_stream_without_a_token_is_let_in_until_one_was_seen() {
    let mut machine = Machine::new(None);
    machine.handle(Input::Opened(0, None));
    assert_eq!(outputs(&mut machine), [Output::Admit(0, None)]);
    machine.handle(Input::Ended(0));
    machine.handle(Input::Opened(1, act(1)));
    machine.handle(Input::Opened(2, None));
    let said = outputs(&mut machine);
    assert!(
        matches!(said.last(), Some(Output::Refuse(2, _))),
        "{said:?}"
    );
    // Looking is not acting.
    machine.handle(Input::Opened(3, Some(Mandate::Observe)));
    assert_eq!(outputs(&mut machine), [Output::Observe(3)]);
}

fn mandates() -> impl Strategy<Value = Option<Mandate>> {
    prop_oneof![
        Just(None),
        Just(Some(Mandate::Observe)),
        (0u64..6).prop_map(act),
    ]
}

#[derive(Clone, Debug)]
enum Deed {
    Open(Option<Mandate>),
    /// Ends one of the streams that are there.
    End(usize),
    /// The agent starts anew with what it wrote down.
    Restart,
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => mandates().prop_map(Deed::Open),
        3 => any::<usize>().prop_map(Deed::End),
        1 => Just(Deed::Restart),
    ]
}

proptest! {
    /// Against the rules themselves: tokens are never accepted downwards, and what was let in under a
    /// lower one does not outlive the higher one's arrival.
    #[test]
    fn l2_tokens_never_go_down_and_older_streams_end(
        deeds in prop::collection::vec(deeds(), 1..80)
    ) {
        let mut machine = Machine::new(None);
        let mut next = 0;
        let mut highest = None;
        let mut acting: BTreeMap<Ticket, Option<u64>> = BTreeMap::new();
        for deed in deeds {
            match deed {
                Deed::Open(mandate) => {
                    machine.handle(Input::Opened(next, mandate));
                    let mut answers = 0;
                    for output in outputs(&mut machine) {
                        match output {
                            Output::Admit(ticket, token) => {
                                prop_assert_eq!(ticket, next);
                                prop_assert_eq!(token.map(|token| Mandate::Act { token }), mandate);
                                prop_assert!(token >= highest, "{:?} below {:?}", token, highest);
                                highest = token;
                                acting.insert(ticket, token);
                                answers += 1;
                            }
                            Output::Observe(ticket) => {
                                prop_assert_eq!((ticket, mandate), (next, Some(Mandate::Observe)));
                                answers += 1;
                            }
                            Output::Refuse(ticket, _) => {
                                prop_assert_eq!(ticket, next);
                                let token = match mandate {
                                    Some(Mandate::Act { token }) => Some(token),
                                    _ => None,
                                };
                                prop_assert!(token < highest, "{:?} refused", mandate);
                                answers += 1;
                            }
                            Output::End(ticket, _) => {
                                prop_assert!(acting.remove(&ticket).is_some(), "ended twice");
                            }
                        }
                    }
                    prop_assert_eq!(answers, 1);
                    next += 1;
                }
                Deed::End(which) => {
                    let there: Vec<_> = acting.keys().copied().collect();
                    if !there.is_empty() {
                        let ticket = there[which % there.len()];
                        acting.remove(&ticket);
                        machine.handle(Input::Ended(ticket));
                        prop_assert_eq!(outputs(&mut machine), []);
                    }
                }
                Deed::Restart => {
                    machine = Machine::new(machine.highest());
                    acting.clear();
                }
            }
            prop_assert_eq!(machine.highest(), highest);
            let tokens: BTreeSet<_> = acting.values().copied().collect();
            prop_assert!(tokens.iter().all(|token| *token == highest), "{:?}", tokens);
            prop_assert_eq!(machine.acting.len(), acting.len(), "nothing is left behind");
        }
    }
}
