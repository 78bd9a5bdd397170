//! `dns://` against a small responder on loopback, honest and hostile.
#![cfg(feature = "dns")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, SRV},
    },
};
use longshore_core::{
    Announcement, Clock, Discovery, ErrorKind, SystemClock, testkit::discovery::Harness,
};
use longshore_discovery::{DiscoveryOptions, DnsDiscovery, open};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Manner {
    #[default]
    Honest,
    /// Fails.
    Failing,
    /// Cuts everything off over UDP.
    Truncating,
    /// Sends answers of others first, and garbage.
    Strange,
    /// Sends nothing but those.
    OnlyStrange,
    /// Closes TCP connections in the middle of an answer.
    BreakingOff,
}

#[derive(Debug, Default)]
struct Zone {
    records: BTreeMap<String, Vec<RData>>,
    ttl: u32,
    manner: Manner,
    asked: usize,
}

#[derive(Clone, Debug, Default)]
struct Responder(Arc<Mutex<Zone>>);

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

impl Responder {
    async fn start(&self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let (over_udp, over_tcp) = (self.clone(), self.clone());
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                for answer in over_udp.datagrams(&buffer[..length]) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await.unwrap();
                let answer = over_tcp.answer(&question).to_vec().unwrap();
                stream.write_u16(answer.len() as u16).await.unwrap();
                let whole = over_tcp.manner() != Manner::BreakingOff;
                let end = if whole {
                    answer.len()
                } else {
                    answer.len() / 2
                };
                stream.write_all(&answer[..end]).await.unwrap();
            }
        });
        address
    }

    fn manner(&self) -> Manner {
        self.0.lock().unwrap().manner
    }

    fn set(&self, owner: &str, records: Vec<RData>) {
        let mut zone = self.0.lock().unwrap();
        zone.records.insert(name(owner).to_string(), records);
    }

    fn datagrams(&self, question: &[u8]) -> Vec<Vec<u8>> {
        let answer = self.answer(question);
        let honest = answer.to_vec().unwrap();
        let mut other_id = answer.clone();
        other_id.metadata.id = other_id.metadata.id.wrapping_add(1);
        let poison = Record::from_rdata(
            answer.queries[0].name.clone(),
            9,
            RData::A(A::new(6, 6, 6, 6)),
        );
        other_id.answers = vec![poison];
        let mut other_name = other_id.clone();
        other_name.metadata.id = answer.metadata.id;
        other_name.queries[0].name = name("other.example.");
        let strange = [
            other_id.to_vec().unwrap(),
            other_name.to_vec().unwrap(),
            question.to_vec(),
            vec![0xff; 40],
            honest[..honest.len() / 2].to_vec(),
            Vec::new(),
        ];
        match self.manner() {
            Manner::Honest | Manner::Failing => vec![honest],
            Manner::Truncating | Manner::BreakingOff => {
                vec![answer.truncate().to_vec().unwrap()]
            }
            Manner::Strange => strange.into_iter().chain([honest]).collect(),
            Manner::OnlyStrange => strange.iter().cycle().take(80).cloned().collect(),
        }
    }

    fn answer(&self, question: &[u8]) -> Message {
        let question = Message::from_vec(question).unwrap();
        let mut zone = self.0.lock().unwrap();
        zone.asked += 1;
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        let query = question.queries[0].clone();
        answer.add_query(query.clone());
        if zone.manner == Manner::Failing {
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer;
        }
        let Some(records) = zone.records.get(&query.name.to_string()) else {
            answer.metadata.response_code = ResponseCode::NXDomain;
            return answer;
        };
        for data in records {
            let kind = data.record_type();
            if kind == query.query_type() || kind == RecordType::CNAME {
                let record = Record::from_rdata(query.name.clone(), zone.ttl, data.clone());
                answer.add_answer(record);
            }
        }
        answer
    }
}

fn a(last: u8) -> RData {
    RData::A(A::new(10, 0, 0, last))
}

