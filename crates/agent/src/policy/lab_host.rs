//! Tests that change the host they run on: `cargo xtask lab run resources` runs them inside hosts of each package manager.

/// Is this such a host? Where it is not, says so: the test returns.
pub(crate) fn is_one(test: &str) -> bool {
    let is_one = std::env::var_os("DRYDOCK_TEST_ON_LAB_HOST").is_some();
    if !is_one {
        eprintln!("{test}: skipped, it changes its host; `cargo xtask lab run resources` runs it on lab hosts");
    }
    is_one
}
