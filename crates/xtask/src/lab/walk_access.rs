//! The second half of the walk: README's five commands that let a team at its compartment and nobody else, on the host that
//! the first half patched. Then members and strangers try, the host leaves the compartment, and the audit is checked.

use anyhow::{Context as _, Result, ensure};
use drydock_testkit::lab::Host;

use super::scenario_walk::Walk;

/// The part of README.md that is walked.
pub(super) const SECTION: &str = "## Team A patches compartment A, and nobody else";

/// Who asks: a directory with what `drydock login` keeps.
struct Someone<'a> {
    host: &'a Host,
    name: &'static str,
    token: String,
    connection: String,
}

impl Someone<'_> {
    fn runs(&self, command: &str) -> Result<(bool, String)> {
        let script = format!("export HOME=/nonexistent DRYDOCK_TOKEN={}; drydock {} {command}", self.token, self.connection);
        let ran = self.host.run(&["sh", "-c", &script])?;
        Ok((ran.ok(), format!("{}{}", ran.stdout, ran.stderr)))
    }

    fn does(&self, command: &str) -> Result<String> {
        let (done, said) = self.runs(command)?;
        ensure!(done, "{} may `drydock {command}`, but:\n{said}", self.name);
        Ok(said)
    }

    fn fails(&self, command: &str, why: &str) -> Result<()> {
        let (done, said) = self.runs(command)?;
        ensure!(!done && said.contains(why), "{} may not `drydock {command}` ({why}), but:\n{said}", self.name);
        Ok(())
    }
}

/// Tries what README's commands, which were run, have set up.
pub(super) fn tried(host: &Host, walk: &Walk<'_>) -> Result<()> {
    let admin = |command: &str| host.sh(&format!("export HOME=/root; cd /root && {command}"));
    admin("drydock user create bob")?;
    let token = |name: &'static str| -> Result<String> {
        let made = admin(&format!("drydock access create --user {name} --name {name}-laptop -o json"))?;
        let made: serde_json::Value = serde_json::from_str(&made).context("access create prints JSON")?;
        Ok(made["secret"].as_str().context("it shows the secret")?.to_owned())
    };
    let connection = format!("--server https://drydock.example.com:{} --ca-fingerprint {}", walk.port, walk.fingerprint);
    let someone = |name| Ok::<_, anyhow::Error>(Someone { host, name, token: token(name)?, connection: connection.clone() });
    let (ann, bob) = (someone("ann")?, someone("bob")?);
    let name = host.hostname();

    ensure!(ann.does("instance list")?.contains(name), "ann sees the host of her compartment");
    ann.does(&format!("instance edit {name} --label team=a"))?;
    let job = ann.does(&format!("patch run --instance {name} --reboot never --name team-a --compartment /A"))?;
    ensure!(job.contains("SUCCEEDED") || job.contains("1 host"), "ann patches it:\n{job}");
    ann.fails("user list", "ann may not do user.list")?;
    bob.fails("instance list", "bob may not do instance.list")?;
    bob.fails(&format!("instance show {name}"), &format!("there is no instance {name}"))?;
    bob.fails("instance show nobody", "there is no instance nobody")?;
    let who = admin("drydock access who-can DRYDOCK_INSTANCE_PATCH /A")?;
    ensure!(who.contains("ann") && !who.contains("bob"), "who may patch in /A:\n{who}");

    admin(&format!("drydock instance move {name} --to /"))?;
    ann.fails(&format!("instance show {name}"), &format!("there is no instance {name}"))?;
    let test = admin(&format!("drydock access test --as ann DRYDOCK_INSTANCE_PATCH instance/{name}"))?;
    ensure!(test.contains("denied"), "the question is answered as a request is:\n{test}");

    asks_for_itself(host, &connection)?;

    let verified = admin(
        "drydock audit key > audit.key && drydock audit export audit.jsonl && drydock audit verify audit.jsonl --key audit.key",
    )?;
    eprintln!("  {}", verified.trim());
    let audit = host.sh("cat /root/audit.jsonl")?;
    for wanted in ["access-policy.create", "instance.move", "bob", "policy team-a, line 1"] {
        ensure!(audit.contains(wanted), "the audit says nothing of {wanted}");
    }
    let tampered = "sed -i 's/instance.move/instance.edit/' audit.jsonl && drydock audit verify audit.jsonl --key audit.key";
    let found = host.run(&["sh", "-c", &format!("cd /root && {tampered}")])?;
    ensure!(!found.ok(), "a changed record is found:\n{}{}", found.stdout, found.stderr);
    Ok(())
}

/// The host as somebody who asks: a dynamic group says what a token of its agent may, and a `deny` keeps the agent out.
fn asks_for_itself(host: &Host, connection: &str) -> Result<()> {
    let admin = |command: &str| host.sh(&format!("export HOME=/root; cd /root && {command}"));
    let name = host.hostname();
    let token = host.sh("drydock-agent token")?.trim().to_owned();
    let own = Someone { host, name: "the host", token, connection: connection.to_owned() };
    own.fails("instance list", "may not do instance.list")?;
    admin("drydock dynamic-group create Gates --rules \"label.tier = 'gate'\"")?;
    admin("drydock access policy create gates --statement 'allow dynamic-group Gates to read drydock-instances in tenancy'")?;
    admin(&format!("drydock instance edit {name} --label tier=gate"))?;
    ensure!(own.does("instance list")?.contains(name), "a member of the dynamic group sees hosts");
    own.fails(&format!("instance edit {name} --label tier=none"), "may not do instance.edit")?;

    let contact = "deny dynamic-group Gates to {OSMH_MANAGED_INSTANCE_ACCESS} in tenancy";
    admin(&format!("drydock access policy create quarantine --statement '{contact}'"))?;
    let refused = host.run(&["drydock-agent", "token"])?;
    ensure!(!refused.ok() && refused.stderr.contains("policy quarantine, line 1"), "kept out:\n{}", refused.stderr);
    admin("drydock access policy delete quarantine")?;
    host.sh("drydock-agent token").map(drop)
}
