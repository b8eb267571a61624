//! The command line of bagrad.

mod cli;

fn main() -> std::process::ExitCode {
    // SAFETY: nothing else runs yet that could read the environment.
    unsafe { bagrad::device::quiet_drivers() };
    cli::main()
}
