//! The binary `busctl`: everything is in the library part, so that a second name costs one file.

fn main() -> std::process::ExitCode {
    busctl::main()
}
