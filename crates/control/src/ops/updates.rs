//! Updates of a host as this server decides them, for hosts that see its sources. What a host says itself stays the truth
//! for hosts that see none.

use std::collections::BTreeMap;

use drydock_domain::advisory::{AdvisoryKind, Severity};
use drydock_domain::applicability::HostUpdate;
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{Update, UpdateKind};

use crate::Control;

/// The server's answer.
pub(super) struct ServerUpdates {
    /// Sorted by name.
    pub(super) updates: Vec<Update>,
    /// Number of the snapshot that the host sees of each source.
    pub(super) snapshots: BTreeMap<String, u32>,
}

impl Control {
    /// What the server says of a host's updates; `None`: the host's own word counts.
    pub(super) async fn server_updates(&self, host: InstanceId) -> Option<ServerUpdates> {
        let model = self.fleet_model().await.ok()?;
        let seen = model.hosts.get(&host).filter(|seen| !seen.views.is_empty())?;
        let report = model.engine.host(host)?;
        let number = |view: &drydock_domain::applicability::facts::View| {
            let root = model.roots.get(&view.root)?;
            Some((view.source.clone(), root.number))
        };
        let snapshots = seen.views.iter().filter_map(number).collect();
        let mut updates: Vec<Update> = report.updates.into_iter().map(update).collect();
        updates.sort_unstable();
        Some(ServerUpdates { updates, snapshots })
    }
}

fn update(update: HostUpdate) -> Update {
    Update {
        name: update.name,
        arch: if update.to_arch.is_empty() { update.arch } else { update.to_arch },
        from: update.from,
        to: update.to,
        repository: format!("drydock-{}", update.source),
        kind: match update.kind {
            AdvisoryKind::Security => UpdateKind::Security,
            AdvisoryKind::Bugfix => UpdateKind::Bugfix,
            AdvisoryKind::Enhancement => UpdateKind::Enhancement,
            AdvisoryKind::Other => UpdateKind::Unknown,
        },
        advisories: update.advisories,
        severity: match update.severity {
            Severity::Unknown => String::new(),
            Severity::Negligible => "Negligible".to_owned(),
            Severity::Low => "Low".to_owned(),
            Severity::Moderate => "Moderate".to_owned(),
            Severity::Important => "Important".to_owned(),
            Severity::Critical => "Critical".to_owned(),
        },
        held: update.held,
    }
}
