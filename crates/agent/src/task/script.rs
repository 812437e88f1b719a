//! The command of an operator's step: where the script is written, what interprets it, what environment it gets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use drydock_domain::ids::{JobId, TaskId};
use drydock_domain::limits::STEP_TIME_LIMIT_DEFAULT_SECS;
use drydock_domain::patch::report::StepKind;
use drydock_domain::patch::spec::{ExecStepConfig, Interpreter};
use drydock_pkgmgr::run::CommandSpec;

use crate::platform;

/// Builds the command; an inline script is written to `dir`, which only root may enter.
///
/// An inline script is never executed itself but given to its interpreter, so that a state directory mounted noexec
/// does no harm.
pub fn command(dir: &Path, step: StepKind, config: &ExecStepConfig, job: JobId, task: TaskId) -> Result<CommandSpec, String> {
    let name = label(step);
    let own = [("DRYDOCK_JOB", job.to_string()), ("DRYDOCK_TASK", task.to_string()), ("DRYDOCK_STEP", name.to_owned())];
    built(dir, name, config, own)
}

/// The same of any name, with this in its environment besides what the operator wrote.
pub fn built<const N: usize>(
    dir: &Path,
    name: &'static str,
    config: &ExecStepConfig,
    own: [(&str, String); N],
) -> Result<CommandSpec, String> {
    let limit = config.time_limit_secs.unwrap_or(STEP_TIME_LIMIT_DEFAULT_SECS);
    let (program, mut args) = match (&config.script, &config.local_path) {
        (Some(script), _) => {
            let file = write(dir, script).map_err(|e| format!("the script cannot be written to {}: {e}", dir.display()))?;
            match config.interpreter {
                Interpreter::Shell => ("/bin/sh".to_owned(), vec![text(&file)]),
                Interpreter::None => {
                    let (program, args) = shebang(script).ok_or("the script has no #! line and no interpreter is set")?;
                    (program, args.into_iter().chain([text(&file)]).collect())
                }
                Interpreter::Powershell => return Err("POWERSHELL is for Windows hosts".to_owned()),
            }
        }
        (None, Some(path)) => match config.interpreter {
            Interpreter::Shell => ("/bin/sh".to_owned(), vec![path.clone()]),
            Interpreter::None => (path.clone(), Vec::new()),
            Interpreter::Powershell => return Err("POWERSHELL is for Windows hosts".to_owned()),
        },
        (None, None) => return Err("the step names neither a script nor a path".to_owned()),
    };
    if let Some(path) = &config.local_path
        && config.script.is_none()
        && !Path::new(path).exists()
    {
        return Err(format!("{path} does not exist on this host"));
    }
    args.extend(config.args.iter().cloned());
    let mut command = CommandSpec::new(program, name, Duration::from_secs(u64::from(limit))).args(args).mutating();
    for (key, value) in &config.env {
        command = command.env(key, value);
    }
    // Last, so that nobody can fake them.
    for (key, value) in own {
        command = command.env(key, value);
    }
    Ok(command)
}

fn label(step: StepKind) -> &'static str {
    match step {
        StepKind::PreStep => "pre-step",
        StepKind::Health => "health-check",
        _ => "post-step",
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn write(dir: &Path, script: &str) -> std::io::Result<PathBuf> {
    platform::private_dir(dir)?;
    let file = dir.join("script");
    platform::write_durably(&file, script.as_bytes(), 0o700)?;
    Ok(file)
}

/// Interpreter and its one argument, as the kernel reads them.
fn shebang(script: &str) -> Option<(String, Vec<String>)> {
    let line = script.strip_prefix("#!")?.lines().next()?.trim();
    let (program, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let rest = rest.trim();
    (!program.is_empty()).then(|| (program.to_owned(), (!rest.is_empty()).then(|| rest.to_owned()).into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn build(dir: &Path, config: &ExecStepConfig) -> Result<CommandSpec, String> {
        command(dir, StepKind::PreStep, config, JobId(Uuid::nil()), TaskId(Uuid::nil()))
    }

    #[test]
    fn inline_scripts_go_to_their_interpreter() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("p");
        let script = |text: &str, interpreter| ExecStepConfig {
            script: Some(text.into()),
            interpreter,
            args: vec!["x y".into()],
            ..Default::default()
        };
        let file = place.join("script").to_string_lossy().into_owned();
        let c = build(&place, &script("#!/usr/bin/env -S python3 -u\nprint(1)", Interpreter::None)).expect("built");
        assert_eq!(
            (c.program.as_str(), &c.args[..]),
            ("/usr/bin/env", &["-S python3 -u".to_owned(), file.clone(), "x y".to_owned()][..])
        );
        let c = build(&place, &script("true", Interpreter::Shell)).expect("built");
        assert_eq!((c.program.as_str(), &c.args[..]), ("/bin/sh", &[file, "x y".to_owned()][..]));
        assert!(c.mutates && c.time_limit == Duration::from_secs(600));
        assert!(build(&place, &script("true", Interpreter::None)).is_err());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&place).expect("made").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_environment_says_where_it_runs_and_cannot_be_faked() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = ExecStepConfig { local_path: Some("/bin/true".into()), ..Default::default() };
        config.env.insert("DRYDOCK_STEP".into(), "fake".into());
        let c = build(dir.path(), &config).expect("built");
        assert_eq!(c.env.iter().rfind(|(k, _)| k == "DRYDOCK_STEP").map(|(_, v)| v.as_str()), Some("pre-step"));
        config.local_path = Some("/no/such/file".into());
        assert!(build(dir.path(), &config).expect_err("refused").contains("does not exist"));
    }
}
