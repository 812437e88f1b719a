//! The program drydock-agent; everything is in the library.

fn main() -> std::process::ExitCode {
    drydock_agent::cli::main()
}
