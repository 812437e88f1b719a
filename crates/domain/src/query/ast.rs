//! The tree of a filter and how it is printed. Trees made by [`Expr::all`] and [`Expr::any`] have one form: no `and`
//! directly inside an `and`, none with fewer than two parts; printing and reading give the same tree back.

use std::fmt;

use super::fields::{CountField, Flag, TextField, VersionField};
use super::glob::Glob;
use crate::instance::InstanceState;
use crate::inventory::SectionKind;

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expr {
    /// All of them: `and`. At least two.
    All(Vec<Expr>),
    /// Any of them: `or`. At least two.
    Any(Vec<Expr>),
    /// Not this.
    Not(Box<Expr>),
    /// One question.
    Term(Term),
}

/// One question about a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Term {
    /// `zone = eu-1`
    Text(TextField, Equality, Glob),
    /// `os.version < 9`; wildcards only with `=` and `!=`.
    Version(VersionField, Comparison, Glob),
    /// `updates.security > 0`
    Count(CountField, Comparison, u64),
    /// `lastSeen < 2d`, in seconds.
    LastSeen(Comparison, u64),
    /// `state = ACTIVE`
    State(Equality, InstanceState),
    /// `label env`, `label env=prod`
    Label(String, Option<(Equality, Glob)>),
    /// `reboot`
    Flag(Flag),
    /// What an inventory section answers.
    Section(SectionTerm),
}

/// A question that takes more than a host's row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SectionTerm {
    /// `package openssl < 3.0.14`
    Package(PackageTerm),
    /// `update kernel*`: an update of such a package is available.
    Update(Glob),
    /// `advisory ELSA-2026-1234`: applies to the host and is not installed.
    Advisory(Glob),
    /// `cve CVE-2026-1`: the host is open to it.
    Cve(Glob),
}

impl SectionTerm {
    /// The section whose body answers it where the server has no better source; `None`: none does.
    pub fn section(&self) -> Option<SectionKind> {
        match self {
            SectionTerm::Package(_) => Some(SectionKind::Packages),
            SectionTerm::Update(_) | SectionTerm::Advisory(_) => Some(SectionKind::Updates),
            SectionTerm::Cve(_) => None,
        }
    }
}

/// `package NAME`, `package NAME < VERSION`: any installed package with such a name and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackageTerm {
    /// Its name.
    pub name: Glob,
    /// Its version; absent: any. Wildcards only with `=` and `!=`.
    pub version: Option<(Comparison, Glob)>,
}

/// `=` or `!=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Equality {
    /// `=`
    Is,
    /// `!=`: not `=`, also where there is nothing.
    IsNot,
}

impl Equality {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Equality::Is => "=",
            Equality::IsNot => "!=",
        }
    }
}

/// The six comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `>=`
    AtLeast,
    /// `>`
    Greater,
}

impl Comparison {
    /// All of them, as they are listed in refusals.
    pub const ALL: [Comparison; 6] =
        [Comparison::Less, Comparison::AtMost, Comparison::Equal, Comparison::Unequal, Comparison::AtLeast, Comparison::Greater];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Equal => "=",
            Comparison::Unequal => "!=",
            Comparison::AtLeast => ">=",
            Comparison::Greater => ">",
        }
    }

    /// `=` or `!=`, when it is one of them.
    pub fn equality(self) -> Option<Equality> {
        match self {
            Comparison::Equal => Some(Equality::Is),
            Comparison::Unequal => Some(Equality::IsNot),
            _ => None,
        }
    }

    /// Does it hold for this order?
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Less => order.is_lt(),
            Comparison::AtMost => order.is_le(),
            Comparison::Equal => order.is_eq(),
            Comparison::Unequal => order.is_ne(),
            Comparison::AtLeast => order.is_ge(),
            Comparison::Greater => order.is_gt(),
        }
    }
}

