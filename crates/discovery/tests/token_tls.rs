//! `token://` over TLS: the service behind it is verified, and who is not it is named.
#![cfg(all(feature = "token", feature = "token-server"))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "live/certificates.rs"]
mod certificates;

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use certificates::{ENDED, Pki};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{Announcement, Clock, Discovery, ErrorKind, OsRandom, SystemClock, tls};
use longshore_discovery::{
    DiscoveryOptions, MemoryKv, TokenBase, TokenDiscovery, open,
    token_service::{TokenLimits, TokenService},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// The service over TLS, with the server's certificate of `pki` as it is now.
async fn serve(pki: &Pki, service: &TokenService) -> SocketAddr {
    let files = pki.server();
    serve_with(&files.certificate, &files.key, service).await
}

async fn serve_with(certificate: &Path, key: &Path, service: &TokenService) -> SocketAddr {
    let read = |path: &Path| std::fs::read(path).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            tls::certificates(&read(certificate)).unwrap(),
            tls::private_key(&read(key)).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, service) = (acceptor.clone(), service.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let answer = service_fn(|request| {
                    let service = service.clone();
                    async move { Ok::<_, Infallible>(service.handle(request).await) }
                });
                let stream = TokioIo::new(stream);
                let _ = http1::Builder::new().serve_connection(stream, answer).await;
            });
        }
    });
    address
}

fn service() -> TokenService {
    let store = Arc::new(MemoryKv::new(clock()));
    let limits = TokenLimits::default();
    TokenService::new(store, "lab", limits, clock(), Arc::new(OsRandom))
}

fn client(address: &str, token: &str, authority: &Path) -> Arc<dyn Discovery> {
    let authority = format!("token.cacertfile={}", authority.display());
    let options = DiscoveryOptions::new(clock()).with_pairs([authority]);
    open(&format!("token://{address}/v1/{token}"), &options.unwrap()).unwrap()
}

#[tokio::test]
async fn a_service_that_proves_who_it_is_serves() {
    let (pki, service) = (Pki::new(), service());
    let address = serve(&pki, &service).await;
    let base = TokenBase::parse(&format!("https://{address}/v1")).unwrap();
    let token = TokenDiscovery::create(&base, Some(&pki.authority()), clock())
        .await
        .unwrap();
    let discovery = client(&address.to_string(), &token, &pki.authority());
    let node = Announcement::new("a:1".parse().unwrap());
    let ttl = Duration::from_secs(60);
    let registration = discovery.register(&node, ttl).await.unwrap();
    discovery.renew(&registration).await.unwrap();
    assert_eq!(discovery.list().await.unwrap().nodes, [node]);
    discovery.deregister(&registration).await.unwrap();
    assert_eq!(discovery.list().await.unwrap().nodes, []);
}

#[tokio::test]
async fn one_that_does_not_is_refused_with_the_reason() {
    let (pki, other, service) = (Pki::new(), Pki::new(), service());
    let token = service.create().await.unwrap();
    let good = serve(&pki, &service).await;
    let expired = pki.issue("expired", ENDED);
    let expired = serve_with(&expired.0, &expired.1, &service).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_at = plain.local_addr().unwrap();
    let stop = longshore_core::Shutdown::new();
    let serving = longshore_discovery::token_service::serve(plain, service, clock(), stop.clone());
    tokio::spawn(serving);
    let elsewhere = format!("localhost:{}", good.port());
    for (address, authority, text) in [
        (
            good.to_string(),
            other.authority(),
            "was not issued by the authority in token.cacertfile",
        ),
        (
            expired.to_string(),
            pki.authority(),
            "has expired: renew it",
        ),
        (elsewhere, pki.authority(), "does not name localhost"),
        (plain_at.to_string(), pki.authority(), "does not speak TLS"),
    ] {
        let discovery = client(&address, &token, &authority);
        let error = discovery.list().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(error.chain().contains(text), "{}", error.chain());
        assert!(!error.chain().contains(&token), "the token is a secret");
        let node = Announcement::new("a:1".parse().unwrap());
        let register = discovery.register(&node, Duration::from_secs(60)).await;
        assert_eq!(register.unwrap_err().kind(), ErrorKind::Unauthenticated);
    }
    stop.trigger();
}
