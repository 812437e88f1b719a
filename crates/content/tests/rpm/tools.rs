//! The package managers themselves over what is published.
