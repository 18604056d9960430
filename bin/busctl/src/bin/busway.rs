//! The binary `busway`: the same program as `busctl`, under the name that systemd does not use.

fn main() -> std::process::ExitCode {
    busctl::main()
}
