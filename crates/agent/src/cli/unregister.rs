//! `unregister`: tells the server, stops the service, gives the host's repository definitions back, removes every file
//! the agent made. Nothing is left but the package itself. May be killed anywhere and repeated.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use drydock_api::agent::v1::UnregisterRequest;

use crate::identity::{Identity, IdentityError, InstanceFile};
use crate::ledger::Ledger;
use crate::link::channel::{chain, connect, timed};
use crate::link::enrol::told;
use crate::paths::Paths;
use crate::task::machine::State;
use crate::unit;

/// Arguments of `unregister`.
#[derive(Debug, Args)]
pub struct Unregister {
    /// Remove everything here even if the server cannot be told or a task is under way
    #[arg(long)]
    force: bool,
}

impl Unregister {
    /// Leaves.
    pub fn run(self, paths: &Paths) -> anyhow::Result<()> {
        let identity = match Identity::load(paths) {
            Ok(identity) => Some(identity),
            Err(e) => {
                if !self.force && !matches!(e, IdentityError::Missing { .. }) {
                    anyhow::bail!("{}; --force removes what is here", chain(&e));
                }
                None
            }
        };
        if !self.force && task_under_way(paths) {
            anyhow::bail!("a patch task is under way (`drydock-agent status`); wait for its end, or use --force");
        }
        if let Some(identity) = identity {
            match tell(paths, &identity) {
                Ok(None) => println!("The server has removed instance {}.", identity.instance.instance_id),
                Ok(Some(said)) => println!("The server did not accept this instance any more: {said}"),
                Err(e) if self.force => println!(
                    "The server was not told ({e:#}). Remove it there: drydock instance delete {}",
                    identity.instance.instance_id
                ),
                Err(e) => {
                    return Err(e.context("the server was not told, nothing was removed; --force removes everything here anyway"));
                }
            }
        }
        let installed = std::fs::read(paths.instance())
            .ok()
            .and_then(|bytes| serde_json::from_slice::<InstanceFile>(&bytes).ok())
            .is_some_and(|f| f.unit_installed);
        if is_standard(paths) {
            unit::disable(installed)?;
        }
        // Nobody may go on changing the host by what is about to be removed.
        crate::policy::ward::stop(paths)?;
        if crate::policy::site::Files::of(paths).document().exists() {
            println!("This host is not kept by policies any more; what they brought stays.");
        }
        // Before the state directory goes: what gives the host back is in it.
        let given_back = crate::sources::site::give_back(paths)?;
        for line in &given_back.lines {
            println!("{line}");
        }
        remove(paths)?;
        drop(given_back);
        println!("Every file of the agent was removed.");
        Ok(())
    }
}

/// The service belongs to the standard places; an agent elsewhere (a test) must not stop it.
fn is_standard(paths: &Paths) -> bool {
    paths.state == Paths::below(Path::new("/")).state
}

fn task_under_way(paths: &Paths) -> bool {
    let at_work = |state: &State| !state.is_finished() && !matches!(state, State::Wait { .. });
    paths.ledger().is_dir() && Ledger::open(&paths.ledger()).is_ok_and(|l| l.entries().any(|e| at_work(&e.state)))
}

/// Tells the server; `Some` = it does not accept this instance any more, in its words.
fn tell(paths: &Paths, identity: &Identity) -> anyhow::Result<Option<String>> {
    let target = super::target(paths, identity)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = connect(&target).await.map_err(|e| anyhow::anyhow!("{}", chain(&e)))?;
        match client.unregister(timed(UnregisterRequest {})).await {
            Ok(_) => Ok(None),
            // Revoked or deleted there: as good as told.
            Err(s)
                if matches!(s.code(), tonic::Code::NotFound | tonic::Code::PermissionDenied | tonic::Code::Unauthenticated) =>
            {
                Ok(Some(told(&s)))
            }
            Err(s) => anyhow::bail!("{}", told(&s)),
        }
    })
}

/// Removes the agent's own files and then its directories, these only when nothing else is in them.
fn remove(paths: &Paths) -> anyhow::Result<()> {
    if paths.state.exists() {
        std::fs::remove_dir_all(&paths.state).with_context(|| format!("cannot remove {}", paths.state.display()))?;
    }
    let logs = [paths.log.clone(), crate::policy::keeper::log_file(paths)];
    let rotated = logs.clone().map(|log| {
        let mut name = log.into_os_string();
        name.push(".1");
        std::path::PathBuf::from(name)
    });
    let files = [&paths.config, &paths.socket].into_iter().chain(&logs).chain(&rotated);
    for file in files {
        match std::fs::remove_file(file) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("cannot remove {}", file.display())),
        }
        if let Some(dir) = file.parent().filter(|d| d.file_name().is_some_and(|n| n == "drydock-agent")) {
            // Somebody else's file in it keeps it: not ours to remove.
            let _ = std::fs::remove_dir(dir);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind_and_nothing_foreign_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = Paths::below(dir.path());
        for file in [
            &paths.config,
            &paths.socket,
            &paths.log,
            &crate::policy::keeper::log_file(&paths),
            &paths.key(),
            &paths.ledger().join("x.task"),
        ] {
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            std::fs::write(file, "x").expect("written");
        }
        std::fs::write(dir.path().join("etc/drydock-agent/foreign"), "x").expect("written");
        remove(&paths).expect("removed");
        remove(&paths).expect("again");
        let left: Vec<_> = walk(dir.path());
        assert_eq!(left, ["etc/drydock-agent/foreign"]);
        assert!(!dir.path().join("var/lib/drydock-agent").exists() && !dir.path().join("run/drydock-agent").exists());
    }

    fn walk(root: &Path) -> Vec<String> {
        let mut dirs = vec![root.to_owned()];
        let mut files = Vec::new();
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).expect("listed").flatten() {
                if entry.path().is_dir() {
                    dirs.push(entry.path());
                } else {
                    files.push(entry.path().strip_prefix(root).expect("below").display().to_string());
                }
            }
        }
        files
    }
}
