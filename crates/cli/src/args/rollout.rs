//! The flags that make a rollout: waves, budgets, what halts. Absent: judging them (the server does, field by field).

use std::path::PathBuf;

use clap::Args;
use drydock_domain::patch::spec::Concurrency;
use drydock_domain::rollout::Wave;
use drydock_domain::rollout::written::wave;

use super::spec::concurrency;
use crate::text::parse_duration;

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
