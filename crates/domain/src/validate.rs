//! The one shape of "this field is wrong". A validator collects every problem, so that an operator mends them all at
//! once, and each names its field by the path in the document (`patchConfig.apt.excludes[2]`).

use serde::{Deserialize, Serialize};

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Path inside the document, for example `patchConfig.preStep.script`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Collects what is wrong with a document.
#[derive(Debug, Default)]
pub struct Problems(Vec<FieldError>);

impl Problems {
    /// Notes that `field` is wrong.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }

    /// Notes a text longer than `max` bytes.
    pub fn text(&mut self, field: &str, text: &str, max: usize) {
        if text.len() > max {
            self.add(field, format!("is {} bytes long; at most {max} are allowed", text.len()));
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.add(field, "holds control characters; remove them");
        }
    }

    /// Notes a list longer than `max` entries.
    pub fn count(&mut self, field: &str, len: usize, max: usize) {
        if len > max {
            self.add(field, format!("has {len} entries; at most {max} are allowed"));
        }
    }

    /// Nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes what was noted elsewhere.
    pub fn take(&mut self, others: Problems) {
        self.0.extend(others.0);
    }

    /// `Ok` when nothing was noted.
    pub fn finish(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid { errors: self.0 }) }
    }
}

/// A document that was refused, with every reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect::<Vec<_>>().join("; "))]
pub struct Invalid {
    /// What is wrong, field by field; never empty.
    pub errors: Vec<FieldError>,
}

impl Invalid {
    /// A refusal of one field.
    pub fn one(field: impl Into<String>, message: impl Into<String>) -> Self {
        Invalid { errors: vec![FieldError { field: field.into(), message: message.into() }] }
    }
}
