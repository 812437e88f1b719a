//! One HTTP/2 connection to the server: TCP (through a proxy when there is one), TLS, gRPC.

use std::sync::Arc;
use std::time::Duration;

use drydock_api::agent::MESSAGE_MAX_BYTES;
use drydock_api::agent::v1::agent_link_client::AgentLinkClient;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use super::address::{Proxy, ServerAddress};

/// Name and version shown to the server.
pub const USER_AGENT: &str = concat!("drydock-agent/", env!("CARGO_PKG_VERSION"));
/// From the first packet to the end of the TLS handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// A unary call, bodies included: 8 MiB of inventory over a slow line.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// HTTP/2 pings find a dead line even when nothing is said.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// An unanswered ping closes the connection.
const PING_LIMIT: Duration = Duration::from_secs(20);
/// A proxy's answer to CONNECT, bytes.
const PROXY_ANSWER_MAX_BYTES: usize = 8 * 1024;

/// What is needed to connect.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server.
    pub server: ServerAddress,
    /// What stands between.
    pub proxy: Option<Proxy>,
    /// How TLS is spoken.
    pub tls: Arc<ClientConfig>,
}

/// A connection that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TCP.
    #[error("cannot connect to {to}: {source}; check the address, name resolution and firewalls")]
    Tcp {
        /// `host:port`.
        to: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The proxy said no.
    #[error("the proxy {proxy} refuses to connect to {to}: {answer}")]
    Proxy {
        /// The proxy.
        proxy: String,
        /// Where to.
        to: String,
        /// Its status line.
        answer: String,
    },
    /// TLS.
    #[error("no TLS with {to}: {source}")]
    Tls {
        /// `host:port`.
        to: String,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// Not a name TLS knows.
    #[error("{0:?} cannot be a TLS server name")]
    Name(String),
    /// Nothing happened in time.
    #[error("no connection to {to} within {} s", CONNECT_LIMIT.as_secs())]
    Slow {
        /// `host:port`.
        to: String,
    },
    /// gRPC.
    #[error("no HTTP/2 with {to}: {why}")]
    Http {
        /// `host:port`.
        to: String,
        /// The reason.
        why: String,
    },
}

type Client = AgentLinkClient<Channel>;

/// Connects. The channel lives as long as its one connection: a lost one ends every call, and the caller connects anew
/// with what the disk then holds (a renewed certificate).
pub async fn connect(target: &Target) -> Result<Client, ConnectError> {
    let to = target.server.authority();
    let io = tokio::time::timeout(CONNECT_LIMIT, open(target)).await.map_err(|_| ConnectError::Slow { to: to.clone() })??;
    let http = |why: &dyn std::fmt::Display| ConnectError::Http { to: to.clone(), why: why.to_string() };
    let mut io = Some(TokioIo::new(io));
    let connector = tower::service_fn(move |_: http::Uri| {
        let once = io.take();
        async move { once.ok_or_else(|| std::io::Error::other("the connection is lost")) }
    });
    let origin = format!("https://{to}").parse().map_err(|e: http::uri::InvalidUri| http(&e))?;
    let channel = Endpoint::from_shared(format!("http://{to}"))
        .and_then(|e| e.user_agent(USER_AGENT))
        .map_err(|e| http(&e))?
        .origin(origin)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_LIMIT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|e| http(&chain(&e)))?;
    Ok(AgentLinkClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES).max_encoding_message_size(MESSAGE_MAX_BYTES))
}

/// A request with the call's time limit.
pub fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_LIMIT);
    request
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

async fn open(target: &Target) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectError> {
    let to = target.server.authority();
    let name = ServerName::try_from(target.server.host.clone()).map_err(|_| ConnectError::Name(target.server.host.clone()))?;
    let first = target.proxy.as_ref().map_or(&target.server, |p| &p.address);
    let mut stream = TcpStream::connect((first.host.as_str(), first.port))
        .await
        .map_err(|source| ConnectError::Tcp { to: first.authority(), source })?;
    // Small messages should not wait for more; failing to say so costs only milliseconds.
    let _ = stream.set_nodelay(true);
    if let Some(proxy) = &target.proxy {
        tunnel(&mut stream, proxy, &to).await?;
    }
    tokio_rustls::TlsConnector::from(Arc::clone(&target.tls))
        .connect(name, stream)
        .await
        .map_err(|source| ConnectError::Tls { to, source })
}

/// Asks a proxy for a tunnel. Its answer is read byte by byte up to the empty line, so that nothing of TLS is eaten.
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, to: &str) -> Result<(), ConnectError> {
    let refused = |answer: String| ConnectError::Proxy { proxy: proxy.address.authority(), to: to.to_owned(), answer };
    let broken = |e: std::io::Error| refused(e.to_string());
    let authorization = proxy.authorization.as_ref().map(|a| format!("Proxy-Authorization: {a}\r\n")).unwrap_or_default();
    let ask = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: {USER_AGENT}\r\n{authorization}\r\n");
    stream.write_all(ask.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= PROXY_ANSWER_MAX_BYTES {
            return Err(refused("its answer is too long".to_owned()));
        }
        answer.push(stream.read_u8().await.map_err(broken)?);
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.lines().next().unwrap_or_default();
    match status.split_ascii_whitespace().nth(1) {
        Some(code) if code.starts_with('2') => Ok(()),
        _ => Err(refused(status.chars().take(200).collect())),
    }
}
