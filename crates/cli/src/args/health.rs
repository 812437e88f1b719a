//! The flags that make health checks of patch jobs and of policies.

use clap::Args;
use drydock_domain::patch::spec::ExecStepConfig;
use drydock_domain::rollout::health::{
    HealthCheck, HealthChecks, HttpCheck, HttpTarget, NoNewFailedUnits, TcpCheck, UnitCheck, WITHIN_DEFAULT_SECS,
};

use crate::text::parse_duration;

/// What must hold on each host afterwards.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Health checks")]
pub struct HealthArgs {
    /// What must hold on each host afterwards, else it fails: unit:NAME, tcp:HOST:PORT, http://… or https://…,
    /// exec:/PATH (on the hosts), no-new-failed-units; repeated: all of them (docs/health-checks.md)
    #[arg(long = "health-check", value_name = "CHECK", value_parser = check)]
    pub checks: Vec<HealthCheck>,
    /// A host must be healthy within this time; without it, within 2m
    #[arg(long = "health-within", value_name = "DURATION", value_parser = parse_duration)]
    pub within: Option<u64>,
    /// And stay healthy for this time; without it, one look is enough
    #[arg(long = "health-settle", value_name = "DURATION", value_parser = parse_duration)]
    pub settle: Option<u64>,
}

impl HealthArgs {
    /// The checks of a policy; absent: none are named.
    pub fn made(&self) -> Option<HealthChecks> {
        let secs = |given: Option<u64>, or: u32| given.map_or(or, |secs| u32::try_from(secs).unwrap_or(u32::MAX));
        let checks = self.checks.clone();
        let (settle_secs, within_secs) = (secs(self.settle, 0), secs(self.within, WITHIN_DEFAULT_SECS));
        (!checks.is_empty() || self.within.is_some() || self.settle.is_some()).then_some(HealthChecks {
            checks,
            settle_secs,
            within_secs,
        })
    }
}

fn check(text: &str) -> Result<HealthCheck, String> {
    if let Some(unit) = text.strip_prefix("unit:") {
        return Ok(HealthCheck::UnitActive(UnitCheck { unit: unit.to_owned() }));
    }
    if let Some(address) = text.strip_prefix("tcp:") {
        return Ok(HealthCheck::Tcp(TcpCheck { address: address.to_owned() }));
    }
    if let Some(path) = text.strip_prefix("exec:") {
        let config = ExecStepConfig { local_path: Some(path.to_owned()), ..ExecStepConfig::default() };
        return Ok(HealthCheck::Exec(config));
    }
    if text == "no-new-failed-units" {
        return Ok(HealthCheck::NoNewFailedUnits(NoNewFailedUnits {}));
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        HttpTarget::parse(text)?;
        return Ok(HealthCheck::Http(HttpCheck::new(text)));
    }
    Err(format!("{text:?} is no check; write unit:NAME, tcp:HOST:PORT, an http or https URL, exec:/PATH or no-new-failed-units"))
}
