//! Compartments: making, renaming, moving and deleting them. None of these may take the ground from under a statement: what
//! would leave a statement without effect is refused, because a `deny` without effect opens what it closed.

use std::collections::HashMap;

use drydock_domain::access::builtin::POLICIES;
use drydock_domain::access::compartment::Tree;
use drydock_domain::access::compile::{Policy, compile};
use drydock_domain::access::scope::is_below;
use drydock_domain::access::{COMPARTMENTS_MAX, Permission};
use drydock_domain::ids::CompartmentId;
use drydock_domain::limits::DESCRIPTION_MAX_BYTES;
use drydock_domain::validate::Problems;
use drydock_store::compartments::{self, CompartmentRecord};
use drydock_store::{access_policies, commit};
use jiff::Timestamp;

use super::act::{About, Act};
use crate::Control;
use crate::access_part::{ROOT, TENANCY, split, tree_of};
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// What of a compartment to replace; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompartmentEdit {
    /// Free text.
    pub description: Option<String>,
    /// The last part of its path.
    pub name: Option<String>,
    /// Path of the compartment it moves into.
    pub parent: Option<String>,
}

impl Control {
    /// Compartments that the caller may see, by path, the tenancy first.
    pub async fn list_compartments(&self, ctx: &OpCtx) -> Result<Vec<CompartmentRecord>> {
        let scope = self.scope(ctx, "compartment.list", Permission::AccessManage).await?;
        let mut all = vec![self.tenancy()];
        all.extend(compartments::list(&mut *self.read().await?).await?);
        all.retain(|own| scope.holds_in(&own.path));
        Ok(all)
    }

    /// One compartment, by its path or its id.
    pub async fn get_compartment(&self, ctx: &OpCtx, path: &str) -> Result<CompartmentRecord> {
        let own = self.compartment_named(path).await?;
        self.may_see(ctx, "compartment.show", about(&own).asked(path)).await?;
        Ok(own)
    }

