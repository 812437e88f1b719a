//! Reads OS policies: assignments (Google's `OSPolicyAssignment`) and bare policies (`OSPolicy`), several documents in one
//! text, YAML or JSON. Everything that can be read is read; every problem is told.

use std::fmt;

use drydock_domain::policy::{OsPolicy, OsPolicyAssignment};
use drydock_domain::validate::Invalid;

use super::de::{self, Refused};
use super::tree::{self, Node};

/// Documents of one text, count.
const DOCUMENTS_MAX: usize = 1000;

/// Fields of an assignment that only Google's API writes: people send back what they read.
const OUTPUT_ONLY: [&str; 8] =
    ["revisionId", "revisionCreateTime", "etag", "rolloutState", "baseline", "deleted", "reconciling", "uid"];

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// Policies and their hosts.
    Assignment(Box<OsPolicyAssignment>),
    /// A policy without hosts.
    Policy(Box<OsPolicy>),
}

/// One thing wrong with one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// `osPolicies[0].resourceGroups[0].resources[2].pkg`; empty for the document itself.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// `policy.yaml:7:13: osPolicies[0].mode: …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, line, column, path, message } = self;
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "{file}:{line}:{column}: {path}{colon}{message}")
    }
}

/// What a text holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Read {
    /// Documents without problems, in order.
    pub documents: Vec<Document>,
    /// Problems of the others, by place.
    pub problems: Vec<Problem>,
}

/// Reads a text; `file` is what problems name.
pub fn read_policies(file: &str, text: &str) -> Read {
    let mut out = Read::default();
    let mut nodes = match tree::parse(text) {
        Ok(nodes) => nodes,
        Err(broken) => {
            let (line, column) = (broken.place.line, broken.place.column);
            out.problems.push(Problem { file: file.into(), line, column, path: String::new(), message: broken.message });
            return out;
        }
    };
    if nodes.is_empty() {
        let message = "holds no document".to_owned();
        out.problems.push(Problem { file: file.into(), line: 1, column: 1, path: String::new(), message });
    }
    for (i, node) in nodes.iter_mut().enumerate() {
        if i == DOCUMENTS_MAX {
            let message = format!("more than {DOCUMENTS_MAX} documents; the rest was not read");
            let (line, column) = (node.place.line, node.place.column);
            out.problems.push(Problem { file: file.into(), line, column, path: String::new(), message });
            break;
        }
        match read(node) {
            Ok(document) => out.documents.push(document),
            Err(found) => out.problems.extend(found.into_iter().map(|p| Problem { file: file.into(), ..p })),
        }
    }
    out.problems.sort_by_key(|p| (p.line, p.column));
    out
}

fn read(node: &mut Node) -> Result<Document, Vec<Problem>> {
    if node.get("osPolicies").is_some() || node.get("instanceFilter").is_some() {
        node.leave_out(&OUTPUT_ONLY);
        let assignment: OsPolicyAssignment = de::read(node).map_err(|e| vec![form(node, e)])?;
        assignment.validate().map_err(|e| content(node, e))?;
        return Ok(Document::Assignment(Box::new(assignment)));
    }
    if node.get("resourceGroups").is_some() || node.get("id").is_some() {
        let policy: OsPolicy = de::read(node).map_err(|e| vec![form(node, e)])?;
        policy.validate().map_err(|e| content(node, e))?;
        return Ok(Document::Policy(Box::new(policy)));
    }
    let message =
        "is neither an assignment (osPolicies, instanceFilter, rollout) nor a policy (id, mode, resourceGroups)".to_owned();
    let (line, column) = (node.place.line, node.place.column);
    Err(vec![Problem { file: String::new(), line, column, path: String::new(), message }])
}

/// The form is wrong: the reader stops at the first.
fn form(node: &Node, refused: Refused) -> Problem {
    let place = refused.place.unwrap_or_else(|| node.place_of(&refused.path));
    Problem { file: String::new(), line: place.line, column: place.column, path: refused.path, message: refused.message }
}

/// The form is right, the content is not.
fn content(node: &Node, invalid: Invalid) -> Vec<Problem> {
    let problem = |e: drydock_domain::validate::FieldError| {
        let place = node.place_of(&e.field);
        Problem { file: String::new(), line: place.line, column: place.column, path: e.field, message: e.message }
    };
    invalid.errors.into_iter().map(problem).collect()
}
