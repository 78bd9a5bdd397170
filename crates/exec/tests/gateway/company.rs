//! Several people at one session, all by the library's own client.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    Action, ClockExt, Error, ErrorKind, ExecInput, ExecOutputStream, ExecSession, Identity,
    OsRandom, Random, Result, SeededRandom, SystemClock,
};
use longshore_exec::{
    ScriptedExec,
    access::{AccessControl, AccessRequest, Admission, Place, StaticDirectory},
    client::{ClientOptions, Company, RemoteExec, RemoteSession},
    gateway::GatewayOptions,
    protocol::native::Open,
    session::{Person, SessionOptions, ViewerId},
};
use tokio::io::AsyncWriteExt;

use crate::{
    programs,
    server::{Server, Wire, id},
};

/// Tokens are names. `eve` may only look at sessions.
#[derive(Debug)]
struct Names;

#[async_trait]
impl AccessControl for Names {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let name = request.credentials.token.clone().unwrap_or_default();
        let looks = matches!(request.place, Place::Session(_)) && request.action == Action::Read;
        match name == "eve" && !looks {
            true => Err(Error::new(ErrorKind::PermissionDenied, "no")),
            false => Ok(Admission::new(Identity::new(name, "token"))),
        }
    }
}

fn server(engine: ScriptedExec, options: SessionOptions) -> Arc<Server> {
    let directory = StaticDirectory::new().with_engine(Arc::new(engine.with_workload(id("web"))));
    let options = GatewayOptions::default().with_session(options);
    Server::new(directory, options, |gateway| {
        gateway.with_access(Arc::new(Names))
    })
}

fn client(server: &Arc<Server>, name: &str) -> RemoteExec {
    RemoteExec::new(
        Arc::new(Wire(Arc::clone(server))),
        ClientOptions::default().with_token(name),
        Arc::clone(&server.clock),
        Arc::new(OsRandom),
    )
}

async fn opened(server: &Arc<Server>, program: &str) -> Party {
    let mut open = Open::default();
    (open.target, open.argv, open.stdin) = ("web".into(), vec![program.into()], true);
    Party::of(client(server, "ann").open(open).await.unwrap())
}

/// Somebody at a session.
struct Party {
    session: RemoteSession,
    input: Option<ExecInput>,
    output: ExecOutputStream,
}

impl Party {
    fn of(session: RemoteSession) -> Self {
        Self {
            input: session.take_input(),
            output: session.take_output().unwrap(),
            session,
        }
    }

    async fn approver(server: &Arc<Server>, name: &str, session: &Self) -> Self {
        let client = client(server, name);
        Self::of(client.approve(session.session.id()).await.unwrap())
    }

    async fn watcher(server: &Arc<Server>, name: &str, session: &Self) -> Self {
        let client = client(server, name);
        Self::of(client.watch(session.session.id()).await.unwrap())
    }

    /// Waits until the company is so, and gives it.
    async fn sees(&self, is_so: impl Fn(&Company) -> bool + Sync) -> Company {
        let session = &self.session;
        let mut changes = session.companies();
        let waiting = async {
            loop {
                let company = session.company();
                if is_so(&company) {
                    return company;
                }
                changes.next().await.expect("the session goes on");
            }
        };
        let clock = SystemClock::new();
        // Whoever was cut may pause for some time before it dials again.
        let came = clock.timeout(Duration::from_secs(60), "company", waiting);
        came.await
            .unwrap_or_else(|_| panic!("{:?}", self.session.company()))
    }

    async fn sees_writer(&self, name: &str) -> Company {
        let is_name = |company: &Company| {
            let writer = company.writer().and_then(|it| it.name.as_deref());
            writer == Some(name)
        };
        self.sees(is_name).await
    }

    async fn number_of(&self, name: &str) -> ViewerId {
        let find = |company: &Company| {
            let mut people = company.people.iter();
            people
                .find(|it| it.name.as_deref() == Some(name))
                .map(|it| it.connection)
        };
        let company = self.sees(|company| find(company).is_some()).await;
        find(&company).unwrap()
    }

    async fn types(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(text.as_bytes()).await.unwrap();
    }

