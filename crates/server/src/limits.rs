//! Bounds of the daemon itself: connections, requests, waiting. Bounds of documents are the domain's
//! (`drydock_domain::limits`).

use std::time::Duration;

/// A TLS handshake must be done after this time: a silent peer costs a task and two buffers no longer than that.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// HTTP/1.1 request head must be complete after this time.
pub const HEADER_READ_MAX: Duration = Duration::from_secs(15);
/// HTTP/1.1 head, bytes.
pub const HEADER_MAX_BYTES: usize = 32 * 1024;
/// HTTP/2 header list, bytes.
pub const HEADER_LIST_MAX_BYTES: u32 = 32 * 1024;
/// Streams of one HTTP/2 connection. An agent uses three (attach, report, pull); a console tab a few more.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 64;
/// HTTP/2 pings to a peer that is silent.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// No answer to a ping for this long ends the connection.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(20);
/// Body of a REST request, bytes: a patch job with two scripts of 64 KiB and a filter of 4 × 1,000 names, tripled for
/// JSON escapes.
pub const REST_BODY_MAX_BYTES: usize = 1024 * 1024;
/// A REST request (not an event stream) must be answered after this time.
pub const REST_REQUEST_MAX: Duration = Duration::from_secs(30);
/// A call of an agent (not Attach) must be answered after this time.
pub const AGENT_CALL_MAX: Duration = Duration::from_secs(60);
/// Sign of life on an event stream, so that proxies keep it open.
pub const EVENT_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// An event stream looks again after this time even when nothing woke it.
pub const EVENT_POLL: Duration = Duration::from_secs(2);
/// An event stream ends after this time; the browser's EventSource opens it again.
pub const EVENT_STREAM_MAX: Duration = Duration::from_secs(3600);
/// Event streams open at once, count: each reads its job's tasks at every change.
pub const EVENT_STREAMS_MAX: usize = 256;
/// Failed authentications or enrolments of one address before it is told to wait, count.
pub const FAILURES_PER_ADDRESS_MAX: u32 = 20;
/// A wait ends, and failures are forgotten, after this time.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered for that, count: 16,384 × ~64 bytes = 1 MiB. When full, the oldest are forgotten.
pub const FAILURE_ADDRESSES_MAX: usize = 16_384;
/// Idempotency-Key header, bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 128;
/// Open files the daemon asks the system for: a connection each, and the store's.
pub const OPEN_FILES_WANTED: u64 = 65_536;
/// Open files kept back from connections for the store, logs and the rest.
pub const OPEN_FILES_RESERVED: u64 = 128;
/// Free in the data directory, bytes, below which the daemon calls itself not ready: a few large reports fit in it.
pub const DISK_FREE_MIN_BYTES: u64 = 8 * 1024 * 1024;
/// Configuration file, bytes.
pub const CONFIG_MAX_BYTES: u64 = 1024 * 1024;
