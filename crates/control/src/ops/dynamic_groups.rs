//! Dynamic groups: hosts that match rules, as subjects of statements.

use drydock_domain::access::Permission;
use drydock_domain::access::dynamic_group::{Join, MatchingRules};
use drydock_domain::ids::DynamicGroupId;
use drydock_domain::limits::DESCRIPTION_MAX_BYTES;
use drydock_domain::validate::Problems;
use drydock_store::commit;
use drydock_store::dynamic_groups::{self, DynamicGroupRecord};

use super::cut;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Dynamic groups, count.
const GROUPS_MAX: usize = 1000;
/// Longest name, bytes (the vendor's bound).
const NAME_MAX_BYTES: usize = 100;

/// What a dynamic group is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicGroupSpec {
    /// Its name; never changes.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Its matching rules.
    pub rules: String,
    /// All of several rules have to match, not any of them.
    pub match_all: bool,
}

impl Control {
    /// Dynamic groups by name.
    pub async fn list_dynamic_groups(&self, ctx: &OpCtx) -> Result<Vec<DynamicGroupRecord>> {
        self.may_read(ctx, "dynamic-group.list", Permission::AccessManage).await?;
        Ok(dynamic_groups::list(&mut *self.read().await?).await?)
    }

    /// One dynamic group.
    pub async fn get_dynamic_group(&self, ctx: &OpCtx, name: &str) -> Result<DynamicGroupRecord> {
        self.may_read(ctx, "dynamic-group.show", Permission::AccessManage).await?;
        self.dynamic_group(name).await
    }

    /// Makes a dynamic group.
    pub async fn create_dynamic_group(&self, ctx: &OpCtx, spec: &DynamicGroupSpec) -> Result<DynamicGroupRecord> {
        let resource = format!("dynamic-group {}", cut(&spec.name, NAME_MAX_BYTES));
        let act = self.act(ctx, "dynamic-group.create", resource, Permission::AccessManage).await?;
        let made = async {
            check(spec)?;
            let record = DynamicGroupRecord {
                id: DynamicGroupId(self.mint(ctx.now)),
                name: spec.name.clone(),
                description: spec.description.clone(),
                rules: spec.rules.clone(),
                match_all: spec.match_all,
                created_by: ctx.who.name(),
                created_at: ctx.now,
                updated_at: ctx.now,
                version: 1,
            };
            let mut tx = self.begin().await?;
            let all = dynamic_groups::list(&mut tx).await?;
            if all.len() >= GROUPS_MAX {
                return Err(Error::conflict(format!("there are {GROUPS_MAX} dynamic groups already; delete some")));
            }
            let taken = || Error::conflict(format!("a dynamic group {} exists already", spec.name));
            if all.iter().any(|own| own.name.eq_ignore_ascii_case(&spec.name)) {
                return Err(taken());
            }
            match dynamic_groups::insert(&mut tx, &record).await {
                Err(e) if e.is_duplicate() => return Err(taken()),
                other => other?,
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(record)
        }
        .await;
        act.settle(made).await
    }

    /// Replaces description and rules.
    pub async fn edit_dynamic_group(
        &self,
        ctx: &OpCtx,
        spec: &DynamicGroupSpec,
        if_match: Option<&str>,
    ) -> Result<DynamicGroupRecord> {
        let resource = format!("dynamic-group {}", cut(&spec.name, NAME_MAX_BYTES));
        let act = self.act(ctx, "dynamic-group.edit", resource, Permission::AccessManage).await?;
        let edited = async {
            check(spec)?;
            let found = self.dynamic_group(&spec.name).await?;
            if if_match.is_some_and(|tag| tag != "*" && tag != found.version.to_string()) {
                let message = format!("dynamic group {} was changed meanwhile; read it again", spec.name);
                return Err(Error::Conflict { message, stale: true });
            }
            let mut record = DynamicGroupRecord {
                description: spec.description.clone(),
                rules: spec.rules.clone(),
                match_all: spec.match_all,
                updated_at: ctx.now,
                ..found
            };
            let mut tx = self.begin().await?;
            if !dynamic_groups::update(&mut tx, &record).await? {
                return Err(Error::conflict(format!("dynamic group {} was changed meanwhile; try again", spec.name)));
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            record.version += 1;
            Ok(record)
        }
        .await;
        act.settle(edited).await
    }

    /// Deletes a dynamic group; statements about it reach nobody from then on.
    pub async fn delete_dynamic_group(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let resource = format!("dynamic-group {}", cut(name, NAME_MAX_BYTES));
        let act = self.act(ctx, "dynamic-group.delete", resource, Permission::AccessManage).await?;
        let deleted = async {
            let found = self.dynamic_group(name).await?;
            let mut tx = self.begin().await?;
            if !dynamic_groups::delete(&mut tx, found.id, found.version).await? {
                return Err(Error::conflict(format!("dynamic group {name} was changed meanwhile; try again")));
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await
    }

    async fn dynamic_group(&self, name: &str) -> Result<DynamicGroupRecord> {
        let found = dynamic_groups::find(&mut *self.read().await?, name).await?;
        found.ok_or_else(|| Error::NotFound(format!("dynamic group {}", cut(name, NAME_MAX_BYTES))))
    }
}

fn check(spec: &DynamicGroupSpec) -> Result<()> {
    let mut problems = Problems::default();
    let proper = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if spec.name.is_empty() || spec.name.len() > NAME_MAX_BYTES || !spec.name.chars().all(proper) {
        problems.add("name", format!("has 1 to {NAME_MAX_BYTES} letters, digits and . _ -"));
    }
    problems.text("description", &spec.description, DESCRIPTION_MAX_BYTES);
    let join = if spec.match_all { Join::All } else { Join::Any };
    if let Err(error) = MatchingRules::parse(&spec.rules, join) {
        problems.add("rules", error.to_string());
    }
    Ok(problems.finish()?)
}
