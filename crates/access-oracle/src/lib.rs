//! The same statements as policies of Cedar, and what Cedar says of a request: an opinion on `domain::access::decide` by
//! people who never saw it. What is shared with the decision is the parser's trees and the table of permissions.
//!
//! How one becomes the other:
//!
//! | statement | Cedar |
//! |---|---|
//! | `allow`, `deny` | `permit`, `forbid` |
//! | group, dynamic group, service, resource type | entities that the principal lies in |
//! | `read drydock-instances` | a group of actions; each permission is an action in the groups of its verbs and families |
//! | compartment | an entity in its parent; what is asked for lies in its compartment |
//! | variable that does not apply | an attribute that the context does not have; every comparison asks `has` first |
//! | several values | a set, and an attribute for each value, because `like` looks at one text |
//! | pattern | `like` |
//!
//! What Cedar cannot say is worked out here, by other means than the product's: texts are compared in lower case, moments are
//! milliseconds and times of day seconds since midnight, month, day and weekday are texts; `compartment a:b:c` is looked up
//! before Cedar sees it. Not compared: why, and by which statement.

mod policies;
mod requests;

use cedar_policy::{Authorizer, Decision};
use drydock_domain::access::compartment::Compartment;
use drydock_domain::access::compile::Policy;
use drydock_domain::access::testing::Ask;

/// What a translation gets wrong on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// A `deny` is left out.
    NoDeny,
    /// A statement holds in its compartment and not below.
    NoInheritance,
    /// A negated comparison with what does not apply is true.
    NegatedInapplicable,
    /// `manage` gives what `use` gives.
    ManageIsUse,
    /// Texts are compared with their case.
    Case,
}

/// Statements as Cedar has them.
pub struct Oracle {
    policies: cedar_policy::PolicySet,
    compartments: Vec<Compartment>,
    flaw: Flaw,
}

impl Oracle {
    /// Translates; fails with what Cedar does not read, which is a fault of the translation.
    pub fn new(policies: &[Policy], compartments: &[Compartment], flaw: Flaw) -> Result<Oracle, String> {
        let text = policies::text(policies, compartments, flaw);
        let policies = text.parse().map_err(|e| format!("{e}\n{text}"))?;
        Ok(Oracle { policies, compartments: compartments.to_vec(), flaw })
    }

    /// Does Cedar allow it? Fails when a policy cannot be evaluated, which is a fault of the translation: Cedar leaves it out.
    pub fn allows(&self, ask: &Ask) -> Result<bool, String> {
        let (request, entities) = requests::request(ask, &self.compartments, self.flaw)?;
        let answer = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        if let Some(error) = answer.diagnostics().errors().next() {
            return Err(error.to_string());
        }
        Ok(answer.decision() == Decision::Allow)
    }
}

/// The form in which texts are compared, letter by letter.
fn lower(text: &str, flaw: Flaw) -> String {
    if flaw == Flaw::Case { text.to_owned() } else { text.chars().flat_map(char::to_lowercase).collect() }
}

/// A text as Cedar writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An entity as Cedar writes it.
fn entity(kind: &str, id: &str) -> String {
    format!("{kind}::{}", quoted(id))
}
