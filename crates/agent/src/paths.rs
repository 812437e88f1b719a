//! Where the agent keeps its things. Every path can be moved, for tests and for hosts with several agents.

use std::path::{Path, PathBuf};

/// All places the agent writes to.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The host whose package manager is served.
    pub root: PathBuf,
    /// agent.toml.
    pub config: PathBuf,
    /// Keys, certificates, ledger, runs.
    pub state: PathBuf,
    /// Local status socket.
    pub socket: PathBuf,
    /// Log file.
    pub log: PathBuf,
}

impl Paths {
    /// The standard places below `root` (`/`).
    pub fn below(root: &Path) -> Self {
        Paths {
            root: root.to_owned(),
            config: root.join("etc/drydock-agent/agent.toml"),
            state: root.join("var/lib/drydock-agent"),
            socket: root.join("run/drydock-agent/agent.sock"),
            log: root.join("var/log/drydock-agent/agent.log"),
        }
    }

    /// Private key.
    pub fn key(&self) -> PathBuf {
        self.state.join("key.pem")
    }

    /// Certificate chain.
    pub fn cert(&self) -> PathBuf {
        self.state.join("cert.pem")
    }

    /// Key of a renewal under way.
    pub fn next_key(&self) -> PathBuf {
        self.state.join("next-key.pem")
    }

    /// Certificate of a renewal under way.
    pub fn next_cert(&self) -> PathBuf {
        self.state.join("next-cert.pem")
    }

    /// The only trusted root.
    pub fn ca(&self) -> PathBuf {
        self.state.join("ca.pem")
    }

    /// Public key that signs work orders.
    pub fn work_key(&self) -> PathBuf {
        self.state.join("work.key.pub")
    }

    /// Who we are.
    pub fn instance(&self) -> PathBuf {
        self.state.join("instance")
    }

    /// One file per task.
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger")
    }

    /// The host's software sources: document, journal, certificate, report.
    pub fn sources(&self) -> PathBuf {
        self.state.join("sources")
    }

    /// The host's policies: document, results, the keeper's own.
    pub fn policies(&self) -> PathBuf {
        self.state.join("policies")
    }

    /// Commands under way.
    pub fn runs(&self) -> PathBuf {
        self.state.join("run")
    }
}
