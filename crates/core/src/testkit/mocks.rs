//! [mockall](https://docs.rs/mockall) mocks of the traits, for tests that must see a call or force
//! an error.
//!
//! Prefer a fake that passes the conformance suite (the in-memory twins) where state matters: a
//! mock says what you told it, a fake behaves.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use longshore_core::{Discovery, Error, testkit::mocks::MockDiscovery};
//!
//! let mut discovery = MockDiscovery::new();
//! discovery.expect_list().times(1).returning(|| Err(Error::unavailable("no route")));
//! assert!(discovery.list().await.unwrap_err().is_retryable());
//! # });
//! ```

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use mockall::mock;

use crate::{
    Access, Action, Announcement, AttachNetwork, AttachRequest, Attachment, AuditEvent,
    AuditReceipt, Batch, BatchPlacement, BoxByteStream, Change, CloseReason, Connector,
    DiscoveryCapabilities, Endpoint, EngineEvents, EngineInfo, ExecInput, ExecOutputStream,
    ExecRequest, ExecSession, ExitStatus, Expect, Explanation, Identity, Image, IncomingStream,
    KvCapabilities, KvEntry, KvRange, KvWatch, Lease, LeaseId, ListFilter, LogOptions, LogStream,
    Membership, MembershipStream, NetworkName, NetworkSpec, NetworkStatus, OverlayCapabilities,
    Peer, PeerIdentity, Placement, PlacementRequest, PullOptions, PullStream, PutOptions, Refusal,
    Registration, RemoveOptions, Result, Revision, SessionId, Signal, Stats, StreamTarget, Target,
    TerminalSize, Timestamp, TransactionOp, TunnelCapabilities, TunnelListener, Workload,
    WorkloadId, WorkloadName, WorkloadSpec,
};

mock! {
    /// A [`Discovery`](crate::Discovery) that does as told.
    #[derive(Debug)]
    pub Discovery {}

    #[async_trait]
    impl crate::Discovery for Discovery {
        fn capabilities(&self) -> DiscoveryCapabilities;
        fn describe(&self) -> String;
        async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration>;
        async fn renew(&self, registration: &Registration) -> Result<Registration>;
        async fn deregister(&self, registration: &Registration) -> Result<()>;
        async fn list(&self) -> Result<Membership>;
        fn watch(&self) -> MembershipStream;
    }
}

mock! {
    /// A [`KvStore`](crate::KvStore) that does as told.
    #[derive(Debug)]
    pub KvStore {}

    #[async_trait]
    impl crate::KvStore for KvStore {
        fn capabilities(&self) -> KvCapabilities;
        fn describe(&self) -> String;
        async fn get(&self, key: &str) -> Result<Option<KvEntry>>;
        async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision>;
        async fn delete(&self, key: &str, expect: Expect) -> Result<bool>;
        async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange>;
        async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision>;
        async fn grant(&self, ttl: Duration) -> Result<Lease>;
        async fn keep_alive(&self, lease: LeaseId) -> Result<()>;
        async fn revoke(&self, lease: LeaseId) -> Result<()>;
        fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch;
    }
}

mock! {
    /// A [`Scheduler`](crate::Scheduler) that does as told.
    #[derive(Debug)]
    pub Scheduler {}

    impl crate::Scheduler for Scheduler {
        fn observe(&mut self, change: Change) -> Result<()>;
        fn place(
            &self,
            request: &PlacementRequest,
            now: Timestamp,
            seed: u64,
        ) -> Result<Placement, Refusal>;
        fn place_batch(
            &mut self,
            batch: &Batch,
            now: Timestamp,
            seed: u64,
        ) -> Result<BatchPlacement>;
        fn explain(
            &self,
            request: &PlacementRequest,
            now: Timestamp,
            seed: u64,
        ) -> Result<Explanation>;
        fn explain_after(
            &self,
            changes: Vec<Change>,
            request: &PlacementRequest,
            now: Timestamp,
            seed: u64,
        ) -> Result<Explanation>;
        fn strategy(&self) -> &str;
        fn filters(&self) -> Vec<String>;
    }
}

mock! {
    /// An [`Engine`](crate::Engine) that does as told.
    #[derive(Debug)]
    pub Engine {}

    #[async_trait]
    impl crate::Engine for Engine {
        fn connector(&self) -> Arc<dyn Connector>;
        async fn info(&self) -> Result<EngineInfo>;
        async fn ping(&self) -> Result<()>;
        async fn create(&self, spec: &WorkloadSpec) -> Result<WorkloadId>;
        async fn start(&self, id: &WorkloadId) -> Result<()>;
        async fn stop(&self, id: &WorkloadId, grace: Duration) -> Result<()>;
        async fn kill(&self, id: &WorkloadId, signal: Signal) -> Result<()>;
        async fn remove(&self, id: &WorkloadId, options: RemoveOptions) -> Result<()>;
        async fn rename(&self, id: &WorkloadId, name: &WorkloadName) -> Result<()>;
        async fn inspect(&self, id: &WorkloadId) -> Result<Workload>;
        async fn list(&self, filter: &ListFilter) -> Result<Vec<Workload>>;
        async fn wait(&self, id: &WorkloadId) -> Result<ExitStatus>;
        async fn logs(&self, id: &WorkloadId, options: &LogOptions) -> Result<LogStream>;
        async fn stats(&self, id: &WorkloadId) -> Result<Stats>;
        async fn events(&self, since: Option<Timestamp>) -> Result<EngineEvents>;
        async fn pull(&self, image: &str, options: &PullOptions) -> Result<PullStream>;
        async fn images(&self) -> Result<Vec<Image>>;
    }
}