    /// Makes a compartment inside another one.
    pub async fn create_compartment(
        &self,
        ctx: &OpCtx,
        parent: &str,
        name: &str,
        description: &str,
    ) -> Result<CompartmentRecord> {
        let outer = self.compartment_path(parent).await?;
        let path = join(&outer, name);
        let begun = self.act_on(ctx, "compartment.create", About::within(&outer, format!("compartment {path}"))).await;
        let act = self.unless_unknown(ctx, &outer, parent, begun).await?;
        let made = async {
            check_text(description)?;
            let own = CompartmentRecord {
                id: CompartmentId(self.mint(ctx.now)),
                path: path.clone(),
                description: description.to_owned(),
                created_by: ctx.who.name(),
                created_at: ctx.now,
                version: 1,
            };
            let mut tx = self.begin().await?;
            let mut all = compartments::list(&mut tx).await?;
            if all.len() >= COMPARTMENTS_MAX - 1 {
                return Err(Error::conflict(format!("there are {COMPARTMENTS_MAX} compartments already; delete some")));
            }
            free(&all, &path, None)?;
            all.push(own.clone());
            tree_of(&all).map_err(|e| Error::invalid("name", e.to_string()))?;
            match compartments::insert(&mut tx, &own).await {
                Err(e) if e.is_duplicate() => return Err(Error::conflict(format!("a compartment {path} exists already"))),
                other => other?,
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(own)
        }
        .await;
        act.settle(made).await
    }

    /// Renames, moves or describes a compartment; everything in it goes along.
    pub async fn edit_compartment(
        &self,
        ctx: &OpCtx,
        path: &str,
        edit: &CompartmentEdit,
        if_match: Option<&str>,
    ) -> Result<CompartmentRecord> {
        let own = self.compartment_named(path).await?;
        let outer = match &edit.parent {
            Some(parent) => Some(self.compartment_path(parent).await?),
            None => None,
        };
        let to = new_path(&own, edit, outer.as_deref())?;
        let moves = outer.as_deref().is_some_and(|outer| outer != split(&own.path).0);
        let operation = if moves { "compartment.move" } else { "compartment.edit" };
        let called = format!("compartment {} to {to}", own.path);
        let act = self.act_on(ctx, operation, about(&own).asked(path).called(called)).await?;
        if let (true, Some(outer), Some(asked)) = (moves, &outer, &edit.parent) {
            let seen = self.may_see(ctx, "compartment.create", About::within(outer, format!("compartment {to}"))).await;
            self.unless_unknown(ctx, outer, asked, seen).await?;
        }
        let edited = self.try_edit_compartment(&own, edit, &to, if_match, &act, ctx.now).await;
        act.settle(edited).await
    }

    async fn try_edit_compartment(
        &self,
        own: &CompartmentRecord,
        edit: &CompartmentEdit,
        to: &str,
        if_match: Option<&str>,
        act: &Act<'_>,
        now: Timestamp,
    ) -> Result<CompartmentRecord> {
        let mut tx = self.begin().await?;
        let mut all = compartments::list(&mut tx).await?;
        let found = all.iter().find(|c| c.id == own.id).cloned();
        let mut own = found.ok_or_else(|| Error::NotFound(format!("compartment {}", own.path)))?;
        if if_match.is_some_and(|tag| tag != "*" && tag != own.version.to_string()) {
            let message = format!("compartment {} was changed meanwhile; read it again", own.path);
            return Err(Error::Conflict { message, stale: true });
        }
        if let Some(description) = &edit.description {
            check_text(description)?;
            if !compartments::describe(&mut tx, own.id, description, own.version).await? {
                return Err(busy(&own.path));
            }
            own.description.clone_from(description);
            own.version += 1;
        }
        if to != own.path {
            free(&all, to, Some(own.id))?;
            let before = all.clone();
            for c in all.iter_mut().filter(|c| is_below(&c.path, &own.path)) {
                c.path = format!("{to}{}", c.path.strip_prefix(&own.path).unwrap_or_default());
            }
            let rewritten = |path: &str| match path.strip_prefix(&own.path) {
                Some(rest) if is_below(path, &own.path) => format!("{to}{rest}"),
                _ => path.to_owned(),
            };
            still_placed(&mut tx, &before, &all, rewritten).await?;
            match compartments::rename(&mut tx, &own, to).await {
                Ok(true) => {}
                Ok(false) => return Err(busy(&own.path)),
                Err(e) if e.is_duplicate() => return Err(Error::conflict(format!("a compartment {to} exists already"))),
                Err(e) => return Err(e.into()),
            }
            self.rename_in_rules(&mut tx, &own.path, to, now).await?;
            own.path = to.to_owned();
            own.version += 1;
        }
        act.allowed(&mut tx).await?;
        commit(tx).await?;
        self.moved_between_compartments();
        Ok(own)
    }

    /// Deletes an empty compartment.
    pub async fn delete_compartment(&self, ctx: &OpCtx, path: &str) -> Result<()> {
        let own = self.compartment_named(path).await?;
        let act = self.act_on(ctx, "compartment.delete", about(&own).asked(path)).await?;
        let deleted = async {
            if own.path == ROOT {
                return Err(Error::conflict("the tenancy is not deleted"));
            }
            let mut tx = self.begin().await?;
            let inside = compartments::contents(&mut tx, &own.path).await?;
            if inside > 0 {
                let things = if inside == 1 { "thing lies" } else { "things lie" };
                return Err(Error::conflict(format!(
                    "{inside} {things} in {}: hosts, jobs, sources, policies, compartments …; move or delete them first",
                    own.path
                )));
            }
            let before = compartments::list(&mut tx).await?;
            let after: Vec<CompartmentRecord> = before.iter().filter(|c| c.id != own.id).cloned().collect();
            still_placed(&mut tx, &before, &after, str::to_owned).await?;
            if !compartments::delete(&mut tx, own.id, own.version).await? {
                return Err(busy(&own.path));
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await
    }

    /// Who is where has changed: what is remembered of it is forgotten.
    pub(super) fn moved_between_compartments(&self) {
        self.policies().changed();
        self.sources_moved();
        self.wake();
    }

    fn tenancy(&self) -> CompartmentRecord {
        CompartmentRecord {
            id: CompartmentId(uuid::Uuid::nil()),
            path: ROOT.to_owned(),
            description: "everything".to_owned(),
            created_by: TENANCY.to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            version: 0,
        }
    }

    async fn compartment_named(&self, written: &str) -> Result<CompartmentRecord> {
        let all = compartments::list(&mut *self.read().await?).await?;
        if let Some(own) = all.iter().find(|c| c.id.to_string() == written) {
            return Ok(own.clone());
        }
        let path = self.compartment_path(written).await?;
        if path == ROOT {
            return Ok(self.tenancy());
        }
        all.into_iter().find(|c| c.path == path).ok_or(Error::NotFound(format!("compartment {path}")))
    }
}

fn about(own: &CompartmentRecord) -> About {
    About::compartment(&own.path)
}

/// The path that an edit leads to.
fn new_path(own: &CompartmentRecord, edit: &CompartmentEdit, outer: Option<&str>) -> Result<String> {
    if own.path == ROOT {
        if edit.name.is_some() || outer.is_some() {
            return Err(Error::invalid("name", "the tenancy is neither renamed nor moved"));
        }
        return Err(Error::invalid("description", "the tenancy has none"));
    }
    let (parent, name) = split(&own.path);
    let outer = outer.unwrap_or(parent);
    if is_below(outer, &own.path) {
        return Err(Error::invalid("parent", format!("{outer} lies inside {}; a compartment does not go into itself", own.path)));
    }
    Ok(join(outer, edit.name.as_deref().unwrap_or(name)))
}

/// `/A` and `web` → `/A/web`.
pub(crate) fn join(outer: &str, name: &str) -> String {
    if outer == ROOT { format!("/{name}") } else { format!("{outer}/{name}") }
}

/// Refuses a path that another compartment has; names differ in any case.
fn free(all: &[CompartmentRecord], path: &str, but: Option<CompartmentId>) -> Result<()> {
    match all.iter().find(|own| Some(own.id) != but && own.path.eq_ignore_ascii_case(path)) {
        Some(own) => Err(Error::invalid("name", format!("is taken: there is a compartment {} already", own.path))),
        None => Ok(()),
    }
}

fn check_text(description: &str) -> Result<()> {
    let mut problems = Problems::default();
    problems.text("description", description, DESCRIPTION_MAX_BYTES);
    Ok(problems.finish()?)
}

fn busy(path: &str) -> Error {
    Error::conflict(format!("compartment {path} is being changed by somebody else; try again"))
}

/// Refuses a change of the compartments that takes the place from a statement.
async fn still_placed(
    c: &mut drydock_store::Connection,
    before: &[CompartmentRecord],
    after: &[CompartmentRecord],
    rewritten: impl Fn(&str) -> String,
) -> Result<()> {
    let stored = access_policies::list(c).await?;
    let misplaced = |compartments: &[CompartmentRecord], place: &dyn Fn(&str) -> String| -> Result<Vec<String>> {
        let (tree, ids): (Tree, HashMap<String, String>) = tree_of(compartments)?;
        let mut policies = Vec::new();
        for own in &stored {
            let path = place(&own.compartment);
            let id = ids.get(&path).cloned().unwrap_or(path);
            policies.extend(Policy::parse(&own.name, &id, &own.statements));
        }
        Ok(compile(&policies, tree).misplaced().iter().map(ToString::to_string).collect())
    };
    let already = misplaced(before, &|path| path.to_owned())?;
    let then = misplaced(after, &|path| rewritten(path))?;
    match then.into_iter().find(|m| !already.contains(m)) {
        Some(first) => {
            Err(Error::conflict(format!("a statement would lose its place. Edit that policy first. Otherwise: {first}")))
        }
        None => Ok(()),
    }
}

/// Names that no stored policy may have.
pub(crate) fn is_builtin_policy(name: &str) -> bool {
    POLICIES.iter().any(|own| own.eq_ignore_ascii_case(name))
}
