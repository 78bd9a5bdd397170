use std::time::Duration;

/// What is wrong with a simulated engine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum SimFault {
    /// Nothing.
    #[default]
    None,
    /// Calls are taken and never answered; events come no more. Ends when another fault, or none,
    /// is set: calls then go on.
    Hang,
    /// Calls are refused and event streams have ended, while workloads run on: the engine is down,
    /// not its node.
    Refuse,
    /// A part of the calls, from 0 to 1, is carried out and not answered: the connection breaks.
    LoseAnswers(f64),
    /// A part of the calls, from 0 to 1, is refused and not carried out.
    RefuseSome(f64),
    /// Every call takes this much longer.
    Slow(Duration),
}
