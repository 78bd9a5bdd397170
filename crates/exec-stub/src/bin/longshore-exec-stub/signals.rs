use std::sync::{Arc, atomic::AtomicBool};

use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGPROF, SIGQUIT, SIGTERM, SIGTRAP,
    SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};

/// Makes this program deaf to signals, and the programs that it starts not.
///
/// A signal that is ignored stays ignored across an exec, one that is handled becomes the default
/// again (POSIX, `execve`). So each gets a handler that does nothing: an ignored SIGPIPE or SIGHUP
/// that came with the container does not reach the command. The mask is reset by the standard
/// library when it starts a program.
pub(crate) fn default_at_exec() {
    let _ = unheard(SIGNALS);
}

/// Has this program survive a terminal's interrupt and quit keys; see [`default_at_exec`]. What is given
/// is set when one was typed.
pub(crate) fn outlive_keys() -> Arc<AtomicBool> {
    unheard(&[SIGINT, SIGQUIT])
}

/// Is set when somebody asks this program to end; see [`default_at_exec`].
pub(crate) fn asked_to_end() -> Arc<AtomicBool> {
    unheard(&[SIGTERM, SIGINT, SIGHUP])
}

fn unheard(signals: &[i32]) -> Arc<AtomicBool> {
    let heard = Arc::new(AtomicBool::new(false));
    for signal in signals {
        // One that can't be handled is left as it is.
        let _ = signal_hook::flag::register(*signal, Arc::clone(&heard));
    }
    heard
}

const SIGNALS: &[i32] = &[
    SIGHUP, SIGINT, SIGQUIT, SIGTRAP, SIGABRT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM,
    SIGCHLD, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH,
    SIGIO,
];