impl Expr {
    /// All of `parts`; one part is itself, none is `None`.
    pub fn all(parts: Vec<Expr>) -> Option<Expr> {
        join(parts, Expr::All, |part| if let Expr::All(inner) = part { Ok(inner) } else { Err(part) })
    }

    /// Any of `parts`; one part is itself, none is `None`.
    pub fn any(parts: Vec<Expr>) -> Option<Expr> {
        join(parts, Expr::Any, |part| if let Expr::Any(inner) = part { Ok(inner) } else { Err(part) })
    }

    /// Calls `each` with every term, in the order written.
    pub fn each_term<'a>(&'a self, each: &mut dyn FnMut(&'a Term)) {
        match self {
            Expr::All(parts) | Expr::Any(parts) => parts.iter().for_each(|part| part.each_term(each)),
            Expr::Not(inner) => inner.each_term(each),
            Expr::Term(term) => each(term),
        }
    }
}

fn join(parts: Vec<Expr>, make: fn(Vec<Expr>) -> Expr, open: fn(Expr) -> Result<Vec<Expr>, Expr>) -> Option<Expr> {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match open(part) {
            Ok(inner) => flat.extend(inner),
            Err(part) => flat.push(part),
        }
    }
    if flat.len() > 1 { Some(make(flat)) } else { flat.pop() }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = |f: &mut fmt::Formatter<'_>, part: &Expr, bare: bool| {
            if bare { part.fmt(f) } else { write!(f, "({part})") }
        };
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str, bare: fn(&Expr) -> bool| {
            for (n, part) in parts.iter().enumerate() {
                if n > 0 {
                    f.write_str(word)?;
                }
                inside(f, part, bare(part))?;
            }
            Ok(())
        };
        match self {
            Expr::All(parts) => list(f, parts, " and ", |p| matches!(p, Expr::Term(_) | Expr::Not(_))),
            Expr::Any(parts) => list(f, parts, " or ", |p| !matches!(p, Expr::Any(_))),
            Expr::Not(inner) => {
                f.write_str("not ")?;
                inside(f, inner, matches!(**inner, Expr::Term(_) | Expr::Not(_)))
            }
            Expr::Term(term) => term.fmt(f),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Text(field, op, value) => write!(f, "{} {} {value}", field.as_str(), op.as_str()),
            Term::Version(field, op, value) => write!(f, "{} {} {value}", field.as_str(), op.as_str()),
            Term::Count(field, op, n) => write!(f, "{} {} {n}", field.as_str(), op.as_str()),
            Term::LastSeen(op, secs) => write!(f, "lastSeen {} {}", op.as_str(), duration(*secs)),
            Term::State(op, state) => write!(f, "state {} {}", op.as_str(), state.as_str()),
            Term::Label(key, None) => write!(f, "label {}", Glob::literal(key.as_str())),
            Term::Label(key, Some((op, value))) => write!(f, "label {}{}{value}", Glob::literal(key.as_str()), op.as_str()),
            Term::Flag(flag) => f.write_str(flag.as_str()),
            Term::Section(term) => term.fmt(f),
        }
    }
}

impl fmt::Display for SectionTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SectionTerm::Package(PackageTerm { name, version: None }) => write!(f, "package {name}"),
            SectionTerm::Package(PackageTerm { name, version: Some((op, version)) }) => {
                write!(f, "package {name} {} {version}", op.as_str())
            }
            SectionTerm::Update(name) => write!(f, "update {name}"),
            SectionTerm::Advisory(id) => write!(f, "advisory {id}"),
            SectionTerm::Cve(id) => write!(f, "cve {id}"),
        }
    }
}

/// Units of durations, seconds, the largest first.
pub(super) const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// In the largest unit that divides it.
fn duration(secs: u64) -> String {
    let (unit, size) = UNITS.into_iter().find(|(_, size)| secs > 0 && secs.is_multiple_of(*size)).unwrap_or(('s', 1));
    format!("{}{unit}", secs / size)
}
