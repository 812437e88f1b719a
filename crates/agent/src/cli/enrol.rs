//! `enrol`: key, request, certificate, configuration, unit. May be interrupted and repeated at any point: the key is
//! made once, and by it the server knows the host.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use drydock_domain::ids::InstanceId;
use jiff::Timestamp;

use crate::config::Config;
use crate::identity::{self, Identity, InstanceFile, Issued};
use crate::inventory::collect::Collector;
use crate::link::address::{Proxy, ServerAddress};
use crate::link::backoff::{Backoff, random};
use crate::link::channel::{Target, chain};
use crate::link::enrol::{Answer, ask};
use crate::link::tls;
use crate::paths::Paths;
use crate::unit::{self, Started};

/// Arguments of `enrol`.
#[derive(Debug, Args)]
pub struct Enrol {
    /// The server, for example https://drydock.example:8443
    #[arg(long, env = "DRYDOCK_AGENT_SERVER", value_name = "URL")]
    server: String,
    /// Enrolment token (dde_…)
    #[arg(long, env = "DRYDOCK_AGENT_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: String,
    /// SHA-256 of the server's CA certificate; `drydock enrolment create` prints it
    #[arg(long, env = "DRYDOCK_AGENT_CA_FINGERPRINT", value_name = "HEX", value_parser = identity::parse_fingerprint)]
    ca_fingerprint: String,
    /// HTTP proxy, for example http://proxy.example:3128; default: https_proxy of the environment
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Take dry runs only: nothing on this host is ever changed by the server
    #[arg(long)]
    read_only: bool,
    /// Do not install and start the service
    #[arg(long)]
    no_start: bool,
}

impl Enrol {
    /// Enrols.
    pub fn run(self, paths: &Paths) -> anyhow::Result<()> {
        let server = ServerAddress::parse(&self.server).map_err(anyhow::Error::msg)?;
        let url = format!("https://{}", server.authority());
        if let Ok(known) = Identity::load(paths) {
            if known.instance.server != url {
                bail!(
                    "this host belongs to {} as instance {}; run `drydock-agent unregister` first",
                    known.instance.server,
                    known.instance.instance_id
                );
            }
            if known.not_after > Timestamp::now() {
                println!("This host is already enrolled at {url} as instance {}.", known.instance.instance_id);
                self.configure(paths, &url)?;
                return self.start(paths, known.instance);
            }
            println!("The certificate of this host has expired; enrolling it again.");
        }
        let (instance, issued) = self.obtain(paths, &server)?;
        let file =
            InstanceFile { instance_id: instance, server: url.clone(), enrolled_at: Timestamp::now(), unit_installed: false };
        let issued = Issued { certificate_pem: &issued.certificate_pem, ca_pem: &issued.ca_pem, work_key: &issued.work_key };
        self.configure(paths, &url)?;
        identity::store_enrolment(paths, &file, &issued)?;
        Identity::load(paths).context("what the server sent cannot be used")?;
        println!("Enrolled at {url} as instance {instance}.");
        self.start(paths, file)
    }

    /// Writes the configuration; settings a person has changed stay.
    fn configure(&self, paths: &Paths, url: &str) -> anyhow::Result<()> {
        let mut config = if paths.config.exists() { Config::read(&paths.config)? } else { Config::default() };
        url.clone_into(&mut config.server);
        config.read_only |= self.read_only;
        if self.proxy.is_some() {
            config.proxy.clone_from(&self.proxy);
        } else if config.proxy.is_none() {
            // The daemon does not see this shell's environment.
            config.proxy = ["https_proxy", "HTTPS_PROXY"].iter().find_map(|k| std::env::var(k).ok()).filter(|v| !v.is_empty());
            let server = ServerAddress::parse(url).map_err(anyhow::Error::msg)?;
            if Proxy::choose(None, &server, |k| std::env::var(k).ok()).map_err(anyhow::Error::msg)?.is_none() {
                config.proxy = None;
            }
        }
        config.write(&paths.config)
    }

    fn obtain(
        &self,
        paths: &Paths,
        server: &ServerAddress,
    ) -> anyhow::Result<(InstanceId, drydock_api::agent::v1::EnrolResponse)> {
        let proxy = Proxy::choose(self.proxy.as_deref(), server, |k| std::env::var(k).ok()).map_err(anyhow::Error::msg)?;
        let target = Target { server: server.clone(), proxy, tls: tls::pinned(&self.ca_fingerprint)? };
        let key = identity::key_or_new(&paths.key())?;
        let csr = identity::request(&key).context("cannot make the certificate request")?;
        let mut facts = Collector::new(Path::new("/")).os();
        // In a container the unit's sandbox shows another boot id than this process sees: the running agent tells it,
        // or the history of the host would begin with a reboot that never was.
        facts.boot_id.clear();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut backoff = Backoff::default();
            let mut told_pending = false;
            loop {
                match ask(&target, &self.token, csr.clone(), &facts).await {
                    Ok(Answer::Active { instance, response }) => return Ok((instance, response)),
                    Ok(Answer::Pending { instance, message, retry }) => {
                        if !told_pending {
                            tell_pending(&instance, &message);
                            told_pending = true;
                        }
                        backoff.reset();
                        tokio::time::sleep(retry).await;
                    }
                    Err(e) if e.is_final() => bail!("{}", chain(&e)),
                    Err(e) => {
                        let pause: Duration = backoff.next(random());
                        eprintln!(
                            "{}; next try in {:.0} s (Ctrl-C ends this; it can be repeated)",
                            chain(&e),
                            pause.as_secs_f64()
                        );
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        })
    }

    fn start(&self, paths: &Paths, mut instance: InstanceFile) -> anyhow::Result<()> {
        if self.no_start {
            println!("Not started (--no-start). Start it with `systemctl enable --now drydock-agent` or `drydock-agent run`.");
            return Ok(());
        }
        match unit::enable()? {
            Started::Running { installed } => {
                if installed && !instance.unit_installed {
                    instance.unit_installed = true;
                    let text = serde_json::to_vec(&instance)?;
                    crate::platform::write_durably(&paths.instance(), &text, 0o600)?;
                }
                println!("The agent is running; `drydock-agent status` shows its connection.");
            }
            Started::ByHand(how) => println!("Not started: {how}."),
        }
        Ok(())
    }
}

fn tell_pending(instance: &str, message: &str) {
    let why = if message.is_empty() { "waits for a person to let it in" } else { message };
    println!("Not managed yet: {}.", why.trim_end_matches('.'));
    println!("  An administrator runs:  drydock instance accept {instance}");
    println!("  or accepts it in the console. Ctrl-C ends the waiting; the same command takes it up again.");
}