fn srv(target: &str, port: u16) -> RData {
    RData::SRV(SRV::new(0, 0, port, name(target)))
}

fn alias(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

/// A cluster in a zone.
struct InZone {
    responder: Responder,
    server: SocketAddr,
    rest: &'static str,
}

impl InZone {
    async fn new(rest: &'static str) -> Self {
        let responder = Responder::default();
        responder.set("_docker._tcp.lab.", Vec::new());
        responder.set("nodes.lab.", Vec::new());
        let server = responder.start().await;
        Self {
            responder,
            server,
            rest,
        }
    }

    async fn list(&self) -> longshore_core::Result<longshore_core::Membership> {
        self.discovery().await.list().await
    }
}

#[async_trait]
impl Harness for InZone {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        let heartbeat = Duration::from_millis(200);
        Arc::new(DnsDiscovery::new(self.rest, &[self.server], clock(), heartbeat).unwrap())
    }

    async fn place(&self, nodes: &[Announcement]) {
        let (mut service, mut host) = (Vec::new(), Vec::new());
        for node in nodes {
            let ip = node.endpoint.host();
            let last = ip.rsplit('.').next().unwrap().parse().unwrap();
            let target = format!("n{last}.lab.");
            self.responder.set(&target, vec![a(last)]);
            service.push(srv(&target, node.endpoint.port()));
            host.push(a(last));
        }
        self.responder.set("_docker._tcp.lab.", service);
        self.responder.set("nodes.lab.", host);
    }

    async fn spoil(&self) -> bool {
        let mut zone = self.responder.0.lock().unwrap();
        let service = zone.records.get_mut("_docker._tcp.lab.").unwrap();
        // The bad one takes the place of a good one: still nobody is removed.
        service[0] = srv("missing.lab.", 1);
        self.rest.starts_with('_')
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        self.responder.0.lock().unwrap().manner = match reachable {
            true => Manner::Honest,
            false => Manner::Failing,
        };
        true
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(1800)
    }
}

mod services {
    use super::*;
    longshore_core::discovery_suite!(live, InZone::new("_docker._tcp.lab").await);
}

mod hosts {
    use super::*;
    longshore_core::discovery_suite!(live, InZone::new("nodes.lab:2375").await);
}

fn hosts(found: &longshore_core::Membership) -> Vec<String> {
    let all = found.nodes.iter().map(|node| node.endpoint.to_string());
    all.collect()
}

#[tokio::test]
async fn aliases_are_followed_and_both_families_are_taken() {
    let lab = InZone::new("nodes.lab:2375").await;
    lab.responder.set("nodes.lab.", vec![alias("Real.lab.")]);
    let six = RData::AAAA(AAAA("fd00::1".parse().unwrap()));
    lab.responder.set("real.lab.", vec![a(1), six]);
    assert_eq!(
        hosts(&lab.list().await.unwrap()),
        ["10.0.0.1:2375", "[fd00::1]:2375"]
    );
}

#[tokio::test]
async fn records_that_go_in_a_circle_are_an_error_that_names_them() {
    let lab = InZone::new("nodes.lab:2375").await;
    lab.responder.set("nodes.lab.", vec![alias("b.lab.")]);
    lab.responder.set("b.lab.", vec![alias("nodes.lab.")]);
    let error = lab.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(
        text.contains("nodes.lab. -> b.lab. -> nodes.lab."),
        "{text}"
    );

    let lab = InZone::new("_docker._tcp.lab").await;
    lab.responder.set("good.lab.", vec![a(1)]);
    lab.responder
        .set("x.lab.", vec![alias("_docker._tcp.lab.")]);
    let own = vec![
        srv("_docker._tcp.lab.", 1),
        srv("x.lab.", 1),
        srv("good.lab.", 1),
    ];
    lab.responder.set("_docker._tcp.lab.", own);
    let found = lab.list().await.unwrap();
    assert_eq!(hosts(&found), ["10.0.0.1:1"]);
    assert_eq!(found.problems.len(), 2);
    for problem in &found.problems {
        assert!(problem.message().contains("in a circle"), "{problem}");
    }

    let lab = InZone::new("nodes.lab:2375").await;
    lab.responder.set("nodes.lab.", vec![alias("c0.lab.")]);
    for number in 0..20 {
        let next = alias(&format!("c{}.lab.", number + 1));
        lab.responder.set(&format!("c{number}.lab."), vec![next]);
    }
    let error = lab.list().await.unwrap_err();
    assert!(error.message().contains("too many aliases"), "{error}");
}

