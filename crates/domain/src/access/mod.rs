//! Who may do what.
//!
//! *Policies* decide: statements such as `allow group Patchers to use drydock-instances in compartment web`, attached to
//! compartments ([`parse`], [`statement`]), put together once ([`compile`](compile::compile)) and asked for every request
//! ([`decide`](decide::decide)) or list ([`scope`]). [`operations`] says what each operation asks for. Nothing is allowed
//! unless a statement allows it, and nothing is allowed that a statement denies. The [`Role`]s of access tokens are groups
//! with policies that come with the program ([`builtin`]).
//!
//! Absent on purpose: sign-in, where policies, compartments and groups are stored, and audit records.

pub mod approval;
pub mod builtin;
pub mod compartment;
pub mod compile;
pub mod decide;
pub mod dynamic_group;
mod error;
pub mod operations;
pub mod parse;
pub mod permissions;
pub mod request;
mod role;
mod scan;
pub mod scope;
pub mod statement;
mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;
pub mod user;
pub mod variable;

#[cfg(test)]
mod tests;

pub use error::BadStatement;
pub use role::{Permission, Role, allows};
pub use scope::Scope;

/// Longest text of a policy or of matching rules, bytes, as written and as printed.
pub const POLICY_MAX_BYTES: usize = 256 * 1024;
/// Statements of one policy, count.
pub const STATEMENTS_MAX: usize = 500;
/// Longest name or value in a statement, bytes.
pub const NAME_MAX_BYTES: usize = 255;
/// Names of groups, services or permissions in one list, count.
pub const NAMES_MAX: usize = 100;
/// `any` and `all` inside each other, count.
pub const CONDITION_NESTING_MAX: usize = 16;
/// Comparisons of one statement, count.
pub const COMPARISONS_MAX: usize = 100;
/// Values of one `in (…)`, count.
pub const VALUES_MAX: usize = 200;
/// Conditions of one dynamic group, count.
pub const MATCHING_RULES_MAX: usize = 100;
/// Compartments, count.
pub const COMPARTMENTS_MAX: usize = 10_000;
/// Levels of compartments under the tenancy, count (the vendor's bound).
pub const COMPARTMENT_DEPTH_MAX: usize = 6;

/// The form in which names and values are compared: in any case. Letter by letter, so that a part of a text has the form
/// that it has in the whole.
fn fold(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().flat_map(char::to_lowercase).collect() }
}
