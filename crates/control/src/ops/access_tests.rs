//! Questions about access: may somebody do something, and who may. Both are decided by what decides requests; conditions on
//! the time are decided as of now, those on a second factor as if none was shown (`access test` about oneself: as it was).

use std::sync::Arc;

use drydock_domain::access::Scope;
use drydock_domain::access::decide::{Bearing, Decision, decide, explain, who_can};
use drydock_domain::access::permissions::Right;
use drydock_domain::access::statement::Effect;
use drydock_domain::instance::InstanceState;
use drydock_store::compartments::Kind;
use drydock_store::records::{InstanceQuery, PageQuery};
use drydock_store::{Connection, access_tokens, instances, users};

use super::act::About;
use crate::Control;
use crate::context::{Account, OpCtx, Principal};
use crate::error::{Error, Result};

/// Permissions in one question, count.
const PERMISSIONS_MAX: usize = 20;
/// Statements in one answer, count.
const STATEMENTS_SHOWN_MAX: usize = 100;
/// How a statement about other principals bears on a request.
const OTHERS: &str = "is about others";
/// Accounts that are looked at for one answer, count.
const ACCOUNTS_MAX: usize = 10_000;

/// The decision about one permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionView {
    /// The permission.
    pub permission: &'static str,
    /// Is it given?
    pub allowed: bool,
    /// By which statement, or why not.
    pub decision: String,
    /// Policy, line, statement, and how it bears on the request; the nearest first.
    pub considered: Vec<(String, usize, String, String)>,
}

/// Who holds a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldersView {
    /// Policy, line, statement, does it deny, has it a condition; `deny` first.
    pub statements: Vec<(String, usize, String, bool, bool)>,
    /// Kind and name of an account, and the statement that gives it the permission.
    pub accounts: Vec<(&'static str, String, String)>,
}

impl Control {
    /// May `user` (absent: the caller) do these things to a resource, and why? About others: who may read policies.
    pub async fn test_access(
        &self,
        ctx: &OpCtx,
        user: Option<&str>,
        permissions: &[String],
        resource: &str,
    ) -> Result<Vec<DecisionView>> {
        let about = self.asked_about(resource).await?;
        let asked = match user {
            None => {
                self.must_know(ctx, "access.test", &about).await?;
                ctx.who.clone()
            }
            Some(name) => {
                self.may_see(ctx, "access.test", About::within(&about.compartment, format!("user {name}"))).await?;
                self.principal_called(name).await?
            }
        };
        if permissions.is_empty() || permissions.len() > PERMISSIONS_MAX {
            return Err(Error::invalid("permissions", format!("1 to {PERMISSIONS_MAX} permissions are asked about at once")));
        }
        let rights: Vec<Right> = permissions.iter().map(|name| right(name)).collect::<Result<_>>()?;
        let Some(own) = asked.account() else {
            return Err(Error::Forbidden(format!("{} stands outside of all policies", asked.name())));
        };
        let mut decisions = self.decisions(own, &rights, &about, ctx).await?;
        if user.is_none() && !self.could(ctx, "access.test", None, &About::within(&about.compartment, "")).await? {
            let nowhere = decisions.iter().all(|own| !own.allowed);
            if nowhere && resource.starts_with('/') && !self.knows_compartment(ctx, &about.compartment).await? {
                return Err(Error::NotFound(format!("compartment {}", super::cut(resource, 255))));
            }
            // Who may not read policies is told what bears on them, and nothing of others.
            for own in &mut decisions {
                own.considered.retain(|(.., bearing)| bearing != OTHERS);
            }
        }
        Ok(decisions)
    }

    async fn decisions(&self, own: &Account, rights: &[Right], about: &About, ctx: &OpCtx) -> Result<Vec<DecisionView>> {
        let loaded = self.access().await?;
        let resource = about.resource(&loaded);
        let facts = about.facts("access.test", ctx.now);
        let view = |right: &Right| {
            let explained = explain(&loaded.compiled, &own.subject, *right, &resource, &facts);
            let narrowed = own.narrowed.is_some_and(|narrowed| !narrowed.has(*right));
            let considered = explained.considered.into_iter().take(STATEMENTS_SHOWN_MAX).map(|(placed, bearing)| {
                let bearing = match bearing {
                    Bearing::Holds => "holds".to_owned(),
                    Bearing::ConditionFalse(why) => format!("its condition is false: {why}"),
                    Bearing::Elsewhere(path) => format!("holds elsewhere: {path}"),
                    Bearing::Others => OTHERS.to_owned(),
                };
                (placed.policy.clone(), placed.line, placed.statement.to_string(), bearing)
            });
            let decision = if narrowed {
                "denied: the token that was shown is narrowed and does not give it".to_owned()
            } else {
                explained.decision.to_string()
            };
            DecisionView {
                permission: right.name(),
                allowed: explained.decision.is_allowed() && !narrowed,
                decision,
                considered: considered.collect(),
            }
        };
        Ok(rights.iter().map(view).collect())
    }

