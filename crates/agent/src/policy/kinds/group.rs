//! A local group, by groupadd, groupmod and groupdel. Who is in it is said by users.

use drydock_domain::policy::additive::{Existence, GroupResource};

use super::user::Before;
use super::{accounts, command, evidence, note};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// The resource.
pub struct GroupKind {
    spec: GroupResource,
}

impl GroupKind {
    /// From the document.
    pub fn new(spec: &GroupResource) -> Self {
        GroupKind { spec: spec.clone() }
    }

    fn now(&self, cx: &Cx<'_>) -> Result<Option<u32>, Failure> {
        Ok(accounts::groups(cx.root)?.into_iter().find(|g| g.name == self.spec.name).map(|g| g.gid))
    }
}

fn told(gid: Option<u32>) -> String {
    gid.map_or_else(|| "absent".to_owned(), |gid| format!("gid {gid}"))
}

impl Kind for GroupKind {
    fn validate(&mut self, _cx: &Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let now = self.now(cx)?;
        let want = self.spec.gid;
        let (what, new) = match (now, self.spec.state) {
            (None, Existence::Absent) => return Ok(Found::Compliant),
            (Some(gid), Existence::Present) if want.is_none_or(|w| w == gid) => return Ok(Found::Compliant),
            (None, Existence::Present) => ("absent".to_owned(), "present".to_owned()),
            (Some(_), Existence::Absent) => ("present".to_owned(), "absent".to_owned()),
            (Some(gid), Existence::Present) => (format!("gid {gid} instead of {}", want.unwrap_or(gid)), told(want)),
        };
        Ok(Found::NonCompliant { what, evidence: evidence::state(told(now), new) })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let (name, now) = (self.spec.name.as_str(), self.now(cx)?);
        note::remember_first(cx, || Ok(Before { made: now.is_none() }))?;
        let gid = self.spec.gid.map(|g| g.to_string());
        let mut args: Vec<&str> = gid.iter().flat_map(|g| ["-g", g.as_str()]).collect();
        let what = match (now, self.spec.state) {
            (None, Existence::Absent) => "gone already",
            (Some(_), Existence::Absent) => {
                command::run(cx, "groupdel", &[name])?;
                "removed"
            }
            (None, Existence::Present) => {
                args.extend(self.spec.system.then_some("-r"));
                args.push(name);
                command::run(cx, "groupadd", &args)?;
                "made"
            }
            (Some(_), Existence::Present) => {
                args.push(name);
                command::run(cx, "groupmod", &args)?;
                "changed"
            }
        };
        let evidence = evidence::state(told(now), told(self.now(cx)?));
        Ok(Done { what: what.to_owned(), evidence, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let made = note::recall::<Before>(cx)?.is_some_and(|b| b.made);
        let what = match (made, self.now(cx)?) {
            (false, _) => "left as it is: the policy did not make it",
            (true, None) => "gone already",
            (true, Some(_)) => {
                command::run(cx, "groupdel", &[&self.spec.name])?;
                "removed"
            }
        };
        Ok(Done { what: what.to_owned(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Path("/etc/group".into())]
    }
}
