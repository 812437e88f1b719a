//! Resources that no host of this system can have: googet, msi, goo, PowerShell. Nothing is done about them.

use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};

/// Says why it is not for this host.
#[derive(Debug)]
pub struct Foreign {
    why: String,
}

impl Foreign {
    /// For this reason.
    pub fn new(why: impl Into<String>) -> Self {
        Foreign { why: why.into() }
    }
}

impl Kind for Foreign {
    fn validate(&mut self, _cx: &Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&mut self, _cx: &Cx<'_>) -> Result<Found, Failure> {
        Ok(Found::NotApplicable(self.why.clone()))
    }

    fn enforce(&mut self, _cx: &Cx<'_>) -> Result<Done, Failure> {
        Err(Failure::of(self.why.clone()))
    }

    fn remove(&mut self, _cx: &Cx<'_>) -> Result<Done, Failure> {
        Ok(Done { what: self.why.clone(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        Vec::new()
    }
}
