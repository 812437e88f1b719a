//! Who makes a request, where that is not told by an access token: [`signature`] verifies requests signed with an RSA key.
//! Absent on purpose: where keys and users are kept (`control`).

pub mod signature;
