//! Policies of access statements. What is stored can be read and has an effect: a text that does not parse, a compartment that
//! is not there, a group nobody made are refused with the place.

use drydock_domain::access::Permission;
use drydock_domain::access::builtin::{self, find_group};
use drydock_domain::access::compile::{Policy, compile};
use drydock_domain::access::statement::{PrincipalName, Subject};
use drydock_domain::ids::AccessPolicyId;
use drydock_domain::limits::DESCRIPTION_MAX_BYTES;
use drydock_domain::validate::Problems;
use drydock_store::access_policies::{self, AccessPolicyRecord};
use drydock_store::{commit, compartments, dynamic_groups};
use jiff::Timestamp;
use uuid::Uuid;

use super::act::{About, Act};
use super::compartments::is_builtin_policy;
use super::{RACE_RETRIES, cut};
use crate::Control;
use crate::access_part::{ROOT, tree_of};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Policies, count.
const POLICIES_MAX: usize = 1000;
/// Longest name, bytes.
const NAME_MAX_BYTES: usize = 100;

/// A policy, and whether it came with the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPolicyView {
    /// As it is stored.
    pub record: AccessPolicyRecord,
    /// It came with the program: nobody edits or deletes it.
    pub builtin: bool,
}

impl Control {
    /// Policies that the caller may see, by name, the built-in ones first.
    pub async fn list_access_policies(&self, ctx: &OpCtx) -> Result<Vec<AccessPolicyView>> {
        let scope = self.scope(ctx, "access-policy.list", Permission::AccessManage).await?;
        let stored = access_policies::list(&mut *self.read().await?).await?;
        let stored = stored.into_iter().map(|record| AccessPolicyView { record, builtin: false });
        Ok(builtins().into_iter().chain(stored).filter(|own| scope.holds_in(&own.record.compartment)).collect())
    }

    /// One policy.
    pub async fn get_access_policy(&self, ctx: &OpCtx, name: &str) -> Result<AccessPolicyView> {
        let own = self.access_policy(name).await?;
        self.may_see(ctx, "access-policy.show", about(&own.record)).await?;
        Ok(own)
    }

