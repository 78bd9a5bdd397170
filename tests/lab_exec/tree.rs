//! The nastiest process tree that a session can leave behind.

/// A shell script that starts it and says `ready`. Every process has `number` in its command line,
/// so that it is found without its environment. `tool` comes before each program (`/busybox ` where
/// there is nothing but one static program); `other` runs its argument as another user, where that
/// is possible.
pub fn script(tool: &str, number: u64, other: Option<&str>, shedding: Shedding) -> String {
    let mut script = format!(
        "
        {tool}sleep {number} &
        {tool}setsid {tool}sleep {number} &
        {tool}nohup {tool}sleep {number} >/dev/null 2>&1 &
        (trap '' HUP TERM INT; {tool}sleep {number}) &
        ((trap '' HUP TERM; {tool}setsid {tool}sleep {number}) &)
        {tool}env -i {tool}sleep {number} &
        # A storm of short lives that hang-ups don't stop.
        (trap '' HUP TERM; while :; do {tool}setsid {tool}sleep 0.3{number} & {tool}sleep 0.1{number}; done) &
        "
    );
    if shedding == Shedding::Everything {
        script.push_str(&format!(
            "(({tool}env -i {tool}setsid {tool}sleep {number} &) &)\n"
        ));
    }
    if let Some(other) = other {
        script.push_str(&format!(
            "{other} 'setsid sleep {number} & exec sleep {number}' &\n"
        ));
    }
    script.push_str(&format!("echo ready\n{tool}sleep {number}\n"));
    script
}

/// What a process of the tree gets rid of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shedding {
    /// Its environment, its session or its parent, but not all three.
    Something,
    /// All three: nobody outside can tell whose it is.
    Everything,
}

/// How many processes of it stay, at least.
pub const SIZE: usize = 8;
