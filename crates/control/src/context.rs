//! Who asks, when, and under which request id: what every operation is given besides its arguments.

use std::fmt;

use drydock_domain::access::Role;
use drydock_domain::ids::{AccessTokenId, InstanceId};
use jiff::Timestamp;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person or a program with an access token.
    Token {
        /// The token.
        id: AccessTokenId,
        /// Its name.
        name: String,
        /// What it may do.
        role: Role,
    },
    /// An enrolled agent, known by its certificate.
    Instance(InstanceId),
    /// The server itself: its operator at its own command line, and the reconcilers.
    Server,
}

impl Principal {
    /// How audit records name it.
    pub fn name(&self) -> String {
        match self {
            Principal::Token { name, .. } => name.clone(),
            Principal::Instance(id) => format!("instance {id}"),
            Principal::Server => "server".to_owned(),
        }
    }

    /// A text that no two principals share, for idempotency keys: names of tokens may repeat.
    pub(crate) fn key(&self) -> String {
        match self {
            Principal::Token { id, .. } => format!("token {id}"),
            Principal::Instance(id) => format!("instance {id}"),
            Principal::Server => "server".to_owned(),
        }
    }
}

/// What every operation is given.
#[derive(Debug, Clone)]
pub struct OpCtx {
    /// Who asks.
    pub who: Principal,
    /// The request, as the log and the audit name it.
    pub request_id: String,
    /// When the request came in.
    pub now: Timestamp,
}

/// A text that must not be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself; the name of this function is what a reviewer looks for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Where the time comes from: one clock in each binary, another one in tests.
pub trait Clock: Send + Sync + 'static {
    /// The time now, UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Some(Secret::new("ddt_abc"))), "Some(…)");
    }
}