mock! {
    /// A [`Connector`] that does as told.
    #[derive(Debug)]
    pub Connector {}

    #[async_trait]
    impl crate::Connector for Connector {
        async fn connect(&self) -> Result<BoxByteStream>;
        fn describe(&self) -> String;
    }
}

mock! {
    /// A [`TunnelTransport`](crate::TunnelTransport) that does as told.
    #[derive(Debug)]
    pub TunnelTransport {}

    #[async_trait]
    impl crate::TunnelTransport for TunnelTransport {
        fn capabilities(&self) -> TunnelCapabilities;
        async fn listen(&self, at: &Endpoint) -> Result<Arc<dyn TunnelListener>>;
        async fn dial(&self, to: &Endpoint) -> Result<Arc<dyn crate::Carrier>>;
    }
}

mock! {
    /// A [`Carrier`](crate::Carrier) that does as told.
    #[derive(Debug)]
    pub Carrier {}

    #[async_trait]
    impl crate::Carrier for Carrier {
        fn peer(&self) -> &PeerIdentity;
        async fn open(&self, target: &StreamTarget) -> Result<BoxByteStream>;
        async fn accept(&self) -> Result<IncomingStream>;
        async fn close(&self, reason: &str);
        async fn closed(&self) -> CloseReason;
        fn round_trip(&self) -> Option<Duration>;
    }
}

mock! {
    /// An [`ExecBackend`](crate::ExecBackend) that does as told.
    #[derive(Debug)]
    pub ExecBackend {}

    #[async_trait]
    impl crate::ExecBackend for ExecBackend {
        async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>>;
        async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>>;
    }
}

mock! {
    /// An [`ExecSession`] that does as told.
    #[derive(Debug)]
    pub ExecSession {}

    #[async_trait]
    impl crate::ExecSession for ExecSession {
        fn id(&self) -> &SessionId;
        fn take_input(&self) -> Option<ExecInput>;
        fn take_output(&self) -> Option<ExecOutputStream>;
        async fn resize(&self, size: TerminalSize) -> Result<()>;
        async fn signal(&self, signal: Signal) -> Result<()>;
        async fn wait(&self) -> Result<ExitStatus>;
        async fn close(&self) -> Result<()>;
    }
}

mock! {
    /// An [`OverlayNetwork`](crate::OverlayNetwork) that does as told.
    #[derive(Debug)]
    pub OverlayNetwork {}

    #[async_trait]
    impl crate::OverlayNetwork for OverlayNetwork {
        fn capabilities(&self) -> OverlayCapabilities;
        async fn ensure(&self, spec: &NetworkSpec) -> Result<NetworkStatus>;
        async fn attach(&self, request: &AttachNetwork) -> Result<Attachment>;
        async fn detach(&self, network: &NetworkName, workload: &WorkloadId) -> Result<()>;
        async fn sync_peers(&self, network: &NetworkName, peers: &[Peer]) -> Result<()>;
        async fn remove(&self, network: &NetworkName) -> Result<()>;
        async fn status(&self, network: &NetworkName) -> Result<NetworkStatus>;
        async fn list(&self) -> Result<Vec<NetworkName>>;
    }
}

mock! {
    /// An [`Authorizer`](crate::Authorizer) that does as told.
    #[derive(Debug)]
    pub Authorizer {}

    #[async_trait]
    impl crate::Authorizer for Authorizer {
        async fn authorize(
            &self,
            who: &Identity,
            action: Action,
            target: &Target,
        ) -> Result<Access>;
    }
}

mock! {
    /// An [`AuditSink`](crate::AuditSink) that does as told.
    #[derive(Debug)]
    pub AuditSink {}

    #[async_trait]
    impl crate::AuditSink for AuditSink {
        async fn record(&self, event: AuditEvent) -> Result<AuditReceipt>;
    }
}

mock! {
    /// A [`Clock`](crate::Clock) that does as told. For time itself,
    /// [`ManualClock`](super::ManualClock) is the better fake.
    #[derive(Debug)]
    pub Clock {}

    #[async_trait]
    impl crate::Clock for Clock {
        fn now(&self) -> Timestamp;
        async fn sleep_until(&self, deadline: Timestamp);
    }
}
