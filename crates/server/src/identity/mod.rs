//! Who makes a request, where that is not told by an access token: [`signature`] verifies requests signed with an RSA key
//! and [`signed`] lets them in, [`oidc`] lets an OpenID Connect provider say who sits at a browser. Absent on purpose: where keys and users are kept
//! (`control`).

pub mod oidc;
pub mod signature;
pub mod signed;
