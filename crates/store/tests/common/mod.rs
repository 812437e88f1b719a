//! A PostgreSQL cluster of this test's own: made with `initdb`, on a free loopback port, gone with the test.
//!
//! Machines without PostgreSQL skip (and say so); under `CI=true` a missing PostgreSQL is a failure.

// Each suite uses its part of this.
#![allow(missing_docs, dead_code)]

pub mod rows;
pub mod sources;
pub mod suite;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Seconds the server may take to start.
const START_WITHIN_SECS: &str = "60";

pub struct Cluster {
    bin: PathBuf,
    port: u16,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts one, or says why there is none.
    pub fn start() -> Result<Cluster, String> {
        let bin = newest_bin().ok_or("PostgreSQL is not installed (/usr/lib/postgresql/*/bin/initdb)")?;
        let dir = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
        if is_root() {
            // PostgreSQL refuses to run as root; its own user needs the directory.
            run(Command::new("chown").arg("postgres").arg(dir.path()))?;
        }
        let probe = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
        let port = probe.local_addr().map_err(|e| format!("no free port: {e}"))?.port();
        drop(probe);
        let cluster = Cluster { bin, port, dir };
        let data = cluster.data();
        run(cluster
            .command("initdb")
            .args(["-U", "postgres", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8", "-D"])
            .arg(&data))?;
        let settings = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off");
        let log = cluster.dir.path().join("log");
        run(cluster
            .command("pg_ctl")
            .args(["start", "-w", "-t", START_WITHIN_SECS, "-o", &settings, "-l"])
            .arg(log)
            .arg("-D")
            .arg(&data))?;
        Ok(cluster)
    }

    /// Makes a database and returns its URL.
    pub fn database(&self, name: &str) -> String {
        let port = self.port.to_string();
        run(self.command("createdb").args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", name])).expect("a database");
        format!("postgres://postgres@127.0.0.1:{port}/{name}?sslmode=disable")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.dir.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        if let Err(e) = run(self.command("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(data)) {
            eprintln!("the PostgreSQL of this test may still run: {e}");
        }
    }
}

fn newest_bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.filter_map(|entry| entry.ok().map(|e| e.path().join("bin")));
    bins.filter(|bin| bin.join("initdb").exists()).max_by_key(|bin| version(bin))
}

fn version(bin: &Path) -> u32 {
    bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()).and_then(|name| name.parse().ok()).unwrap_or(0)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|out| out.stdout == b"0\n")
}

fn run(command: &mut Command) -> Result<(), String> {
    // The started server must not hold this process's pipes open: its output goes to its log.
    let shown = format!("{command:?}");
    let Output { status, stderr, .. } = {
        let file = tempfile::tempfile().map_err(|e| format!("{shown}: {e}"))?;
        let out = file.try_clone().map_err(|e| format!("{shown}: {e}"))?;
        let status = command.stdout(out).stderr(file.try_clone().map_err(|e| e.to_string())?).status();
        let mut file = file;
        let mut stderr = Vec::new();
        use std::io::{Read, Seek};
        file.rewind().and_then(|()| file.read_to_end(&mut stderr)).map_err(|e| format!("{shown}: {e}"))?;
        Output { status: status.map_err(|e| format!("{shown}: {e}"))?, stdout: Vec::new(), stderr }
    };
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}: {}", String::from_utf8_lossy(&stderr))) }
}
