//! A local user, by useradd, usermod and userdel. What the resource does not say is left alone; a home directory is never removed.
//!
//! Absent: passwords and keys (files and lines do those), users of a directory server.

use drydock_domain::policy::additive::{Existence, UserResource};
use serde::{Deserialize, Serialize};

use super::accounts::{self, Group, User};
use super::{command, evidence, note};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// Where local accounts are.
pub const ACCOUNT_FILES: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// The resource.
pub struct UserKind {
    spec: UserResource,
}

/// Was the account there before the first change?
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Before {
    /// We made it.
    pub made: bool,
}

impl UserKind {
    /// From the document.
    pub fn new(spec: &UserResource) -> Self {
        UserKind { spec: spec.clone() }
    }

    fn now(&self, cx: &Cx<'_>) -> Result<Option<User>, Failure> {
        Ok(accounts::users(cx.root)?.into_iter().find(|u| u.name == self.spec.name))
    }

    /// What differs: the words for people, and the arguments of usermod that mend it.
    fn differences(&self, now: &User, groups: &[Group]) -> (Vec<String>, Vec<String>) {
        let spec = &self.spec;
        let (mut told, mut args) = (Vec::new(), Vec::new());
        let mut one = |what: &str, option: &str, now: &str, want: Option<&str>| {
            if let Some(want) = want.filter(|w| *w != now) {
                told.push(format!("{what} {now} instead of {want}"));
                args.extend([option.to_owned(), want.to_owned()]);
            }
        };
        let group = groups.iter().find(|g| g.gid == now.gid).map_or_else(|| now.gid.to_string(), |g| g.name.clone());
        one("uid", "-u", &now.uid.to_string(), spec.uid.map(|u| u.to_string()).as_deref());
        one("group", "-g", &group, spec.group.as_deref());
        one("home", "-d", &now.home, spec.home.as_deref());
        one("shell", "-s", &now.shell, spec.shell.as_deref());
        if let Some(want) = &spec.groups {
            let is_member = |g: &&Group| g.members.contains(&spec.name) && g.gid != now.gid;
            let mut has: Vec<&str> = groups.iter().filter(is_member).map(|g| g.name.as_str()).collect();
            // The first group counts as had whether or not it is also listed.
            let first = spec.group.as_deref().unwrap_or(&group);
            let mut want: Vec<&str> = want.iter().map(String::as_str).filter(|g| *g != first).collect();
            has.sort_unstable();
            want.sort_unstable();
            want.dedup();
            if has != want {
                told.push(format!("groups {} instead of {}", listed(&has), listed(&want)));
                args.extend(["-G".to_owned(), want.join(",")]);
            }
        }
        (told, args)
    }

    fn create(&self, cx: &Cx<'_>) -> Result<(), Failure> {
        let spec = &self.spec;
        let mut args: Vec<String> = Vec::new();
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                args.extend([name.to_owned(), value]);
            }
        };
        option("-u", spec.uid.map(|u| u.to_string()));
        // useradd refuses where a group of the user's name is there already and is not named.
        let own_group = accounts::groups(cx.root)?.into_iter().find(|g| g.name == spec.name).map(|g| g.name);
        option("-g", spec.group.clone().or(own_group));
        option("-G", spec.groups.as_ref().filter(|g| !g.is_empty()).map(|g| g.join(",")));
        option("-d", spec.home.clone());
        option("-s", spec.shell.clone());
        args.push(if spec.system { "-M" } else { "-m" }.to_owned());
        if spec.system {
            args.push("-r".to_owned());
        }
        args.push(spec.name.clone());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        command::run(cx, "useradd", &args).map(drop)
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

fn told(user: Option<&User>) -> String {
    user.map_or_else(|| "absent".to_owned(), |u| format!("{}:{}:{}:{}:{}", u.name, u.uid, u.gid, u.home, u.shell))
}

impl Kind for UserKind {
    fn validate(&mut self, _cx: &Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let now = self.now(cx)?;
        let wanted = self.spec.state == Existence::Present;
        match &now {
            None if wanted => {
                Ok(Found::NonCompliant { what: "absent".to_owned(), evidence: evidence::state("absent", "present") })
            }
            Some(user) if !wanted => {
                Ok(Found::NonCompliant { what: "present".to_owned(), evidence: evidence::state(told(Some(user)), "absent") })
            }
            None => Ok(Found::Compliant),
            Some(user) => {
                let (differs, _) = self.differences(user, &accounts::groups(cx.root)?);
                if differs.is_empty() {
                    return Ok(Found::Compliant);
                }
                let what = differs.join(", ");
                Ok(Found::NonCompliant { evidence: evidence::state(told(now.as_ref()), what.clone()), what })
            }
        }
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let now = self.now(cx)?;
        note::remember_first(cx, || Ok(Before { made: now.is_none() }))?;
        let what = match (&now, self.spec.state) {
            (Some(_), Existence::Absent) => {
                command::run(cx, "userdel", &[&self.spec.name])?;
                "removed; its home directory stays"
            }
            (None, Existence::Absent) => "gone already",
            (None, Existence::Present) => {
                self.create(cx)?;
                "made"
            }
            (Some(user), Existence::Present) => {
                let (_, mut args) = self.differences(user, &accounts::groups(cx.root)?);
                args.push(self.spec.name.clone());
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                command::run(cx, "usermod", &args)?;
                "changed"
            }
        };
        let evidence = evidence::state(told(now.as_ref()), told(self.now(cx)?.as_ref()));
        Ok(Done { what: what.to_owned(), evidence, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let made = note::recall::<Before>(cx)?.is_some_and(|b| b.made);
        let what = match (made, self.now(cx)?) {
            (false, _) => "left as it is: the policy did not make it",
            (true, None) => "gone already",
            (true, Some(_)) => {
                command::run(cx, "userdel", &[&self.spec.name])?;
                "removed; its home directory stays"
            }
        };
        Ok(Done { what: what.to_owned(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        ACCOUNT_FILES.iter().map(|f| Watch::Path(f.into())).collect()
    }
}
