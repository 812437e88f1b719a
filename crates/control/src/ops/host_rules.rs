//! What a host itself says of which updates it takes, and where it stands: its group and its environment by name.

use std::collections::HashMap;

use drydock_domain::host_rules::HostRules;
use drydock_domain::ids::{EnvironmentId, GroupId};
use drydock_domain::inventory::SectionKind;
use drydock_store::records::InstanceRecord;
use drydock_store::{environments, groups, inventory};
use jiff::Timestamp;

use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::{InstanceView, RulesView};

/// Names of groups and environments: a handful to some hundred, read together.
pub(super) struct Places {
    groups: HashMap<GroupId, String>,
    environments: HashMap<EnvironmentId, String>,
}

impl Control {
    /// Holds, locks, excludes, pins and module streams of a host, as its agent read them.
    pub async fn instance_rules(&self, ctx: &OpCtx, id_or_name: &str) -> Result<RulesView> {
        let record = self.seen_instance(ctx, "instance.rules", id_or_name).await?;
        let section = inventory::section(&mut *self.read().await?, record.id, SectionKind::Rules).await?;
        let section = section.ok_or_else(|| {
            Error::NotFound(format!(
                "rules of {} (its agent has not reported them yet, or is older than this server)",
                record.name
            ))
        })?;
        let rules: HostRules = serde_json::from_slice(&section.body)
            .map_err(|e| Error::Internal { doing: "read the stored rules of a host", source: Box::new(e) })?;
        let managers = record.os.map(|os| os.managers).unwrap_or_default();
        Ok(RulesView { changed_at: section.changed_at, managers, rules })
    }

    pub(super) async fn places(&self) -> Result<Places> {
        let mut c = self.read().await?;
        let groups = groups::list(&mut c).await?.into_iter().map(|g| (g.id, g.name)).collect();
        let environments = environments::list(&mut c).await?.into_iter().map(|e| (e.id, e.spec.name)).collect();
        Ok(Places { groups, environments })
    }

    pub(super) fn view(&self, record: InstanceRecord, places: &Places, now: Timestamp) -> InstanceView {
        let last_seen = self.last_seen(record.id, record.last_seen);
        InstanceView {
            reachability: self.reachability(record.id, last_seen, now),
            last_seen,
            group: record.group.and_then(|id| places.groups.get(&id).cloned()),
            environment: record.place().and_then(|id| places.environments.get(&id).cloned()),
            record,
        }
    }

    /// One row as people see it.
    pub(super) async fn viewed(&self, record: InstanceRecord, now: Timestamp) -> Result<InstanceView> {
        Ok(self.view(record, &self.places().await?, now))
    }
}
