//! `token`: an access token for programs on this host. Whoever shows it is the host; what that may do is said by the server's
//! access policies (`allow dynamic-group …`). It is printed alone, for `DRYDOCK_TOKEN=$(drydock-agent token)`.

use clap::Args;
use drydock_api::agent::v1::IssueAccessTokenRequest;

use crate::identity::Identity;
use crate::link::channel::{chain, connect, timed};
use crate::link::enrol::told;
use crate::paths::Paths;

/// Longest life, minutes.
const MINUTES_MAX: i64 = 60;

/// Arguments of `token`.
#[derive(Debug, Args)]
pub struct Token {
    /// How long it is good, 1 to 60
    #[arg(long, value_name = "MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=MINUTES_MAX))]
    minutes: u32,
}

impl Token {
    /// Asks and prints.
    pub fn run(self, paths: &Paths) -> anyhow::Result<()> {
        let identity = Identity::load(paths).map_err(|e| anyhow::anyhow!("{}", chain(&e)))?;
        println!("{}", ask(paths, &identity, self.minutes * 60)?);
        Ok(())
    }
}

fn ask(paths: &Paths, identity: &Identity, lifetime_secs: u32) -> anyhow::Result<String> {
    let target = super::target(paths, identity)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = connect(&target).await.map_err(|e| anyhow::anyhow!("{}", chain(&e)))?;
        let answer = client.issue_access_token(timed(IssueAccessTokenRequest { lifetime_secs })).await;
        let answer = answer.map_err(|status| anyhow::anyhow!("the server gives no access token: {}", told(&status)))?;
        Ok(answer.into_inner().token)
    })
}
