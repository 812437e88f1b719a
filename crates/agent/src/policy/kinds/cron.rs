//! A file in /etc/cron.d. cron reads it by itself; a host without cron says so.

use drydock_domain::policy::additive::CronResource;

use super::accounts;
use super::evidence::has_secret;
use super::managed::{self, Managed};
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// Where cron programs are.
const DAEMONS: [&str; 5] = ["usr/sbin/cron", "usr/sbin/crond", "usr/sbin/anacron", "usr/bin/cronie", "usr/sbin/fcron"];
/// cron's own directory.
const DIRECTORY: &str = "/etc/cron.d";

/// The resource.
pub struct CronKind {
    spec: CronResource,
}

impl CronKind {
    /// From the document.
    pub fn new(spec: &CronResource) -> Self {
        CronKind { spec: spec.clone() }
    }

    fn path(&self) -> String {
        format!("{DIRECTORY}/{}", self.spec.name)
    }

    fn file(&self, cx: &Cx<'_>) -> Result<Managed, Failure> {
        let spec = &self.spec;
        let mut text = "# Managed by Drydock\n".to_owned();
        for (name, value) in &spec.environment {
            text.push_str(&format!("{name}={}\n", cx.secrets.reveal(value)?));
        }
        text.push_str(&format!("{} {} {}\n", spec.schedule, spec.user, cx.secrets.reveal(&spec.command)?));
        let secret = has_secret(&spec.command) || spec.environment.values().any(|v| has_secret(v));
        Ok(Managed::text(self.path(), text).secret(secret))
    }
}

impl Kind for CronKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        self.file(cx).map(drop)
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        Ok(match self.file(cx)?.differs(cx)? {
            None => Found::Compliant,
            Some((what, evidence)) => Found::NonCompliant { what, evidence },
        })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        if !DAEMONS.iter().any(|d| cx.root.join(d).exists()) {
            return Err(Failure::of("this host has no cron; install it (cron, cronie), or use a timer resource"));
        }
        accounts::uid(cx, &self.spec.user)?;
        let evidence = self.file(cx)?.write(cx)?;
        Ok(Done { what: "written".to_owned(), evidence, ..Done::default() })
    }

    fn remove(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let was_there = managed::remove(cx, &self.path())?;
        let what = if was_there { "removed" } else { "gone already" };
        Ok(Done { what: what.to_owned(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Path(self.path().into())]
    }
}
