//! The operations, one file per noun. Each authorises, decides with `domain`, stores, and leaves an audit record when
//! it changes something or is denied.

mod access;
mod act;
mod agents;
mod audit;
mod enrolment;
mod instances;
mod inventory;
mod patch_jobs;
mod work;

pub(crate) use patch_jobs::matches;
pub(crate) use work::moved;

/// How often a decision is made anew when somebody changed the row between reading and writing, count. Two writers of
/// one row are rare; five losses in a row mean something else is wrong.
const RACE_RETRIES: usize = 5;

/// A secret's stored form: SHA-256, hex. Secrets here are 256 random bits, which no slow hash protects better.
fn digest(text: &str) -> String {
    drydock_domain::inventory::fingerprint(text.as_bytes())
}