    /// Makes a policy. It holds from the next request on.
    pub async fn create_access_policy(
        &self,
        ctx: &OpCtx,
        name: &str,
        compartment: &str,
        description: &str,
        statements: &str,
    ) -> Result<AccessPolicyView> {
        let place = self.compartment_path(compartment).await?;
        let resource = format!("access-policy {}", cut(name, NAME_MAX_BYTES));
        let begun = self.act_on(ctx, "access-policy.create", About::within(&place, resource)).await;
        let act = self.unless_unknown(ctx, &place, compartment, begun).await?;
        let made = async {
            check(name, description)?;
            let record = AccessPolicyRecord {
                id: AccessPolicyId(self.mint(ctx.now)),
                name: name.to_owned(),
                compartment: place,
                description: description.to_owned(),
                statements: statements.to_owned(),
                created_by: ctx.who.name(),
                created_at: ctx.now,
                updated_at: ctx.now,
                version: 1,
            };
            let mut tx = self.begin().await?;
            let all = access_policies::list(&mut tx).await?;
            if all.len() >= POLICIES_MAX {
                return Err(Error::conflict(format!("there are {POLICIES_MAX} access policies already; delete some")));
            }
            let taken = || Error::conflict(format!("an access policy {name} exists already"));
            if is_builtin_policy(name) || all.iter().any(|own| own.name.eq_ignore_ascii_case(name)) {
                return Err(taken());
            }
            readable(&mut tx, &record).await?;
            match access_policies::insert(&mut tx, &record).await {
                Err(e) if e.is_duplicate() => return Err(taken()),
                other => other?,
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(AccessPolicyView { record, builtin: false })
        }
        .await;
        act.settle(made).await
    }

    /// Replaces description or statements; what is absent stays.
    pub async fn edit_access_policy(
        &self,
        ctx: &OpCtx,
        name: &str,
        description: Option<&str>,
        statements: Option<&str>,
        if_match: Option<&str>,
    ) -> Result<AccessPolicyView> {
        let found = self.access_policy(name).await?;
        let act = self.act_on(ctx, "access-policy.edit", about(&found.record)).await?;
        let edited = async {
            changeable(&found)?;
            for _ in 0..RACE_RETRIES {
                let mut tx = self.begin().await?;
                let stored = access_policies::find(&mut tx, &found.record.name).await?;
                // Another one of the same name, elsewhere, is not what the caller may change.
                let stored = stored.filter(|own| own.id == found.record.id && own.compartment == found.record.compartment);
                let mut record = stored.ok_or_else(|| Error::NotFound(format!("access policy {name}")))?;
                if if_match.is_some_and(|tag| tag != "*" && tag != record.version.to_string()) {
                    let message = format!("access policy {name} was changed meanwhile; read it again");
                    return Err(Error::Conflict { message, stale: true });
                }
                if let Some(description) = description {
                    record.description = description.to_owned();
                }
                if let Some(statements) = statements {
                    record.statements = statements.to_owned();
                }
                record.updated_at = ctx.now;
                check(&record.name, &record.description)?;
                readable(&mut tx, &record).await?;
                if access_policies::update(&mut tx, &record).await? {
                    record.version += 1;
                    act.allowed(&mut tx).await?;
                    commit(tx).await?;
                    return Ok(AccessPolicyView { record, builtin: false });
                }
            }
            Err(Error::conflict(format!("access policy {name} is being changed by somebody else; try again")))
        }
        .await;
        act.settle(edited).await
    }

    /// Deletes a policy; what it gave is gone with the next request, and what it denied is open.
    pub async fn delete_access_policy(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let found = self.access_policy(name).await?;
        let act = self.act_on(ctx, "access-policy.delete", about(&found.record)).await?;
        let deleted = self.try_delete_access_policy(&found, &act).await;
        act.settle(deleted).await
    }

    async fn try_delete_access_policy(&self, found: &AccessPolicyView, act: &Act<'_>) -> Result<()> {
        changeable(found)?;
        let mut tx = self.begin().await?;
        if !access_policies::delete(&mut tx, found.record.id, found.record.version).await? {
            return Err(Error::conflict(format!("access policy {} was changed meanwhile; try again", found.record.name)));
        }
        act.allowed(&mut tx).await?;
        Ok(commit(tx).await?)
    }

    async fn access_policy(&self, name: &str) -> Result<AccessPolicyView> {
        if let Some(own) = builtins().into_iter().find(|own| own.record.name == name) {
            return Ok(own);
        }
        let found = access_policies::find(&mut *self.read().await?, name).await?;
        let record = found.ok_or_else(|| Error::NotFound(format!("access policy {}", cut(name, NAME_MAX_BYTES))))?;
        Ok(AccessPolicyView { record, builtin: false })
    }
}

fn about(record: &AccessPolicyRecord) -> About {
    About::named("access policy", "drydock-access-policy", &record.compartment, &record.id.to_string(), &record.name)
}

fn builtins() -> Vec<AccessPolicyView> {
    let own = |(name, statements): (&str, String)| AccessPolicyView {
        record: AccessPolicyRecord {
            id: AccessPolicyId(Uuid::nil()),
            name: name.to_owned(),
            compartment: ROOT.to_owned(),
            description: "comes with the program".to_owned(),
            statements,
            created_by: "drydock".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            version: 0,
        },
        builtin: true,
    };
    builtin::texts().into_iter().map(own).collect()
}

fn changeable(own: &AccessPolicyView) -> Result<()> {
    if own.builtin {
        return Err(Error::conflict(format!(
            "access policy {} comes with the program and does not change; narrow it with a policy of your own that denies",
            own.record.name
        )));
    }
    Ok(())
}

fn check(name: &str, description: &str) -> Result<()> {
    let mut problems = Problems::default();
    let proper = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(proper) {
        problems.add("name", format!("has 1 to {NAME_MAX_BYTES} letters, digits and . _ -"));
    }
    problems.text("description", description, DESCRIPTION_MAX_BYTES);
    Ok(problems.finish()?)
}

/// Can it be read, and has every statement of it an effect?
async fn readable(c: &mut drydock_store::Connection, record: &AccessPolicyRecord) -> Result<()> {
    let (tree, ids) = tree_of(&compartments::list(c).await?)?;
    let id = ids.get(&record.compartment).cloned().unwrap_or_default();
    let policy = Policy::parse(&record.name, &id, &record.statements).map_err(|e| Error::invalid("statements", e.to_string()))?;
    if let Some(first) = compile(std::slice::from_ref(&policy), tree).misplaced().first() {
        return Err(Error::invalid("statements", format!("line {}: {}", first.line, first.why)));
    }
    let groups = access_policies::user_groups(c).await?;
    let dynamic: Vec<String> = dynamic_groups::list(c).await?.into_iter().map(|own| own.name).collect();
    for written in &policy.statements {
        let (names, known, what, how): (_, &[String], _, _) = match &written.statement.subject {
            Subject::Groups(names) => (names, &groups, "group", "drydock user-group create"),
            Subject::DynamicGroups(names) => (names, &dynamic, "dynamic group", "drydock dynamic-group create"),
            _ => continue,
        };
        for name in names {
            let PrincipalName::Named { domain, name } = name else { continue };
            let local = domain.as_deref().is_none_or(|d| d.eq_ignore_ascii_case("default"));
            let there = known.iter().any(|own| own.eq_ignore_ascii_case(name)) || (what == "group" && find_group(name).is_some());
            if local && !there {
                let why = format!(
                    "line {}: there is no {what} {}; make it first: {how} {}",
                    written.line,
                    cut(name, 100),
                    cut(name, 100)
                );
                return Err(Error::invalid("statements", why));
            }
        }
    }
    Ok(())
}
