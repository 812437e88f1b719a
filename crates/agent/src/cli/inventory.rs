//! `inventory`: the sections as they would be reported, and what reading them costs.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use drydock_domain::inventory::{PackageSet, SectionKind};

use crate::inventory::collect::Collector;
use crate::platform;

/// Arguments of `inventory`.
#[derive(Debug, Args)]
pub struct ShowInventory {
    /// Only this section: os, packages, updates, health or rules
    #[arg(long, value_name = "SECTION", value_parser = parse_section)]
    section: Option<SectionKind>,
    /// Read the sections and print what that cost, as one line of JSON
    #[arg(long, hide_short_help = true)]
    bench_json: bool,
}

fn parse_section(text: &str) -> Result<SectionKind, String> {
    SectionKind::parse(text).ok_or_else(|| "must be os, packages, updates, health or rules".to_owned())
}

impl ShowInventory {
    /// Prints.
    pub fn run(self) -> anyhow::Result<()> {
        let collector = Collector::new(Path::new("/"));
        if self.bench_json {
            println!("{}", bench(&collector, self.section)?);
            return Ok(());
        }
        let kinds = self.section.map_or_else(|| SectionKind::ALL.to_vec(), |k| vec![k]);
        let mut all = serde_json::Map::new();
        for kind in kinds {
            let body = collector.section(kind)?.body;
            all.insert(kind.as_str().to_owned(), serde_json::from_slice(&body)?);
        }
        let shown = match self.section.and_then(|k| all.remove(k.as_str())) {
            Some(one) => one,
            None => serde_json::Value::Object(all),
        };
        println!("{}", serde_json::to_string_pretty(&shown)?);
        Ok(())
    }
}

/// Without a section: os, packages, health and rules, which is what a periodic inventory always reads.
fn bench(collector: &Collector, section: Option<SectionKind>) -> anyhow::Result<serde_json::Value> {
    let kinds = section
        .map_or_else(|| vec![SectionKind::Os, SectionKind::Packages, SectionKind::Health, SectionKind::Rules], |k| vec![k]);
    let (cpu, wall) = (platform::cpu_time(), Instant::now());
    let (mut bytes, mut packages) = (0, 0);
    for kind in &kinds {
        let section = collector.section(*kind)?;
        bytes += section.body.len();
        if *kind == SectionKind::Packages {
            packages = serde_json::from_slice::<PackageSet>(&section.body)?.as_slice().len();
        }
    }
    Ok(serde_json::json!({
        "bench": "inventory",
        "sections": kinds.iter().map(|k| k.as_str()).collect::<Vec<_>>(),
        "cpu_ms": (platform::cpu_time() - cpu).as_secs_f64() * 1000.0,
        "wall_ms": wall.elapsed().as_secs_f64() * 1000.0,
        "packages": packages,
        "bytes": bytes,
    }))
}
