//! `cargo xtask release agent`: the agent as it is shipped, and the proof that it runs on old hosts.
//!
//! Built for glibc 2.17 (Oracle Linux 7, SLES 12, Debian 8 and later). The proof is the symbol table: no symbol asks
//! for a newer glibc. Absent: packages (deb, rpm) and other architectures.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{setup, sh};

/// Oldest glibc the shipped agent runs on.
const GLIBC_FLOOR: (u32, u32) = (2, 17);
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the agent and checks its symbols. Returns the binary's path.
pub fn agent() -> Result<PathBuf> {
    let zigbuild = setup::cross_linker()?;
    let bin = zigbuild.parent().context("the cross linker has no directory")?.to_path_buf();
    let (major, minor) = GLIBC_FLOOR;
    let target = format!("{TARGET}.{major}.{minor}");
    let build = sh::command(
        &zigbuild,
        [
            "zigbuild",
            "--locked",
            "--profile",
            "agent",
            "--package",
            "drydock-agent",
            "--bin",
            "drydock-agent",
            "--target",
            &target,
        ],
    );
    // cargo-zigbuild looks for the Python module of the linker by PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut build = sh::without_cargo_run(build);
    build.env("PATH", std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)))?);
    sh::run(build)?;
    let binary = target_dir()?.join(TARGET).join("agent/drydock-agent");
    let newest = newest_glibc(&binary)?;
    if newest > GLIBC_FLOOR {
        bail!("{} asks for glibc {}.{}; it must run on {major}.{minor}", binary.display(), newest.0, newest.1);
    }
    let mib = binary.metadata()?.len() as f64 / (1024.0 * 1024.0);
    eprintln!("{}: {mib:.1} MiB, newest glibc symbol {}.{}", binary.display(), newest.0, newest.1);
    Ok(binary)
}

/// Where cargo puts its output.
pub fn target_dir() -> Result<PathBuf> {
    let metadata = sh::output(sh::cargo(["metadata", "--format-version", "1", "--no-deps", "--offline"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cannot read cargo metadata")?;
    let dir = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(dir))
}

/// The newest glibc version that any dynamic symbol asks for.
fn newest_glibc(binary: &Path) -> Result<(u32, u32)> {
    let table = sh::output(sh::command("objdump", ["-T".as_ref(), binary.as_os_str()]))?;
    newest_in_table(&table).with_context(|| format!("{} has no glibc symbols; is it the right binary?", binary.display()))
}

fn newest_in_table(table: &str) -> Option<(u32, u32)> {
    let versions = table.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let mut numbers = rest[..end].split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides() {
        let table = "0000 DF *UND* 0000 (GLIBC_2.2.5) malloc\n0000 DF *UND* 0000 (GLIBC_2.34) pthread_create\n0000 DF *UND* 0000 (GLIBC_2.9) pipe2\n";
        assert_eq!(newest_in_table(table), Some((2, 34)));
        assert_eq!(newest_in_table("no symbols"), None);
    }
}