    /// Who may do something to a resource: statements, and the accounts that hold the permission now.
    pub async fn who_can(&self, ctx: &OpCtx, permission: &str, resource: &str) -> Result<HoldersView> {
        let about = self.asked_about(resource).await?;
        let place = About::within(&about.compartment, format!("{permission} on {resource}"));
        self.may_see(ctx, "access.who-can", place).await?;
        let right = right(permission)?;
        let loaded = self.access().await?;
        let resource = about.resource(&loaded);
        let facts = about.facts("access.who-can", ctx.now);
        let statements = who_can(&loaded.compiled, right, &resource);
        let statements = statements.into_iter().take(STATEMENTS_SHOWN_MAX).map(|holder| {
            let placed = holder.placed;
            let denies = holder.effect == Effect::Deny;
            (placed.policy.clone(), placed.line, placed.statement.to_string(), denies, holder.conditional)
        });
        let statements = statements.collect();
        let mut accounts = Vec::new();
        for own in self.all_accounts().await? {
            if let Decision::Allow { by } = decide(&loaded.compiled, &own.subject, right, &resource, &facts) {
                accounts.push((own.kind.as_str(), own.name.clone(), by.to_string()));
            }
        }
        Ok(HoldersView { statements, accounts })
    }

    /// Every account that could ask: users, service accounts, tokens that stand for themselves, and hosts where there are
    /// dynamic groups (what `any-user` and `resource instance` give to hosts is told by the statements).
    async fn all_accounts(&self) -> Result<Vec<Account>> {
        let mut found = Vec::new();
        let mut c = self.read().await?;
        let mut page = PageQuery { cursor: None, limit: Some(drydock_domain::limits::PAGE_MAX) };
        let mut ids = Vec::new();
        while ids.len() < ACCOUNTS_MAX {
            let some = users::list(&mut c, &page).await?;
            ids.extend(some.items.into_iter().filter(|user| !user.disabled).map(|user| user.id));
            match some.next_cursor {
                Some(next) => page.cursor = Some(next),
                None => break,
            }
        }
        page.cursor = None;
        let now = self.now();
        while found.len() < ACCOUNTS_MAX {
            let some = access_tokens::list(&mut c, &page).await?;
            let good = some.items.into_iter().filter(|t| !t.revoked && t.expires_at.is_none_or(|end| end > now));
            found.extend(good.filter_map(|t| Some(Account::of_token(t.id, &t.name, t.role?))));
            match some.next_cursor {
                Some(next) => page.cursor = Some(next),
                None => break,
            }
        }
        if self.access().await?.has_dynamic_groups() {
            self.add_hosts(&mut c, &mut found).await?;
        }
        drop(c);
        let mut all = Vec::new();
        for id in ids {
            if let Ok(Principal::Account(own)) = self.account_of_user(id, false, None).await {
                all.push(Account::clone(&own));
            }
        }
        all.extend(found);
        Ok(all)
    }

    /// Hosts that may ask.
    async fn add_hosts(&self, c: &mut Connection, found: &mut Vec<Account>) -> Result<()> {
        let limit = Some(drydock_domain::limits::PAGE_MAX);
        let page = PageQuery { cursor: None, limit };
        let mut query = InstanceQuery { state: Some(InstanceState::Active), page, ..InstanceQuery::default() };
        while found.len() < ACCOUNTS_MAX {
            let some = instances::list(c, &query, &Scope::Everywhere).await?;
            for record in &some.items {
                found.push(self.instance_account(record).await?);
            }
            match some.next_cursor {
                Some(next) => query.page.cursor = Some(next),
                None => break,
            }
        }
        Ok(())
    }

    /// A user by name, or `instance/NAME`: that host.
    async fn principal_called(&self, name: &str) -> Result<Principal> {
        if let Some(host) = name.strip_prefix("instance/") {
            return Ok(Principal::Account(Arc::new(self.instance_account(&self.resolve(host).await?).await?)));
        }
        let found = users::find_by_name(&mut *self.read().await?, name).await?;
        let user = found.ok_or_else(|| Error::NotFound(format!("user {}", super::cut(name, 255))))?;
        self.account_of_user(user.id, false, None).await
    }

    /// `/A/web`, or `instance/web-1`.
    async fn asked_about(&self, resource: &str) -> Result<About> {
        const KINDS: [(&str, Kind); 12] = [
            ("instance", Kind::Instance),
            ("group", Kind::Group),
            ("enrolment-profile", Kind::Profile),
            ("source", Kind::Source),
            ("environment", Kind::Environment),
            ("patch-job", Kind::PatchJob),
            ("deployment", Kind::Deployment),
            ("window", Kind::Window),
            ("freeze", Kind::Freeze),
            ("reboot-slot", Kind::RebootSlots),
            ("policy-assignment", Kind::Assignment),
            ("secret", Kind::Secret),
        ];
        if resource.starts_with('/') {
            return Ok(About::within(&self.compartment_path(resource).await?, resource));
        }
        let of = resource.split_once('/').and_then(|(kind, name)| {
            let kind = KINDS.iter().find(|(own, _)| *own == kind)?.1;
            Some((kind, name))
        });
        let Some((kind, name)) = of else {
            let kinds: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            let why = format!("is a path such as /A/web, or TYPE/NAME with one of the types {}", kinds.join(", "));
            return Err(Error::invalid("resource", why));
        };
        // Of hosts with their labels, as requests are decided.
        if kind == Kind::Instance { Ok(self.looked_up(name).await?.0) } else { self.about(kind, name).await }
    }
}

fn right(name: &str) -> Result<Right> {
    Right::named(name).map_err(|e| Error::invalid("permissions", e.to_string()))
}