#[tokio::test]
async fn what_does_not_fit_comes_over_tcp() {
    let lab = InZone::new("nodes.lab:2375").await;
    lab.responder.set("nodes.lab.", (0..200).map(a).collect());
    lab.responder.0.lock().unwrap().manner = Manner::Truncating;
    assert_eq!(lab.list().await.unwrap().nodes.len(), 200);
    lab.responder.0.lock().unwrap().manner = Manner::BreakingOff;
    let error = lab.list().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn answers_to_other_questions_are_not_taken() {
    let lab = InZone::new("nodes.lab:2375").await;
    lab.responder.set("nodes.lab.", vec![a(1)]);
    lab.responder.0.lock().unwrap().manner = Manner::Strange;
    assert_eq!(hosts(&lab.list().await.unwrap()), ["10.0.0.1:2375"]);
    lab.responder.0.lock().unwrap().manner = Manner::OnlyStrange;
    let error = lab.list().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn absurd_amounts_are_refused() {
    let lab = InZone::new("_docker._tcp.lab").await;
    let many = (0..300).map(|port| srv("n.lab.", port + 1)).collect();
    lab.responder.set("_docker._tcp.lab.", many);
    lab.responder.0.lock().unwrap().manner = Manner::Truncating;
    let error = lab.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
}

#[tokio::test]
async fn names_are_looked_up_again_when_their_time_is_over_and_not_before() {
    use futures::StreamExt;
    let lab = InZone::new("nodes.lab:2375").await;
    lab.responder.set("nodes.lab.", vec![a(1)]);
    lab.responder.0.lock().unwrap().ttl = 3600;
    let hour = Duration::from_secs(3600);
    let discovery = DnsDiscovery::new("nodes.lab:2375", &[lab.server], clock(), hour).unwrap();
    let mut watch = discovery.watch();
    watch.next().await.unwrap();
    let asked = lab.responder.0.lock().unwrap().asked;
    let quiet = tokio::time::timeout(Duration::from_millis(1500), watch.next()).await;
    assert!(quiet.is_err());
    assert_eq!(lab.responder.0.lock().unwrap().asked, asked);
    lab.responder.0.lock().unwrap().ttl = 1;
    let mut watch = discovery.watch();
    watch.next().await.unwrap();
    lab.responder.set("nodes.lab.", vec![a(1), a(2)]);
    assert!(watch.next().await.is_some(), "long before the heartbeat");
}

#[tokio::test]
async fn the_second_server_answers_for_the_first() {
    let (failing, lab) = (
        InZone::new("x.lab:1").await,
        InZone::new("nodes.lab:1").await,
    );
    failing.responder.0.lock().unwrap().manner = Manner::Failing;
    lab.responder.set("nodes.lab.", vec![a(7)]);
    let url = format!("dns://nodes.lab:1?server={},{}", failing.server, lab.server);
    let discovery = open(&url, &DiscoveryOptions::new(clock())).unwrap();
    assert_eq!(hosts(&discovery.list().await.unwrap()), ["10.0.0.7:1"]);
    assert_eq!(discovery.describe(), url);
    let option = format!("dns.server={}", lab.server);
    let options = DiscoveryOptions::new(clock()).with_pairs([option]).unwrap();
    let discovery = open("dns://nodes.lab:1", &options).unwrap();
    assert_eq!(discovery.list().await.unwrap().nodes.len(), 1);
    let missing = open("dns://missing.lab:1", &options).unwrap();
    let error = missing.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
