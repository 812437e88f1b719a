//! The one TLS port: accepts, shakes hands within a time limit, speaks HTTP/1.1 or HTTP/2 as ALPN says, hands every
//! request the peer it came from, cuts who takes an answer too slowly, and drains. Absent on purpose: what requests mean.

pub mod inherit;
pub mod pace;
pub mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::limits;
use crate::pki::{PeerCertificate, PeerError};
use crate::shutdown::Shutdown;

/// Pause after an accept that failed (usually: no more open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection; an extension of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address and port.
    pub address: SocketAddr,
    /// The client certificate, verified against our CA; `None` when the peer showed none.
    pub certificate: Option<Arc<Result<PeerCertificate, PeerError>>>,
}

/// How the port behaves.
#[derive(Debug, Clone, Copy)]
pub struct PortLimits {
    /// Connections at once, count: more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Time for requests under way to end, once the shutdown has begun.
    pub drain: Duration,
}

/// Serves `router` until the shutdown begins and the connections are drained (or the drain's time is over). Returns
/// how many connections had to be cut.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    port: PortLimits,
    mut shutdown: Shutdown,
) -> usize {
    let acceptor = TlsAcceptor::from(tls);
    let permits = Arc::new(Semaphore::new(port.connections_max));
    let mut connections: JoinSet<()> = JoinSet::new();
    let stop = shutdown.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.begun() => break,
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, address, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            let _permit = permit;
            connection(stream, address, acceptor, router, stop).await;
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(port.drain, async { while connections.join_next().await.is_some() {} }).await;
    let cut = if drained.is_err() { connections.len() } else { 0 };
    connections.shutdown().await;
    cut
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// Waits for a free place first: a connection that cannot be served stays in the kernel's backlog.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, address, permit))
}

async fn connection(stream: TcpStream, address: SocketAddr, acceptor: TlsAcceptor, router: Router, mut stop: Shutdown) {
    let stream = match tokio::time::timeout(limits::TLS_HANDSHAKE_MAX, acceptor.accept(pace::Paced::new(stream))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "the TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "the TLS handshake took too long"),
    };
    let (_, session) = stream.get_ref();
    let certificate =
        session.peer_certificates().and_then(|chain| chain.first()).map(|leaf| Arc::new(PeerCertificate::from_der(leaf)));
    let http2 = session.alpn_protocol() == Some(b"h2");
    let peer = Peer { address, certificate };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request.map(Body::new)).await.unwrap_or_else(|e| match e {})) }
    });
    let builder = http_builder(http2);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.begun() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "the connection ended with an error");
    }
}

/// ALPN decides the version: guessing it from the first bytes would wait for a silent peer without a limit.
fn http_builder(http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits::HEADER_READ_MAX).max_buf_size(limits::HEADER_MAX_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits::HEADER_LIST_MAX_BYTES)
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .keep_alive_interval(limits::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(limits::KEEP_ALIVE_MAX);
    if http2 { builder.http2_only() } else { builder.http1_only() }
}

/// Asks the system for enough open files and says how many connections they carry.
pub fn connections_that_fit(wanted: u32) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = (u64::from(wanted) + limits::OPEN_FILES_RESERVED).max(limits::OPEN_FILES_WANTED);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|c| c < needed) {
        // More than the hard limit needs a privilege; what the hard limit allows does not.
        let raised = Rlimit { current: Some(needed), maximum: now.maximum.map(|m| m.max(needed)) };
        let allowed = Rlimit { current: now.maximum.map_or(Some(needed), |m| Some(m.min(needed))), maximum: now.maximum };
        if setrlimit(Resource::Nofile, raised).is_err() {
            let _ = setrlimit(Resource::Nofile, allowed);
        }
    }
    let fits = getrlimit(Resource::Nofile)
        .current
        .map_or(u64::from(wanted), |c| c.saturating_sub(limits::OPEN_FILES_RESERVED).min(u64::from(wanted)));
    if fits < u64::from(wanted) {
        tracing::warn!(connections = fits, wanted, "the limit of open files is low; raise LimitNOFILE or limits.connections");
    }
    usize::try_from(fits).unwrap_or(usize::MAX).max(1)
}
