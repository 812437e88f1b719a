//! Exceptions (vulnerabilities that are accepted on some hosts for a while) and the days that vulnerabilities have to be
//! closed in. Absent on purpose: changing what an exception is about; delete it and make another.

use std::collections::HashMap;

use drydock_domain::access::Permission;
use drydock_domain::access::scope::is_below;
use drydock_domain::advisory::exception::{Exception, ExceptionEdit, ExceptionSpec, Scope, ScopeSpec, in_force};
use drydock_domain::advisory::sla::Sla;
use drydock_domain::advisory::vulnerability_id;
use drydock_domain::ids::{ExceptionId, GroupId, InstanceId};
use drydock_store::advisory_records::ExceptionRecord;
use drydock_store::compartments::Kind;
use drydock_store::exceptions::ScopedHost;
use drydock_store::{commit, exceptions, groups, instances, settings};
use jiff::Timestamp;

use super::describe::group_named;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::fleet::standing::{SLA_SETTING, scope_of, stored_sla};

/// Exceptions of one server, count: lists of them are not paged.
const EXCEPTIONS_MAX: usize = 5000;

impl Control {
    /// Accepts a vulnerability for a while. It may be one that is open nowhere yet.
    pub async fn create_exception(&self, ctx: &OpCtx, mut spec: ExceptionSpec) -> Result<Exception> {
        spec.cve = vulnerability_id(&spec.cve);
        let cve = super::act::cut(&spec.cve, 128).to_owned();
        let asked = spec.compartment.as_deref();
        let (act, compartment) = self.act_in(ctx, "exception.create", asked, format!("exception of {cve}")).await?;
        let made = async {
            spec.validate(ctx.now)?;
            let there = exceptions::list(&mut *self.read().await?).await?.len();
            if there >= EXCEPTIONS_MAX {
                return Err(Error::conflict(format!("there are {EXCEPTIONS_MAX} exceptions already; delete some")));
            }
            let scope = self.scope_named(ctx, &spec.scope, &compartment).await?;
            let text = serde_json::to_string(&scope)
                .map_err(|e| Error::Internal { doing: "write the scope of an exception", source: Box::new(e) })?;
            let record = ExceptionRecord {
                id: ExceptionId(self.mint(ctx.now)),
                cve: spec.cve.clone(),
                scope: text.clone(),
                owner: if spec.owner.trim().is_empty() { ctx.who.name() } else { spec.owner.clone() },
                reason: spec.reason.clone(),
                created_by: ctx.who.name(),
                created_at: ctx.now,
                expires_at: Some(spec.until),
                version: 1,
                compartment,
            };
            let mut tx = self.begin().await?;
            exceptions::insert(&mut tx, &record).await?;
            act.allowed_on(&mut tx, &format!("exception {} of {cve}, {text}, until {}", record.id, spec.until)).await?;
            commit(tx).await?;
            Ok(record)
        }
        .await;
        let record = act.settle(made).await?;
        self.exception_view(ctx, record).await
    }

    /// The hosts that an exception is about; one or a group that it names has to be seen, and to lie where it reaches.
    async fn scope_named(&self, ctx: &OpCtx, named: &ScopeSpec, compartment: &str) -> Result<Scope> {
        let (scope, lies_in, what) = match named {
            ScopeSpec::All {} => return Ok(Scope::All {}),
            ScopeSpec::Label { key, value } => return Ok(Scope::Label { key: key.clone(), value: value.clone() }),
            ScopeSpec::Instance(name) => {
                self.known(ctx, "instance.list", Kind::Instance, name).await?;
                let host = self.resolve(name).await?;
                (Scope::Instance(host.id), host.compartment, format!("instance {}", host.name))
            }
            ScopeSpec::Group(name) => {
                self.known(ctx, "group.list", Kind::Group, name).await?;
                let group = group_named(&mut *self.read().await?, name).await?;
                (Scope::Group(group.id), group.compartment, format!("group {name}"))
            }
        };
        if is_below(&lies_in, compartment) {
            return Ok(scope);
        }
        Err(Error::invalid("scope", format!("names the {what}, which lies in {lies_in} and not in {compartment} or below")))
    }

    /// Exceptions, newest first; ended ones too.
    pub async fn list_exceptions(&self, ctx: &OpCtx) -> Result<Vec<Exception>> {
        let scope = self.scope(ctx, "exception.list", Permission::AdvisoryRead).await?;
        let records = exceptions::within(&mut *self.read().await?, &scope).await?;
        self.exception_views(ctx, records).await
    }

    /// One exception.
    pub async fn get_exception(&self, ctx: &OpCtx, id: &str) -> Result<Exception> {
        self.may_see(ctx, "exception.show", self.about(Kind::Exception, id).await?).await?;
        let wanted = exception_id(id)?;
        let record = exceptions::find(&mut *self.read().await?, wanted).await?.ok_or_else(|| no_exception(id))?;
        self.exception_view(ctx, record).await
    }

    /// Changes who answers for an exception, why, or until when. The audit says what it was before.
    pub async fn edit_exception(&self, ctx: &OpCtx, id: &str, edit: ExceptionEdit) -> Result<Exception> {
        let act = self.act_on(ctx, "exception.edit", self.about(Kind::Exception, id).await?).await?;
        let edited = async {
            edit.validate(ctx.now)?;
            let wanted = exception_id(id)?;
            let mut tx = self.begin().await?;
            let before = exceptions::find(&mut tx, wanted).await?.ok_or_else(|| no_exception(id))?;
            let after = ExceptionRecord {
                owner: edit.owner.unwrap_or_else(|| before.owner.clone()),
                reason: edit.reason.unwrap_or_else(|| before.reason.clone()),
                expires_at: edit.until.or(before.expires_at),
                ..before.clone()
            };
            if !exceptions::update(&mut tx, &after).await? {
                return Err(Error::conflict("the exception was changed or deleted meanwhile; look at it again"));
            }
            act.allowed_on(&mut tx, &format!("exception {id} of {}{}", before.cve, changes(&before, &after))).await?;
            commit(tx).await?;
            Ok(after)
        }
        .await;
        let record = act.settle(edited).await?;
        self.exception_view(ctx, record).await
    }

