//! The filter language: which hosts, said in one line, `package openssl < 3.0.14 and os.version = "8*" and label env=prod`.
//!
//! A text is read once ([`Query::parse`]) into a typed tree, prints back in one canonical form, and is judged against the
//! facts of a host. Terms that need more than a host's row (packages, updates) are asked of the caller, so that they are
//! answered once for all hosts that share an inventory section. Absent on purpose: where facts come from, regular
//! expressions, and anything that changes hosts.

mod ast;
mod error;
mod eval;
mod fields;
mod glob;
mod lexer;
mod parser;

use std::fmt;

pub use ast::{Comparison, Equality, Expr, PackageTerm, SectionTerm, Term};
pub use error::BadQuery;
pub(crate) use error::{nearest, shown};
pub use eval::{HostFacts, scheme_of};
pub use fields::{CountField, Flag, TextField, VersionField};
pub use glob::Glob;

use crate::instance::InstanceState;

/// Longest query, bytes, as written and as printed.
pub const QUERY_MAX_BYTES: usize = 4096;
/// Terms of one query, count.
pub const QUERY_TERMS_MAX: usize = 100;
/// Parentheses and `not` inside each other, count.
pub const QUERY_NESTING_MAX: usize = 20;
/// Longest value of a term, bytes: no stored text is longer.
pub const VALUE_MAX_BYTES: usize = 255;
/// Longest duration of `lastSeen`, seconds (ten years).
pub const AGE_MAX_SECS: u64 = 10 * 365 * 86_400;

/// A query that was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    expr: Expr,
}

impl Query {
    /// Reads a query; the refusal names the column and what was expected there.
    pub fn parse(text: &str) -> Result<Query, BadQuery> {
        let query = Query { expr: parser::parse(text)? };
        let printed = query.to_string().len();
        if printed > QUERY_MAX_BYTES {
            return Err(BadQuery::new(
                1,
                format!("the filter has {printed} bytes with its spaces and quotes; at most {QUERY_MAX_BYTES}"),
            ));
        }
        Ok(query)
    }

    /// The tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The terms that a host's row does not answer, each once.
    pub fn section_terms(&self) -> Vec<&SectionTerm> {
        let mut found: Vec<&SectionTerm> = Vec::new();
        self.expr.each_term(&mut |term| {
            if let Term::Section(term) = term
                && !found.contains(&term)
            {
                found.push(term);
            }
        });
        found
    }

    /// What every host that matches is bound to have, for a store that can look it up: one state, one zone, labels.
    pub fn required(&self) -> Required {
        let mut required = Required::default();
        let conjuncts = match &self.expr {
            Expr::All(all) => all.as_slice(),
            other => std::slice::from_ref(other),
        };
        for conjunct in conjuncts {
            match conjunct {
                Expr::Term(Term::State(Equality::Is, state)) => required.state = Some(*state),
                Expr::Term(Term::Text(TextField::Zone, Equality::Is, value)) => {
                    required.zone = value.exact().map(str::to_owned).or(required.zone);
                }
                Expr::Term(Term::Label(key, Some((Equality::Is, value)))) => {
                    required.labels.extend(value.exact().map(|v| (key.clone(), v.to_owned())));
                }
                _ => {}
            }
        }
        required
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl std::str::FromStr for Query {
    type Err = BadQuery;

    fn from_str(text: &str) -> Result<Query, BadQuery> {
        Query::parse(text)
    }
}

/// What every match of a query has; see [`Query::required`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Required {
    /// This state.
    pub state: Option<InstanceState>,
    /// This zone.
    pub zone: Option<String>,
    /// These labels.
    pub labels: Vec<(String, String)>,
}

#[cfg(test)]
mod tests;
