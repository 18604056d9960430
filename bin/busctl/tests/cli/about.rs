//! `--help`, `--version`, `completions`, `man`.

use crate::sandbox::{Running, Sandbox};

const VERBS: [&str; 17] = [
    "create",
    "ls",
    "stat",
    "ps",
    "rm",
    "schema",
    "pub",
    "schedule",
    "sub",
    "tap",
    "hz",
    "bw",
    "bench",
    "demo",
    "check",
    "doctor",
    "completions",
];

#[test]
fn help_lists_the_verbs_and_the_exit_codes() {
    let sandbox = Sandbox::new();
    for flag in ["--help", "-h"] {
        let help = sandbox.ok(&[flag]);
        for verb in VERBS {
            assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {help}");
        }
        for code in [
            "0  ok",
            "3  not found",
            "9  data loss seen under --strict, or a violation",
            "10  check",
        ] {
            assert!(help.contains(code), "{code}: {help}");
        }
        assert!(!help.contains("host-daemon"), "what is hidden stays hidden: {help}");
    }
    assert!(sandbox.ok(&["help", "pub"]).contains("--wait-consumers"));
    for verb in VERBS {
        assert!(sandbox.ok(&[verb, "--help"]).contains("Usage: busctl"), "{verb}");
    }
}

#[test]
fn wrong_words_are_code_2() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(&[]).code(), 2);
    sandbox.run(&["lst"]).failed(2, &["lst"]);
    sandbox.run(&["ls", "--colour"]).failed(2, &["--colour"]);
    sandbox.run(&["ls", "--color", "blue"]).failed(2, &["blue", "auto, always, never"]);
    sandbox.run(&["stat", "--watch=soon"]).failed(2, &["soon", "500ms"]);
    sandbox.run(&["bench", "--pin", "x"]).failed(2, &["\"x\" is not a processor", "0,1"]);
    sandbox.run(&["bench", "--producers", "0"]).failed(2, &["0 is out of range", "1 to 256"]);
    sandbox.run(&["pub", "bus", "--kind", "70000"]).failed(2, &["70000", "0 to 65535"]);
    sandbox.run(&["pub", "bus", "--rate", "-5"]).failed(2, &["\"-5\" is not a rate"]);
    sandbox.run(&["create", "bus", "--lanes", "-1"]).failed(2, &["\"-1\" is not a size"]);
    sandbox.run(&["man", "nonsense"]).failed(2, &["nonsense"]);
    sandbox.run(&["man", "bench-nonsense"]).failed(2, &["bench-nonsense"]);
    assert!(sandbox.ok(&["man", "bench-rtt"]).contains("busctl\\-bench\\-rtt"));
}

#[test]
fn both_names_complete_their_own() {
    let sandbox = Sandbox::new();
    for (program, name) in
        [(env!("CARGO_BIN_EXE_busctl"), "busctl"), (env!("CARGO_BIN_EXE_busway"), "busway")]
    {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let mut command = sandbox.program(program, &["completions", shell]);
            let done = Running::start(&mut command, None).wait();
            assert_eq!(done.code(), 0, "{done:?}");
            assert!(!done.stdout.contains("host-daemon"), "{shell} shows what is hidden");
            assert!(done.stdout.contains(name), "{shell}: {}", done.stdout);
            // The scripts of the other two complete no values of flags.
            let knows_values = matches!(shell, "bash" | "zsh" | "fish");
            assert_eq!(done.stdout.contains("drop-oldest"), knows_values, "{shell}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_everything() {
    let sandbox = Sandbox::new();
    let page = sandbox.ok(&["man"]);
    assert!(page.contains(".TH busctl 1") && page.contains("Exit codes"), "{page}");
    let page = sandbox.ok(&["man", "create"]);
    assert!(page.contains("topology"), "{page}");
    let dir = sandbox.dir().join("man");
    sandbox.ok(&["man", "--dir", dir.to_str().unwrap()]);
    assert!(dir.join("busctl.1").exists() && dir.join("busctl-pub.1").exists());
}
