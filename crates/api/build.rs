//! Generates the agent protocol from `proto/agent.proto` without a protoc of the machine.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/agent.proto");
    let client = std::env::var_os("CARGO_FEATURE_AGENT_CLIENT").is_some();
    let server = std::env::var_os("CARGO_FEATURE_AGENT_SERVER").is_some();
    if !client && !server {
        return Ok(());
    }
    let proto = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("proto");
    let files = protox::compile(["agent.proto"], [proto])?;
    tonic_prost_build::configure().build_client(client).build_server(server).compile_fds(files)?;
    Ok(())
}
