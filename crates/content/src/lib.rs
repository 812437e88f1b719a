//! Package repositories.
