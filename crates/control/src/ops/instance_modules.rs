//! Module streams of a host: what its managed sources offer, and what its agent says is set.

use std::collections::BTreeMap;

use drydock_content::facts::snapshot_streams;
use drydock_domain::host_rules::HostRules;
use drydock_domain::inventory::{ManagerKind, SectionKind};
use drydock_domain::patch::modules::{HostModule, ModuleState, ModuleStatus, ModuleStream};
use drydock_store::{inventory, snapshots};
use jiff::Timestamp;

use super::parse_root;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Modules of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct ModulesView {
    /// By name.
    pub modules: Vec<HostModule>,
    /// When the host's settings last changed; absent: its agent has not told them.
    pub changed_at: Option<Timestamp>,
}

impl Control {
    /// What the managed sources of a dnf 4 host offer, and which streams are enabled or disabled there. Repositories that
    /// are not managed by this server are not seen.
    pub async fn instance_modules(&self, ctx: &OpCtx, id_or_name: &str) -> Result<ModulesView> {
        let record = self.seen_instance(ctx, "instance.modules", id_or_name).await?;
        let section = inventory::section(&mut *self.read().await?, record.id, SectionKind::Rules).await?;
        let changed_at = section.as_ref().map(|s| s.changed_at);
        let rules: HostRules = match section {
            None => HostRules::default(),
            Some(section) => serde_json::from_slice(&section.body)
                .map_err(|e| Error::Internal { doing: "read the stored rules of a host", source: Box::new(e) })?,
        };
        let os = record.os.clone().unwrap_or_default();
        let mut modules: BTreeMap<String, HostModule> = BTreeMap::new();
        if os.managers.contains(&ManagerKind::Dnf) {
            let view = self.instance_sources_view(record).await?;
            let seen =
                view.sources.iter().filter_map(|s| Some((s.name.clone(), s.host_source.as_ref().and(s.snapshot.as_ref())?.id)));
            let seen: Vec<_> = seen.collect();
            for stream in self.streams(&seen, &os.architecture).await? {
                modules.entry(stream.module.clone()).or_insert_with(|| named(&stream.module)).streams.push(stream);
            }
        }
        for set in rules.modules {
            let status = if set.enabled { ModuleStatus::Enabled } else { ModuleStatus::Disabled };
            let state = ModuleState { status, stream: set.stream, profiles: set.profiles };
            modules.entry(set.name.clone()).or_insert_with(|| named(&set.name)).state = state;
        }
        Ok(ModulesView { modules: modules.into_values().collect(), changed_at })
    }

    /// The newest build of each stream in these snapshots.
    async fn streams(&self, seen: &[(String, drydock_domain::ids::SnapshotId)], arch: &str) -> Result<Vec<ModuleStream>> {
        if seen.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = seen.iter().map(|(_, id)| *id).collect();
        let known = snapshots::find_all(&mut *self.read().await?, &ids).await?;
        let mut roots = Vec::new();
        for (name, id) in seen {
            if let Some(snapshot) = known.get(id) {
                roots.push((name.clone(), parse_root(&snapshot.root)?));
            }
        }
        let (content, arch) = (self.content_part()?.content().clone(), arch.to_owned());
        let read = move || -> Result<Vec<ModuleStream>> {
            let failed = |e| Error::Internal { doing: "read the modules of a snapshot", source: Box::new(e) };
            let mut newest: BTreeMap<(String, String), ModuleStream> = BTreeMap::new();
            for (name, root) in roots {
                for mut stream in snapshot_streams(content.objects(), &root, &arch).map_err(failed)? {
                    stream.repository.clone_from(&name);
                    let key = (stream.module.clone(), stream.stream.clone());
                    if newest.get(&key).is_none_or(|known| number(known) < number(&stream)) {
                        newest.insert(key, stream);
                    }
                }
            }
            Ok(newest.into_values().collect())
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|e| Error::Internal { doing: "read the modules of a snapshot", source: Box::new(e) })?
    }
}

fn named(module: &str) -> HostModule {
    HostModule { module: module.to_owned(), ..HostModule::default() }
}

fn number(stream: &ModuleStream) -> u64 {
    stream.version.parse().unwrap_or(0)
}