    /// Takes an exception back: what it covered counts again at once.
    pub async fn delete_exception(&self, ctx: &OpCtx, id: &str) -> Result<()> {
        let act = self.act_on(ctx, "exception.delete", self.about(Kind::Exception, id).await?).await?;
        let deleted = async {
            let wanted = exception_id(id)?;
            let mut tx = self.begin().await?;
            let record = exceptions::find(&mut tx, wanted).await?.ok_or_else(|| no_exception(id))?;
            if !exceptions::delete(&mut tx, wanted).await? {
                return Err(no_exception(id));
            }
            act.allowed_on(&mut tx, &format!("exception {} of {}", record.id, record.cve)).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await
    }

    /// Days that vulnerabilities have to be closed in.
    pub async fn vulnerability_sla(&self, ctx: &OpCtx) -> Result<Sla> {
        // Everybody's clocks are the same: whoever may read vulnerabilities somewhere may know them.
        self.scope(ctx, "sla.show", Permission::AdvisoryRead).await?;
        stored_sla(&mut *self.read().await?).await
    }

    /// Sets them: a severity that is absent has no clock.
    pub async fn set_vulnerability_sla(&self, ctx: &OpCtx, sla: Sla) -> Result<Sla> {
        let act = self.act(ctx, "sla.set", "days to close vulnerabilities in".to_owned(), Permission::AdvisoryManage).await?;
        let set = async {
            sla.validate()?;
            let body = serde_json::to_string(&sla)
                .map_err(|e| Error::Internal { doing: "write the days to close vulnerabilities in", source: Box::new(e) })?;
            let mut tx = self.begin().await?;
            settings::put(&mut tx, SLA_SETTING, &body, &ctx.who.name(), ctx.now).await?;
            act.allowed_on(&mut tx, &format!("days to close vulnerabilities in: {body}")).await?;
            commit(tx).await?;
            Ok(sla)
        }
        .await;
        act.settle(set).await
    }

    async fn exception_view(&self, ctx: &OpCtx, record: ExceptionRecord) -> Result<Exception> {
        let id = record.id;
        let made = self.exception_views(ctx, vec![record]).await?;
        made.into_iter().next().ok_or_else(|| no_exception(&id.to_string()))
    }

    async fn exception_views(&self, ctx: &OpCtx, records: Vec<ExceptionRecord>) -> Result<Vec<Exception>> {
        let seen = self.host_scope(ctx).await?;
        let mut c = self.read().await?;
        let groups: HashMap<GroupId, String> = groups::list(&mut c).await?.into_iter().map(|g| (g.id, g.name)).collect();
        let mut hosts = exceptions::hosts(&mut c).await?;
        hosts.retain(|h| seen.holds_in(&h.compartment));
        let mut views = Vec::with_capacity(records.len());
        // Counted while there is a picture of the fleet; in a server's first seconds there is none.
        for record in records {
            let scope = scope_of(&record)?;
            let until = record.expires_at.unwrap_or(Timestamp::MAX);
            let expired = !in_force(until, ctx.now);
            let covered = match self.fleet_model().await {
                Ok(model) if !expired => {
                    let open = model.engine.hosts_of_vulnerability(&record.cve);
                    let open: std::collections::HashSet<InstanceId> = open.into_iter().map(|(host, _)| host).collect();
                    let reached = |h: &&ScopedHost| is_below(&h.compartment, &record.compartment) && scope.covers(h.facts());
                    hosts.iter().filter(|h| open.contains(&h.instance)).filter(reached).count()
                }
                _ => 0,
            };
            let named = match scope {
                Scope::All {} => ScopeSpec::All {},
                Scope::Instance(id) => {
                    let host = instances::find(&mut c, id).await?.filter(|host| seen.holds_in(&host.compartment));
                    ScopeSpec::Instance(host.map_or_else(|| id.to_string(), |host| host.name))
                }
                Scope::Group(id) => ScopeSpec::Group(groups.get(&id).cloned().unwrap_or_else(|| id.to_string())),
                Scope::Label { key, value } => ScopeSpec::Label { key, value },
            };
            views.push(Exception {
                id: record.id,
                cve: record.cve,
                scope: named,
                compartment: record.compartment,
                owner: record.owner,
                reason: record.reason,
                until,
                expired,
                hosts: super::advisories::count(covered),
                created_by: record.created_by,
                created_at: record.created_at,
            });
        }
        Ok(views)
    }
}

/// What was changed of an exception, for the audit.
fn changes(before: &ExceptionRecord, after: &ExceptionRecord) -> String {
    let until = |e: &ExceptionRecord| e.expires_at.map(|at| at.to_string()).unwrap_or_default();
    let all = [
        ("owner", before.owner.clone(), after.owner.clone()),
        ("until", until(before), until(after)),
        ("reason", before.reason.clone(), after.reason.clone()),
    ];
    let changed = all.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(what, old, new)| format!(", {what} {old:?} became {new:?}")).collect()
}

fn exception_id(text: &str) -> Result<ExceptionId> {
    text.parse().map_err(|_| no_exception(text))
}

fn no_exception(id: &str) -> Error {
    Error::NotFound(format!("exception {}", super::act::cut(id, 128)))
}
