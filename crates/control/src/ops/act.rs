//! Authorisation and its trace: an [`Act`] exists only for a caller who may, and every end of it is recorded.

use drydock_domain::access::{Permission, Role, allows};
use drydock_domain::ids::InstanceId;
use drydock_store::records::AuditRecord;
use drydock_store::{Tx, audit, commit};
use jiff::Timestamp;

use crate::context::{OpCtx, Principal};
use crate::error::{Error, Result};
use crate::{Control, Secret};

/// Longest resource or name in an audit record, bytes.
const AUDIT_TEXT_MAX_BYTES: usize = 512;

/// A mutation that the caller may do.
pub(super) struct Act<'a> {
    control: &'a Control,
    who: String,
    operation: &'static str,
    resource: String,
    request_id: &'a str,
    now: Timestamp,
}

impl Act<'_> {
    /// Records, in the mutation's own transaction, that it was done.
    pub(super) async fn allowed(&self, tx: &mut Tx) -> Result<()> {
        self.record(tx, "allowed", &self.resource).await
    }

    /// The same, for an object that has its name only now.
    pub(super) async fn allowed_on(&self, tx: &mut Tx, resource: &str) -> Result<()> {
        self.record(tx, "allowed", resource).await
    }

    /// Records a failure (in its own transaction: the mutation's is gone) and hands the result on.
    pub(super) async fn settle<T>(self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let outcome = if matches!(error, Error::Forbidden(_)) { "denied" } else { "failed" };
            self.record_alone(outcome).await;
        }
        result
    }

    async fn record_alone(&self, outcome: &'static str) {
        let written = async {
            let mut tx = self.control.begin().await?;
            self.record(&mut tx, outcome, &self.resource).await?;
            Ok::<_, Error>(commit(tx).await?)
        };
        if let Err(error) = written.await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(operation = self.operation, outcome, %error, source, "cannot store an audit record");
        }
    }

    async fn record(&self, tx: &mut Tx, outcome: &str, resource: &str) -> Result<()> {
        let record = AuditRecord {
            at: self.now,
            who: cut(&self.who, AUDIT_TEXT_MAX_BYTES).to_owned(),
            operation: self.operation.to_owned(),
            resource: cut(resource, AUDIT_TEXT_MAX_BYTES).to_owned(),
            outcome: outcome.to_owned(),
            request_id: cut(self.request_id, AUDIT_TEXT_MAX_BYTES).to_owned(),
        };
        Ok(audit::insert(tx, self.control.mint(self.now), &record).await?)
    }
}

/// At most `max` bytes of a text, ending at a character.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    match text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= max).last() {
        Some(end) => &text[..end],
        None => "",
    }
}

impl Control {
    /// Lets a mutation begin, or records the denial.
    pub(super) async fn act<'a>(
        &'a self,
        ctx: &'a OpCtx,
        operation: &'static str,
        resource: String,
        permission: Permission,
    ) -> Result<Act<'a>> {
        let act = Act { control: self, who: ctx.who.name(), operation, resource, request_id: &ctx.request_id, now: ctx.now };
        match role(&ctx.who) {
            Some(role) if allows(role, permission) => Ok(act),
            _ => {
                act.record_alone("denied").await;
                Err(denied(ctx, operation))
            }
        }
    }

    /// Lets a read happen, or records the denial.
    pub(super) async fn may_read(&self, ctx: &OpCtx, operation: &'static str, permission: Permission) -> Result<()> {
        self.act(ctx, operation, String::new(), permission).await.map(drop)
    }

    /// A mutation by a host about itself; its right to it was settled by its certificate or token.
    pub(super) fn act_of_host<'a>(
        &'a self,
        who: String,
        operation: &'static str,
        resource: String,
        request_id: &'a str,
        now: Timestamp,
    ) -> Act<'a> {
        Act { control: self, who, operation, resource, request_id, now }
    }

    /// A new secret: 256 random bits behind a prefix that says what it is.
    pub(super) fn new_secret(&self, prefix: &str) -> Result<Secret> {
        use base64::Engine;
        use ring::rand::SecureRandom;
        let mut bytes = [0u8; 32];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::Internal { doing: "make a secret", source: "the machine gives no random bytes".into() })?;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        Ok(Secret::new(format!("{prefix}{text}")))
    }
}

fn role(who: &Principal) -> Option<Role> {
    match who {
        Principal::Token { role, .. } => Some(*role),
        Principal::Server => Some(Role::Administrator),
        // An agent speaks for its own host only, through its own operations.
        Principal::Instance(_) => None,
    }
}

fn denied(ctx: &OpCtx, operation: &str) -> Error {
    let role = role(&ctx.who).map_or("agent", Role::as_str);
    Error::Forbidden(format!("the role {role} of {} does not allow {operation}; ask an administrator", ctx.who.name()))
}

/// The instance an agent's call is about.
pub(super) fn own_instance(ctx: &OpCtx) -> Result<InstanceId> {
    match &ctx.who {
        Principal::Instance(id) => Ok(*id),
        other => Err(Error::Forbidden(format!("only an agent may do this, not {}", other.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_cut_text_ends_at_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("é", 1), "");
    }
}
