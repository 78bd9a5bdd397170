//! How to choose a backend, and how to write one. Documentation only.
//!
//! # Choosing a backend
//!
//! | backend | consistency | a dead node is missed after | while it is down | needs |
//! | --- | --- | --- | --- | --- |
//! | `nodes://` | never changes | never: health is the control plane's to find | can't be | nothing |
//! | `file://` | one file | it is taken out of the file | the last good set stays; a bad line removes nobody | something that writes the file |
//! | `dns://` | as old as the records' time to live | it is taken out of the zone, and the time to live is over | the last good set stays, told as a problem | a zone |
//! | `gossip://` | eventual: members differ for seconds | about 10 to 30 s among 1,000 members; at once with a goodbye | has nothing that could be; a member that is cut off holds the others for a grace period | UDP between all members, one shared key, clocks within five minutes |
//! | `token://` | that of the store behind the service | its time to live | the last good set stays; registrations run out unless it comes back in time | one small service |
//! | `etcd://` | linearizable; every change, in order | its time to live (plus half a second) | the last view stays; leases are lengthened when it is back | a store of one, three or five |
//! | `consul://` | linearizable; the newest state | its time to live, at least 20 s | the last view stays | a store of one, three or five |
//! | `zk://` | linearizable; the newest state | its time to live, at most the server's longest session | the last view stays | a store of one, three or five |
//! | `raft://` | linearizable; every change, in order | its time to live; a change of leader gives it anew | the last view stays; calls are refused within 5 s, retryable | three or five managers, a directory each |
//! | `RedbKv` | every acknowledged change, in order; one process | its time to live | it is the process itself | a file |
//! | memory | one process | its time to live | ends with the process | nothing |
//!
//! Rules of thumb: a fixed list for a laptop and for tests; a file where configuration management
//! exists; DNS where somebody else keeps the records; gossip where there is no store and nodes reach
//! each other; a token service where nodes reach one address only; a store where leader election
//! needs one anyway. [`MergedDiscovery`](crate::MergedDiscovery) moves a cluster from one to another
//! without a gap, [`CachedDiscovery`](crate::CachedDiscovery) bridges outages and says how old the
//! view is, [`DampedDiscovery`](crate::DampedDiscovery) leaves out nodes that come and go all the
//! time.
//!
//! In all of them removal needs evidence: a backend that can't be read removes nobody, and where
//! more than half would leave within a grace period, watches hold them for one and read again.
//!
//! # Leader election
//!
//! [`Election`](crate::Election) works over any [`KvStore`](longshore_core::KvStore). A store that
//! can lose acknowledged writes gives no election that is worth the name: use etcd, Consul or
//! ZooKeeper with at least three members between machines, or `RaftKv` among three or five managers
//! themselves; and the embedded store within one.
//! Whatever a leader changes should keep a [`Fence`](crate::Fence).
//!
//! # Managers without a store server
//!
//! Three managers on one machine, for a try. Each command runs in a terminal of its own; on loopback
//! no certificates are needed:
//!
//! ```sh
//! list=a=127.0.0.1:7301,b=127.0.0.1:7302,c=127.0.0.1:7303/cluster
//! platform manage "raft://$list?self=a&dir=/tmp/managers/a" --replication \
//!     --advertise 127.0.0.1:4001 -H tcp://127.0.0.1:4001
//! platform manage "raft://$list?self=b&dir=/tmp/managers/b" --replication \
//!     --advertise 127.0.0.1:4002 -H tcp://127.0.0.1:4002
//! platform manage "raft://$list?self=c&dir=/tmp/managers/c" --replication \
//!     --advertise 127.0.0.1:4003 -H tcp://127.0.0.1:4003
//! platform kv ls "raft://$list" docker/          # as a client of whichever answers
//! docker -H tcp://127.0.0.1:4002 info            # from any of them; kill the leading one and ask again
//! ```
//!
//! The first start needs all of them at once: the cluster is founded then. From there on two of three
//! are enough. Between machines each needs a manager's certificate (`platform cert issue --role
//! manager`), given by `--discovery-opt kv.cacertfile=…`, `kv.certfile=…` and `kv.keyfile=…`; a
//! client's certificate is enough for `platform kv`. A manager whose directory is lost starts with an
//! empty one and is filled by the others, all of which have to be there. The list is fixed: for other
//! members, found another cluster.
//!
//! # Writing a backend
//!
//! Implement [`Discovery`](longshore_core::Discovery) and run its conformance suite: 23 rules, each
//! a test. Here are both, in a hundred lines; it is `tests/guide.rs` of this crate, and passes. The
//! testkit is a feature of core, for tests only.
//!
#![doc = concat!("```\n", include_str!("../tests/guide.rs"), "```")]
//!
//! `paused` runs on tokio's paused time; `live` on real time, for backends with real sockets. Say
//! how to cut the backend off (`set_reachable`) and how to put in a bad entry (`spoil`), and those
//! rules are held too. Before you trust the suite, break your backend on purpose once.
