//! The command line of bagrad.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
