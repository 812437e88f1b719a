//! Mending what a killed apt or dpkg left: `dpkg --configure -a`, then `apt-get --fix-broken install` where that
//! removes nothing.

use drydock_domain::patch::report::Output;

use super::{Apt, Database, install, simulate, update};
use crate::error::PkgError;
use crate::exec::{LOCK_WAIT_LIMIT, REPAIR_TIME_LIMIT, SOLVE_TIME_LIMIT, complete, last_words, run, run_waiting};
use crate::manager::{PackageManager, RepairReport};
use crate::run::{CommandSpec, Runner};

/// Configures everything that is unpacked.
fn configure() -> CommandSpec {
    CommandSpec::new("dpkg", "dpkg --configure -a", REPAIR_TIME_LIMIT)
        .args(install::CONFFILE_OPTIONS)
        .args(["--configure", "-a"])
        .mutating()
}

/// `apt-get check`: exit code 100 when dependencies are broken or dpkg was interrupted.
fn check() -> CommandSpec {
    CommandSpec::new("apt-get", "apt-get check", SOLVE_TIME_LIMIT).args(["check", "-q", "-o", "Debug::NoLocking=1"])
}

fn fix_simulation() -> CommandSpec {
    CommandSpec::new("apt-get", "apt-get --simulate --fix-broken install", SOLVE_TIME_LIMIT).args([
        "--simulate",
        "-q",
        "-o",
        "Debug::NoLocking=1",
        "--fix-broken",
        "install",
    ])
}

fn fix() -> CommandSpec {
    let mut spec = CommandSpec::new("apt-get", "apt-get --fix-broken install", REPAIR_TIME_LIMIT).args([
        "-y",
        "-q",
        "--no-remove",
        "--fix-broken",
        "-o",
        "APT::Color=0",
        "-o",
        "Dpkg::Use-Pty=0",
    ]);
    spec = spec.args(["-o".to_owned(), format!("DPkg::Lock::Timeout={}", LOCK_WAIT_LIMIT.as_secs())]);
    for option in install::CONFFILE_OPTIONS {
        spec = spec.args(["-o".to_owned(), format!("Dpkg::Options::={option}")]);
    }
    spec.args(["install"]).mutating()
}

pub(super) fn repair(apt: &Apt, runner: &dyn Runner) -> Result<RepairReport, PkgError> {
    let broken = Database::read(runner)?.broken();
    // dpkg keeps what an interrupted run had not yet written into its status file here.
    let interrupted = std::fs::read_dir(apt.root.join("var/lib/dpkg/updates"))
        .is_ok_and(|dir| dir.flatten().any(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())));
    let mut report = RepairReport { message: "nothing to mend".to_owned(), ..Default::default() };
    if !broken.is_empty() || interrupted {
        report.needed = true;
        let finished = run_waiting(runner, &configure(), update::locked)?;
        report.output = finished.output();
        let names: Vec<&str> = broken.iter().map(|b| b.package.name.as_str()).collect();
        report.message = if finished.success() {
            format!("dpkg --configure -a finished an interrupted run ({})", names.join(", "))
        } else {
            format!("dpkg --configure -a failed ({}): {}", finished.describe_end(), last_words(&finished))
        };
    }
    if !run(runner, &check())?.success() {
        report.needed = true;
        fix_dependencies(runner, &mut report)?;
    }
    let left = apt.broken(runner)?;
    if report.needed && !left.is_empty() {
        let left: Vec<String> = left.iter().map(|b| format!("{} ({})", b.package.name, b.state)).collect();
        report.message.push_str(&format!("; still broken: {}", left.join(", ")));
    }
    Ok(report)
}

/// Lets apt complete broken dependencies, unless that would remove a package: that decision is a person's.
fn fix_dependencies(runner: &dyn Runner, report: &mut RepairReport) -> Result<(), PkgError> {
    let spec = fix_simulation();
    let finished = run(runner, &spec)?;
    let parsed = simulate::parse(&complete(&spec, &finished)?);
    let said = match parsed {
        Ok(simulation) if finished.success() && simulation.remove.is_empty() => {
            let finished = run_waiting(runner, &fix(), update::locked)?;
            report.output = joined(&report.output, &finished.output());
            if finished.success() {
                "apt-get --fix-broken install completed broken dependencies".to_owned()
            } else {
                format!("apt-get --fix-broken install failed ({}): {}", finished.describe_end(), last_words(&finished))
            }
        }
        Ok(simulation) if finished.success() => {
            let names: Vec<&str> = simulation.remove.iter().map(|r| r.name.as_str()).collect();
            format!("broken dependencies are left alone, because apt would remove {}", names.join(", "))
        }
        _ => format!("apt cannot mend the broken dependencies: {}", last_words(&finished)),
    };
    report.message = if report.output == Output::default() { said } else { format!("{}; {said}", report.message) };
    Ok(())
}

pub(super) fn joined(a: &Output, b: &Output) -> Output {
    Output {
        head: format!("{}{}", a.head, b.head),
        tail: format!("{}{}", a.tail, b.tail),
        dropped_bytes: a.dropped_bytes + b.dropped_bytes,
    }
}
