//! Services that still run files an upgrade has replaced: a mapped library or program whose file is deleted, and the
//! systemd unit of the process that maps it. Reads /proc only; every loop is bounded.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Processes looked at: more would cost seconds on hosts that have them.
const PROCESSES_MAX: usize = 20_000;
/// Read of one `maps` file, bytes: a process with millions of mappings shows its libraries early.
const MAPS_MAX_BYTES: u64 = 2 * 1024 * 1024;
/// Only files below these belong to packages; a deleted file in /tmp or /memfd is normal.
const PACKAGED: [&str; 7] = ["/usr/", "/lib/", "/lib64/", "/lib32/", "/bin/", "/sbin/", "/opt/"];

/// Units that run replaced files; sorted.
pub fn services(proc_dir: &Path) -> Vec<String> {
    let mut units = BTreeSet::new();
    let processes = fs::read_dir(proc_dir).into_iter().flatten().flatten();
    let numbered = processes.filter(|e| e.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    for entry in numbered.take(PROCESSES_MAX) {
        let dir = entry.path();
        let Some(unit) = fs::read_to_string(dir.join("cgroup")).ok().and_then(|t| unit_of(&t)) else { continue };
        if !units.contains(&unit) && File::open(dir.join("maps")).is_ok_and(|f| maps_replaced(f.take(MAPS_MAX_BYTES))) {
            units.insert(unit);
        }
    }
    units.into_iter().collect()
}

/// Does a `maps` file show executable code of a deleted packaged file?
fn maps_replaced(maps: impl Read) -> bool {
    let mut reader = BufReader::with_capacity(16 * 1024, maps);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        let Some(text) = line.strip_suffix(b" (deleted)\n") else { continue };
        let Ok(text) = std::str::from_utf8(text) else { continue };
        let executable = text.split_ascii_whitespace().nth(1).is_some_and(|p| p.contains('x'));
        let path = text.find('/').map_or("", |at| &text[at..]);
        if executable && PACKAGED.iter().any(|p| path.starts_with(p)) {
            return true;
        }
    }
}

/// The service unit in `/proc/PID/cgroup`: version 2 (`0::/…`) or systemd's own version 1 hierarchy.
fn unit_of(text: &str) -> Option<String> {
    let path = text.lines().find_map(|l| {
        let mut parts = l.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        (controllers.is_empty() || controllers == "name=systemd").then_some(path)
    })?;
    // Below user@1000.service a user's own manager runs units we do not name.
    path.split('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLACED: &str = "7f0000-7f1000 r--p 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n\
        7f1000-7f2000 r-xp 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n";
    const NORMAL: &str = "7f1000-7f2000 r-xp 00000000 08:01 1 /usr/lib/libc.so.6\n\
        7f3000-7f4000 rwxp 00000000 00:01 9 /memfd:jit (deleted)\n\
        7f3000-7f4000 r--p 00000000 00:01 9 /usr/share/x (deleted)\n\
        7f5000-7f6000 r-xp 00000000 08:01 3 /tmp/.x1 (deleted)\n";

    #[test]
    fn only_replaced_packaged_code_counts() {
        assert!(maps_replaced(REPLACED.as_bytes()));
        assert!(!maps_replaced(NORMAL.as_bytes()));
    }

    #[test]
    fn units_come_from_both_cgroup_versions() {
        assert_eq!(unit_of("0::/system.slice/ssh.service\n").as_deref(), Some("ssh.service"));
        assert_eq!(unit_of("3:cpu:/\n1:name=systemd:/system.slice/cron.service\n").as_deref(), Some("cron.service"));
        assert_eq!(unit_of("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service").as_deref(), Some("user@0.service"));
        assert_eq!(unit_of("0::/user.slice/user-0.slice/session-3.scope\n"), None);
    }

    #[test]
    fn a_service_with_a_replaced_library_is_named_once() {
        let dir = tempfile::tempdir().expect("a directory");
        for (pid, unit, maps) in [
            ("1", "init.scope", REPLACED),
            ("7", "ssh.service", REPLACED),
            ("8", "ssh.service", REPLACED),
            ("9", "cron.service", NORMAL),
        ] {
            let p = dir.path().join(pid);
            fs::create_dir(&p).expect("a process");
            fs::write(p.join("cgroup"), format!("0::/system.slice/{unit}\n")).expect("cgroup");
            fs::write(p.join("maps"), maps).expect("maps");
        }
        fs::create_dir(dir.path().join("self")).expect("not a process");
        assert_eq!(services(dir.path()), ["ssh.service"]);
    }
}
