//! What an order says of soak: which versions this server has known for long enough.

use std::collections::BTreeSet;

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::{ManagerKind, PackageSet, SectionKind, UpdateSet};
use drydock_domain::patch::soak::{OrderSoak, SOAKED_MAX};
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::version::Scheme;
use drydock_store::{instances, inventory, seen};
use jiff::Timestamp;

use super::inventory::stored;
use crate::Control;
use crate::error::Result;

/// Architectures of packages that fit every host.
const ANY_ARCH: [&str; 2] = ["all", "noarch"];

impl Control {
    /// The soak of an order to this host; `None`: its settings ask for none.
    pub(super) async fn order_soak(
        &self,
        instance: InstanceId,
        config: &PatchConfig,
        now: Timestamp,
    ) -> Result<Option<OrderSoak>> {
        if config.soak_days == 0 {
            return Ok(None);
        }
        let mut c = self.read().await?;
        let os = instances::find(&mut c, instance).await?.and_then(|i| i.os);
        let is_deb = os.is_some_and(|os| os.managers.first() == Some(&ManagerKind::Apt));
        let installed = match inventory::section(&mut c, instance, SectionKind::Packages).await? {
            Some(section) => stored::<PackageSet>(&section.body)?.into_vec(),
            None => Vec::new(),
        };
        let offered = match inventory::section(&mut c, instance, SectionKind::Updates).await? {
            Some(section) => stored::<UpdateSet>(&section.body)?.updates,
            None => Vec::new(),
        };
        // An update may have another name than what it replaces.
        let names: BTreeSet<&String> = installed.iter().map(|p| &p.name).chain(offered.iter().map(|u| &u.name)).collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let mut sightings = seen::of_names(&mut c, &names).await?;
        let arches: BTreeSet<&str> = installed.iter().map(|p| p.arch.as_str()).chain(ANY_ARCH).collect();
        let new = seen::fresh(&mut c, SOAKED_MAX).await?;
        sightings.extend(new.into_iter().filter(|s| arches.contains(s.version.arch.as_str())));
        let scheme = if is_deb { Scheme::Deb } else { Scheme::Rpm };
        Ok(Some(OrderSoak::of(config, sightings, &installed, scheme, now)))
    }
}
