//! The third party: what managers do, in the order in which it arrives.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// One act of a manager that thinks it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub token: u64,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct Recorder {
    pub address: SocketAddr,
    acts: Arc<Mutex<Vec<Act>>>,
}

impl Recorder {
    /// Lines of `name token`. Its thread ends with the process.
    pub fn start(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let acts = Arc::new(Mutex::new(Vec::new()));
        let this = Self { address, acts };
        let recorder = this.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let recorder = recorder.clone();
                thread::spawn(move || recorder.record(stream));
            }
        });
        this
    }

    fn record(&self, stream: TcpStream) {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let (name, token) = line.split_once(' ').unwrap();
            let act = Act {
                token: token.parse().unwrap(),
                name: name.to_owned(),
            };
            self.acts.lock().unwrap().push(act);
        }
    }

    pub fn count(&self) -> usize {
        self.acts.lock().unwrap().len()
    }

    pub fn since(&self, begin: usize) -> Vec<Act> {
        self.acts.lock().unwrap()[begin..].to_vec()
    }

    pub fn highest(&self) -> u64 {
        let acts = self.acts.lock().unwrap();
        acts.iter().map(|act| act.token).max().unwrap_or(0)
    }

    pub fn last_actor(&self) -> Option<String> {
        let acts = self.acts.lock().unwrap();
        acts.last().map(|act| act.name.clone())
    }

    /// No act under an older token came after one under a newer; no two managers had the same.
    #[track_caller]
    pub fn check(&self) {
        let acts = self.since(0);
        for pair in acts.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let sound = after.token > before.token || after == before;
            assert!(sound, "{after:?} came after {before:?}");
        }
    }

    /// As [`check`](Self::check), but for acts of one manager that were under way while it was cut
    /// off: those may come late, under a token that is seen to be old.
    #[track_caller]
    pub fn check_but_for_late(&self, name: &str) {
        let mut newest: Option<Act> = None;
        for act in self.since(0) {
            match &newest {
                Some(newest) if act.token < newest.token => {
                    assert_eq!(act.name, name, "{act:?} came after {newest:?}");
                }
                Some(newest) if act.token == newest.token => assert_eq!(act, *newest),
                _ => newest = Some(act),
            }
        }
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, holds: impl FnMut() -> bool) {
        let last = || {
            let acts = self.since(self.count().saturating_sub(3));
            format!("last acts {acts:?}")
        };
        longshore_lab::wait_for(what, PATIENCE, holds, last);
    }
}

const PATIENCE: Duration = Duration::from_secs(90);
