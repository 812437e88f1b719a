//! Tries a package manager by hand, for example inside a lab root: prints JSON.
//!
//! With `DRYDOCK_RECORD=FILE` the commands and what they printed are written there, as a chain for tests.
//!
//! `pkgmgr-probe detect|installed|broken|refresh|updates|modules|repair|reboot|watch`, `pkgmgr-probe plan [PATCH-CONFIG-JSON]`,
//! `pkgmgr-probe apply [PATCH-CONFIG-JSON | @PLAN-FILE]` (plans, applies, verifies; changes the host).

use std::path::Path;
use std::process::ExitCode;

use drydock_domain::inventory::PackageSet;
use drydock_domain::patch::report::Plan;
use drydock_pkgmgr::run::{Runner, SystemRunner};
use drydock_pkgmgr::testing::Recorder;
use drydock_pkgmgr::{Backend, PackageManager, PkgError, detect, verify_with};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runner = Recorder::new(SystemRunner::new());
    let managers = detect(Path::new("/"), &SystemRunner::new());
    let mut code = ExitCode::SUCCESS;
    for backend in managers {
        let verb = args.first().map_or("detect", String::as_str);
        let shown = run(&backend, &runner, verb, args.get(1).map_or("{}", String::as_str)).unwrap_or_else(|e| {
            code = ExitCode::FAILURE;
            json!({"error": chain(e.as_ref())})
        });
        println!("{shown:#}");
    }
    if let (Ok(path), Ok(chain)) = (std::env::var("DRYDOCK_RECORD"), runner.to_json())
        && let Err(e) = std::fs::write(&path, chain)
    {
        eprintln!("{path}: {e}");
    }
    code
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn run(backend: &Backend, runner: &dyn Runner, verb: &str, argument: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let installed = || -> Result<PackageSet, PkgError> { Ok(PackageSet::new(backend.installed(runner)?)) };
    Ok(match verb {
        "installed" => json!(installed()?),
        "broken" => json!(backend.broken(runner)?.iter().map(|b| format!("{} {}", b.package.name, b.state)).collect::<Vec<_>>()),
        "refresh" => json!(backend.refresh(runner)?),
        "modules" => {
            let modules = backend.modules(runner)?;
            json!({"streams": modules.streams, "states": modules.states})
        }
        "updates" => json!(backend.updates(runner)?),
        "watch" => json!(backend.watch_paths()),
        "repair" => {
            let report = backend.repair(runner)?;
            json!({"needed": report.needed, "message": report.message, "output": report.output})
        }
        "reboot" => json!(backend.reboot_hint(runner, booted_at()?)?),
        "plan" => json!(backend.plan(runner, &serde_json::from_str(argument)?)?),
        "download" => {
            let outcome = backend.download(runner, &backend.plan(runner, &serde_json::from_str(argument)?)?)?;
            json!({"success": outcome.success, "message": outcome.message, "output": outcome.output})
        }
        "apply" => {
            let plan: Plan = match argument.strip_prefix('@') {
                Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
                None => backend.plan(runner, &serde_json::from_str(argument)?)?,
            };
            let before = installed()?;
            let outcome = backend.apply(runner, &plan)?;
            let (after, broken) = (installed()?, backend.broken(runner)?);
            json!({
                "success": outcome.success,
                "message": outcome.message,
                "exit": format!("{:?}", outcome.exit),
                "failed": outcome.failed_packages,
                "rebootSuggested": outcome.reboot_suggested,
                "output": outcome.output,
                "packages": verify_with(&plan, &before, &after, &broken, &outcome.failed_packages),
                "modules": backend.verify_modules(&plan)?,
            })
        }
        _ => json!({"manager": backend.kind()}),
    })
}

/// When process 1 of this host or container started.
fn booted_at() -> Result<jiff::Timestamp, Box<dyn std::error::Error>> {
    let modified = std::fs::metadata("/proc/1")?.modified()?;
    Ok(jiff::Timestamp::try_from(modified)?)
}
