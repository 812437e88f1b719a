//! Who asks, when, and under which request id: what every operation is given besides its arguments.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use drydock_domain::access::permissions::RightSet;
use drydock_domain::access::{self, Role};
use drydock_domain::ids::{AccessTokenId, InstanceId, SessionId};
use jiff::Timestamp;

use crate::audit_part::CallNotes;

/// What sort of account somebody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// A person.
    User,
    /// A program with an account.
    ServiceAccount,
    /// An access token that stands for itself: it is in the group of its role.
    Token,
    /// A managed host, by an access token that its agent asked for.
    Instance,
}

impl AccountKind {
    /// How audit records name it.
    pub fn as_str(self) -> &'static str {
        match self {
            AccountKind::User => "user",
            AccountKind::ServiceAccount => "service-account",
            AccountKind::Token => "token",
            AccountKind::Instance => "instance",
        }
    }
}

/// Somebody who has shown who they are.
#[derive(Debug, Clone)]
pub struct Account {
    /// What sort.
    pub kind: AccountKind,
    /// The id of the user, of the instance, or of the token that stands for itself.
    pub id: String,
    /// The name.
    pub name: String,
    /// The token that was shown, if it was one.
    pub token: Option<AccessTokenId>,
    /// The session it is used in, if it is one.
    pub session: Option<SessionId>,
    /// A second factor was shown.
    pub second_factor: bool,
    /// The strongest role among the groups; what old clients show. Decides nothing.
    pub role: Option<Role>,
    /// Names of the groups; of an instance, of the dynamic groups.
    pub groups: Vec<String>,
    /// What the credential is narrowed to; `None`: not narrowed.
    pub narrowed: Option<RightSet>,
    /// As statements see them.
    pub subject: access::request::Principal,
}

impl Account {
    /// Is it a member of the built-in group that may do everything?
    pub fn administers(&self) -> bool {
        let name = access::builtin::group_of(Role::Administrator);
        self.groups.iter().any(|own| own == name.name())
    }

    /// A token that stands for itself.
    pub fn of_token(id: AccessTokenId, name: &str, role: Role) -> Account {
        let group = access::builtin::group_of(role);
        let subject = access::request::Principal::service_account(&id.to_string(), name).in_group(&group);
        Account {
            kind: AccountKind::Token,
            id: id.to_string(),
            name: name.to_owned(),
            token: Some(id),
            session: None,
            second_factor: false,
            role: Some(role),
            groups: vec![group.name().to_owned()],
            narrowed: None,
            subject,
        }
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A person or a program.
    Account(Arc<Account>),
    /// An enrolled agent, known by its certificate.
    Instance(InstanceId),
    /// The server itself: its operator at its own command line, and the reconcilers. It stands outside of all policies.
    Server,
}

impl Principal {
    /// How audit records name it.
    pub fn name(&self) -> String {
        match self {
            Principal::Account(own) => own.name.clone(),
            Principal::Instance(id) => format!("instance {id}"),
            Principal::Server => "server".to_owned(),
        }
    }

    /// What sort it is, for audit records.
    pub fn kind(&self) -> &'static str {
        match self {
            Principal::Account(own) => own.kind.as_str(),
            Principal::Instance(_) => "instance",
            Principal::Server => "server",
        }
    }

    /// Its id, for audit records.
    pub fn id(&self) -> String {
        match self {
            Principal::Account(own) => own.id.clone(),
            Principal::Instance(id) => id.to_string(),
            Principal::Server => String::new(),
        }
    }

    /// The account, if it is one.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Principal::Account(own) => Some(own),
            Principal::Instance(_) | Principal::Server => None,
        }
    }

    /// A text that no two principals share, for idempotency keys and owners: names may repeat.
    pub fn key(&self) -> String {
        match self {
            Principal::Account(own) => format!("{} {}", own.kind.as_str(), own.id),
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
    /// Where from, when it came over the network.
    pub address: Option<IpAddr>,
    /// For its audit records.
    pub notes: CallNotes,
}

impl OpCtx {
    /// The same, from this address.
    #[must_use]
    pub fn from_address(self, address: IpAddr) -> OpCtx {
        OpCtx { address: Some(address), ..self }
    }

    /// The same, with notes of a request whose end is told.
    #[must_use]
    pub fn with_notes(self, notes: CallNotes) -> OpCtx {
        OpCtx { notes, ..self }
    }
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
