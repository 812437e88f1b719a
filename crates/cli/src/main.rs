//! `drydock`, the operator's command: hands arguments, environment and terminal to the library and returns its exit
//! code. Absent on purpose: everything else.

use std::process::ExitCode;

use drydock_cli::{World, run};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            return ExitCode::from(2);
        }
    };
    let code = runtime.block_on(run(std::env::args_os(), &mut World::of_process()));
    // A read of standard input that never ends must not hold the process up.
    runtime.shutdown_background();
    ExitCode::from(code)
}
