//! The flags that make a rollout: waves, budgets, what halts. Absent: judging them (the server does, field by field).

use std::path::PathBuf;

use clap::Args;
use drydock_domain::patch::filter::{GroupLabel, InstanceFilter};
use drydock_domain::patch::spec::Concurrency;
use drydock_domain::rollout::{Detect, Gate, Wave, WaveSize};

use super::spec::concurrency;
use crate::text::{parse_duration, parse_pair};

/// In which order, in what waves, within which budget.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Rollout")]
pub struct RolloutArgs {
    /// The rollout as YAML or JSON (docs/rollouts.md); a flag may add to it, never change what it says
    #[arg(long, value_name = "FILE")]
    pub rollout: Option<PathBuf>,
    /// A wave, in order: NAME=ITEM,… such as canary=1,bake=10m or ring1=20%,zone=eu-1,approval; repeated: the next wave.
    /// Items: N or N% (how many), detect=30%@99.9% (enough to meet a bad update), cover (every system and role once);
    /// whom: zone=, group=, host=, label=KEY=VALUE, filter=… (last); then bake=10m, approval, webhook=URL. Hosts that no
    /// wave takes are the last one
    #[arg(long = "wave", value_name = "NAME=ITEM,…", value_parser = wave)]
    pub waves: Vec<Wave>,
    /// One zone after the other, the smallest first; without it, all at once
    #[arg(long)]
    pub zone_by_zone: bool,
    /// Hosts disrupted at once in each zone: a number, or a share such as 10%; all jobs count, failed hosts keep their place
    #[arg(long, value_name = "N|N%", value_parser = concurrency)]
    pub budget: Option<Concurrency>,
    /// Halt the job when so many hosts of a wave have failed; without it 1 where there are waves
    #[arg(long, value_name = "N|N%", value_parser = concurrency)]
    pub halt_after: Option<Concurrency>,
    /// When the job halts, the hosts of the failed wave get back what they had
    #[arg(long)]
    pub undo_failed_wave: bool,
    /// Another person must approve the job before its first host (drydock patch approve)
    #[arg(long)]
    pub require_approval: bool,
    /// Maintenance windows and freezes do not count, for this reason (it is in the audit)
    #[arg(long, value_name = "REASON")]
    pub ignore_windows: Option<String>,
    /// A host that is off may come back within this time of the job's begin, such as 2d; later waves do not wait for it
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub late_hosts: Option<u64>,
    /// Later waves take the newest versions, not those that the first wave planned
    #[arg(long)]
    pub newest_content: bool,
    /// Which hosts shares take follows from this number; without it, it is drawn
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// Reads `canary=1,bake=10m`.
fn wave(text: &str) -> Result<Wave, String> {
    let (name, items) = text.split_once('=').unwrap_or((text, ""));
    if items.is_empty() && text.contains('=') {
        // A forgotten number would let every host go in this wave.
        return Err(format!(
            "nothing stands behind the = of {text:?}; write {name}=1, or {name} alone for every host that is left"
        ));
    }
    let mut wave = Wave { name: name.to_owned(), ..Wave::default() };
    let mut rest = items;
    while !rest.is_empty() {
        let (item, after) = match rest.strip_prefix("filter=") {
            Some(_) => (rest, ""),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        rest = after;
        take(&mut wave, item)?;
    }
    Ok(wave)
}

fn take(wave: &mut Wave, item: &str) -> Result<(), String> {
    let gate = |wave: &mut Wave| wave.gate.take().unwrap_or_default();
    let (key, value) = item.split_once('=').unwrap_or((item, ""));
    match key {
        "cover" => wave.cover_kinds = true,
        "approval" => wave.gate = Some(Gate { approval: true, ..gate(wave) }),
        "webhook" => wave.gate = Some(Gate { webhook: Some(value.to_owned()), ..gate(wave) }),
        "bake" => wave.bake_secs = parse_duration(value)?,
        "detect" => wave.size = Some(WaveSize::Detect(detect(value)?)),
        "zone" | "group" | "host" | "label" | "filter" => {
            let mut select = wave.select.take().unwrap_or_default();
            choose(&mut select, key, value)?;
            wave.select = Some(select);
        }
        _ => {
            let size = concurrency(item).map_err(|_| {
                format!(
                    "{item:?} is no item of a wave; write N, N%, detect=30%@99.9%, cover, zone=, group=, host=, label=, \
                     filter=, bake=10m, approval or webhook=URL"
                )
            })?;
            wave.size = Some(match size {
                Concurrency::Fixed(n) => WaveSize::Fixed(n),
                Concurrency::Percent(p) => WaveSize::Percent(p),
            });
        }
    }
    Ok(())
}

fn choose(select: &mut InstanceFilter, key: &str, value: &str) -> Result<(), String> {
    let value = value.to_owned();
    match key {
        "zone" => select.zones.push(value),
        "group" => select.groups.push(value),
        "host" => select.instances.push(value),
        "label" => {
            let (key, value) = parse_pair(&value)?;
            if select.group_labels.is_empty() {
                select.group_labels.push(GroupLabel::default());
            }
            if let Some(group) = select.group_labels.first_mut() {
                group.labels.insert(key, value);
            }
        }
        _ => select.query = Some(value),
    }
    Ok(())
}

/// `30%@99.9%`.
fn detect(text: &str) -> Result<Detect, String> {
    let wrong = || format!("{text:?} is not such as 30%@99.9%: the share of hosts that would fail, and how sure to meet one");
    let (share, sure) = text.split_once('@').ok_or_else(wrong)?;
    let share = share.strip_suffix('%').and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
    let sure = sure.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, tenth) = sure.split_once('.').unwrap_or((sure, "0"));
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let tenth: u32 = if tenth.len() == 1 { tenth.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    let confidence_permille = whole.checked_mul(10).and_then(|n| n.checked_add(tenth)).ok_or_else(wrong)?;
    Ok(Detect { failure_percent: share, confidence_permille })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_read_item_by_item() {
        let read = |text: &str| serde_json::to_value(wave(text).expect(text)).expect("JSON");
        assert_eq!(read("canary=1,bake=10m"), serde_json::json!({"name": "canary", "size": {"fixed": 1}, "bakeSecs": 600}));
        assert_eq!(
            read("first=detect=30%@99.9%,cover,approval,webhook=https://gates.example.org/x"),
            serde_json::json!({"name": "first", "size": {"detect": {"failurePercent": 30, "confidencePermille": 999}},
                "coverKinds": true, "gate": {"approval": true, "webhook": "https://gates.example.org/x"}})
        );
        let chosen =
            wave("ring1=20%,zone=a,zone=b,label=ring=1,label=env=prod,group=g,host=h,filter=os = x, or y").expect("read");
        let select = chosen.select.expect("a choice");
        assert_eq!(select.zones, ["a", "b"]);
        assert_eq!((select.groups, select.instances), (vec!["g".to_owned()], vec!["h".to_owned()]));
        assert_eq!(select.group_labels[0].labels.len(), 2);
        assert_eq!(select.query.as_deref(), Some("os = x, or y"));
        assert_eq!(read("others"), serde_json::json!({"name": "others"}));
        for bad in ["a=many", "a=bake=soon", "a=detect=30", "a=detect=30%@99.99%", "a=label=x", "a=,1", "a="] {
            wave(bad).expect_err(bad);
        }
    }
}
