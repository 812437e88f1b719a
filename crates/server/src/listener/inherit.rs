//! The port, from systemd or by ourselves. With a socket unit (sd_listen_fds(3)) systemd holds the port open: while the
//! server restarts or is upgraded, agents and package managers wait a moment instead of being refused.
//!
//! Absent: more than one socket; the server has one port.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// The socket that was handed over, or a new one at `address`.
///
/// # Errors
/// When the address cannot be bound, or what was handed over is no listening TCP socket.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match listenfd::ListenFd::from_env().take_tcp_listener(0)? {
        Some(socket) => {
            socket.set_nonblocking(true)?;
            tracing::info!("the port was handed over by the service manager");
            TcpListener::from_std(socket)
        }
        None => TcpListener::bind(address).await,
    }
}