    async fn reads(&mut self, text: &str) {
        let mut seen = Vec::new();
        while seen.len() < text.len() {
            let clock = SystemClock::new();
            let piece = clock.timeout(Duration::from_secs(5), "output", self.output.next());
            let piece = piece.await.unwrap_or_else(|_| panic!("only {seen:?}"));
            seen.extend_from_slice(&piece.unwrap().unwrap().bytes);
        }
        assert_eq!(String::from_utf8(seen).unwrap(), text);
    }
}

fn names(company: &Company) -> Vec<&str> {
    let people = company.people.iter();
    people.filter_map(|it| it.name.as_deref()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_lends_the_right_to_write_and_takes_it_back() {
    let server = server(programs::scripted(), SessionOptions::default());
    let mut ann = opened(&server, "copy").await;
    ann.types("one").await;
    ann.reads("one").await;
    let mut bob = Party::approver(&server, "bob", &ann).await;
    let eve = Party::watcher(&server, "eve", &ann).await;
    bob.reads("one").await;
    let company = ann.sees(|it| it.people.len() == 3).await;
    assert_eq!(names(&company), ["ann", "bob", "eve"]);
    assert!(company.may_write && company.you() == company.owner());
    let may: Vec<_> = company.people.iter().map(Person::may_be_granted).collect();
    assert_eq!(may, [false, true, false]);
    // Who may only look is told whom to ask, and no more.
    let company = eve.sees_writer("ann").await;
    assert_eq!(names(&company), ["ann", "eve"]);
    assert!(eve.input.is_none() && !company.may_write);

    ann.session.grant(ann.number_of("bob").await).await.unwrap();
    assert!(!ann.session.company().may_write);
    assert!(bob.sees_writer("bob").await.may_write);
    assert_eq!(names(&eve.sees_writer("bob").await), ["ann", "bob", "eve"]);
    ann.types("no").await;
    bob.types("two").await;
    ann.reads("two").await;
    bob.reads("two").await;
    // It can't be had by who has no say in it, nor by who may only look.
    let error = bob.session.take_back().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let eve_is = ann.number_of("eve").await;
    for to in [eve_is, ViewerId::new(77)] {
        let error = ann.session.grant(to).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    let error = eve.session.grant(eve_is).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);

    ann.session.take_back().await.unwrap();
    assert!(ann.session.company().may_write);
    // Also where nothing changes there is an answer.
    ann.session.take_back().await.unwrap();
    assert!(!bob.sees_writer("ann").await.may_write);
    bob.types("no").await;
    ann.types("three").await;
    ann.reads("three").await;
    bob.reads("three").await;
}

/// An approver whose own input is at its end, as that of a program in a script is, may be lent the
/// keyboard, and the owner types on afterwards.
#[tokio::test(start_paused = true)]
async fn an_input_that_ends_before_it_is_lent_the_keyboard_ends_nothing() {
    let server = server(programs::scripted(), SessionOptions::default());
    let mut ann = opened(&server, "copy").await;
    let mut bob = Party::approver(&server, "bob", &ann).await;
    bob.input.take().unwrap().shutdown().await.unwrap();
    ann.session.grant(ann.number_of("bob").await).await.unwrap();
    bob.sees_writer("bob").await;
    SystemClock::new().sleep(Duration::from_secs(5)).await;
    ann.session.take_back().await.unwrap();
    ann.types("on").await;
    ann.reads("on").await;
    bob.reads("on").await;
}

/// Neither by being dropped nor by being closed, whether it may write or not.
#[tokio::test(start_paused = true)]
async fn whoever_looks_on_leaves_and_ends_nothing() {
    let server = server(programs::scripted(), SessionOptions::default());
    let mut ann = opened(&server, "copy").await;
    for round in 0..4 {
        let bob = Party::approver(&server, "bob", &ann).await;
        let number = ann.number_of("bob").await;
        if round % 2 == 0 {
            ann.session.grant(number).await.unwrap();
        }
        if round < 2 {
            bob.session.close().await.unwrap();
            let error = bob.session.ended().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
        drop(bob);
        let company = ann.sees(|it| it.people.len() == 1 && it.may_write).await;
        assert_eq!(names(&company), ["ann"]);
        ann.types("on").await;
        ann.reads("on").await;
    }
    // The owner's leaving is the end.
    let eve = Party::watcher(&server, "eve", &ann).await;
    ann.session.close().await.unwrap();
    let end = eve.session.ended().await.unwrap();
    assert_eq!(end.reason.as_str(), "ended-by-operator");
}

#[tokio::test(start_paused = true)]
async fn held_input_goes_on_when_an_approver_joins() {
    let options = SessionOptions::default().with_moderation();
    let server = server(programs::scripted(), options);
    let mut ann = opened(&server, "copy").await;
    ann.types("held").await;
    // Nobody approves their own input.
    let ann_again = Party::approver(&server, "ann", &ann).await;
    let clock = SystemClock::new();
    let waits = clock.timeout(Duration::from_secs(60), "output", ann.output.next());
    waits.await.unwrap_err();
    let mut bob = Party::approver(&server, "bob", &ann).await;
    ann.reads("held").await;
    bob.reads("held").await;
    drop((bob, ann_again));
    ann.sees(|it| it.people.len() == 1).await;
    ann.types("held again").await;
    let waits = clock.timeout(Duration::from_secs(60), "output", ann.output.next());
    waits.await.unwrap_err();
}

/// Nobody who looks on has a secret to come back with; they join anew, and see nothing twice.
#[tokio::test(start_paused = true)]
async fn a_hundred_cuts_lose_and_double_nothing_for_who_looks_on() {
    const PIECES: u64 = 1600;
    let noise = |seed: u64| {
        let mut piece = vec![0; 4 << 10];
        SeededRandom::new(seed).fill(&mut piece);
        piece
    };
    let engine = ScriptedExec::new().with_program("noise", move |mut process| async move {
        process.read(1).await;
        for seed in 0..PIECES {
            process.print(noise(seed)).await;
            // Nobody who only looks on is waited for; who is back at once has missed nothing.
            SystemClock::new().sleep(Duration::from_millis(1)).await;
        }
        process.read(1).await;
        3
    });
    let server = server(engine, SessionOptions::default());
    let mut ann = opened(&server, "noise").await;
    let mut bob = Party::approver(&server, "bob", &ann).await;
    ann.types("go").await;
    let owner = tokio::spawn(async move {
        let mut all = Vec::new();
        while all.len() < (PIECES as usize) << 12 {
            all.extend_from_slice(&ann.output.next().await.unwrap().unwrap().bytes);
        }
        (ann, all)
    });
    let random = SeededRandom::new(3);
    let (mut seen, mut next_cut, mut cuts) = (Vec::new(), 30_000, 0);
    while seen.len() < (PIECES as usize) << 12 {
        let piece = bob.output.next().await.unwrap();
        seen.extend_from_slice(&piece.unwrap().bytes);
        if seen.len() > next_cut {
            cuts += usize::from(server.cut());
            next_cut = seen.len() + (random.next_u64() % 60_000) as usize;
        }
    }
    assert!(cuts > 100, "{cuts}");
    let (mut ann, all) = owner.await.unwrap();
    let expected: Vec<u8> = (0..PIECES).flat_map(noise).collect();
    assert!(all == expected && seen == expected);
    ann.types("x").await;
    assert_eq!(bob.session.ended().await.unwrap().code, Some(3));
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_nothing_is_passed_on() {
    let server = server(programs::scripted(), SessionOptions::default());
    let ann = opened(&server, "copy").await;
    let _bob = Party::approver(&server, "bob", &ann).await;
    let bob_is = ann.number_of("bob").await;
    let mut links = ann.session.links();
    let cut = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.cut_for(Duration::from_secs(5)).await }
    });
    links.next().await.unwrap();
    let error = ann.session.grant(bob_is).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    cut.await.unwrap();
    // Back, with other numbers.
    let bob_is_now = loop {
        let company = ann.sees(|it| it.may_write && it.people.len() > 1).await;
        let bob = company
            .people
            .iter()
            .find(|it| it.name.as_deref() == Some("bob"));
        match bob {
            Some(bob) if bob.connection != bob_is => break bob.connection,
            _ => SystemClock::new().sleep(Duration::from_millis(50)).await,
        }
    };
    ann.session.grant(bob_is_now).await.unwrap();
    ann.sees_writer("bob").await;
}
