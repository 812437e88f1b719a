//! Bills of materials of hosts, and how vulnerabilities stand there, as CycloneDX.

use drydock_domain::bom::{self, Host};
use drydock_domain::inventory::{PackageSet, SectionKind};
use drydock_store::inventory;
use drydock_store::records::InstanceRecord;
use jiff::Timestamp;
use serde_json::Value;

use super::vulnerabilities::open_on;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Version of the tool that documents name.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Control {
    /// What is installed on a host.
    pub async fn instance_sbom(&self, ctx: &OpCtx, id_or_name: &str) -> Result<Value> {
        let record = self.seen_instance(ctx, "instance.sbom", id_or_name).await?;
        let (packages, changed_at) = self.installed(&record).await?;
        let os = record.os.clone().unwrap_or_default();
        let host = Host::new(record.id, &record.name, &os, &packages, changed_at);
        Ok(bom::sbom(&host, VERSION))
    }

    /// How vulnerabilities stand on a host.
    pub async fn instance_vex(&self, ctx: &OpCtx, id_or_name: &str) -> Result<Value> {
        let record = self.seen_instance(ctx, "instance.vex", id_or_name).await?;
        let (packages, changed_at) = self.installed(&record).await?;
        let standing = self.fleet_standing(ctx.now).await?;
        let model = self.fleet_model().await?;
        let open = open_on(&model, &standing, record.id).ok_or_else(|| no_inventory(&record))?;
        let settled = model.engine.settled(record.id);
        drop(model);
        let os = record.os.clone().unwrap_or_default();
        let host = Host::new(record.id, &record.name, &os, &packages, changed_at);
        Ok(bom::vex(&host, &open, &settled, ctx.now, VERSION))
    }

    async fn installed(&self, record: &InstanceRecord) -> Result<(PackageSet, Timestamp)> {
        let section = inventory::section(&mut *self.read().await?, record.id, SectionKind::Packages).await?;
        let section = section.ok_or_else(|| no_inventory(record))?;
        let packages = serde_json::from_slice(&section.body)
            .map_err(|e| Error::Internal { doing: "read a stored inventory section", source: Box::new(e) })?;
        Ok((packages, section.changed_at))
    }
}

fn no_inventory(record: &InstanceRecord) -> Error {
    Error::NotFound(format!("inventory of {} yet", record.name))
}
