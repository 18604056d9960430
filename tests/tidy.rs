//! What a machine can hold of the way code looks here.
//!
//! The rules are about src/, bin/ and crates/; those about atomics, unsafe code and floors are about
//! the library. A rule that has exceptions names them and says why.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file at most.
const FILE_LINES_MAX: usize = 600;
/// The same for a model, which keeps all scenarios of one protocol together.
const MODEL_LINES_MAX: usize = 800;
/// Columns of code at most; rustfmt breaks what is longer, where it can.
const CODE_COLUMNS_MAX: usize = 100;
/// Columns of a comment at most: rustfmt does not wrap those, so a few more are let pass.
const COMMENT_COLUMNS_MAX: usize = 108;
/// Lines between an ordering and the comment that gives its reason, at most.
const ORDERING_LINES_MAX: usize = 6;
/// The same where one comment gives the reason of several in a row, all in one function.
const ORDERINGS_LINES_MAX: usize = 16;

/// The library's floors, lowest first: a module uses modules of floors below, and of its own floor
/// only itself.
const FLOORS: &[&[&str]] = &[
    &["crash", "fnv", "participant"],
    &["schema"],
    &["frame"],
    &["error"],
    &["options"],
    &["sync"],
    &["layout"],
    &["shm"],
    &["lane"],
    &["claims"],
    &["order"],
    &["cells"],
    &["regions"],
    &["seat"],
    &["broker"],
    &["tie"],
    &["tenancy"],
    &["park"],
    &["wake"],
    &["waits"],
    &["timer"],
    &["waiter"],
    &["buffer"],
    &["received"],
    &["run"],
    &["bus"],
    &["ticket"],
    &["table"],
    &["host"],
    &["producer"],
    &["consumer"],
    &["wait_set"],
    &["transaction"],
    &["request"],
    &["observer"],
    &["group"],
    &["metrics"],
    &["future"],
    &["fuzzing"],
    &["lib"],
];

/// A source file.
struct Source {
    /// From the repository's root, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The module of the library that it belongs to.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        inside.split(['/', '.']).next()
    }

    /// Tests and models, whose orderings are not the protocol's.
    fn is_test(&self) -> bool {
        ["/tests.rs", "/model.rs", "/model/", "/tests/"].iter().any(|part| self.path.contains(part))
    }

    /// The lines before the unit tests at the end of the file.
    fn protocol_lines(&self) -> Vec<&str> {
        let lines: Vec<_> = self.text.lines().collect();
        let tests = lines
            .windows(2)
            .position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim_end().ends_with('{'));
        lines[..tests.unwrap_or(lines.len())].to_vec()
    }
}

fn collect(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(root, &path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
}

fn sources(directories: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for directory in directories {
        // The package alone, without its companions, has only some of them.
        if root.join(directory).is_dir() {
            collect(root, &root.join(directory), &mut sources);
        }
    }
    assert!(!sources.is_empty());
    sources
}

fn everything() -> Vec<Source> {
    sources(&["src", "bin", "crates"])
}

fn library() -> Vec<Source> {
    sources(&["src"])
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Fails with all findings at once.
fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = everything()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    report("a file starts with `//!`", &silent);
}

#[test]
fn nothing_is_left_to_do() {
    let words = ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"];
    report("finished or not there", &find(&everything(), &words));
}

#[test]
fn no_path_of_a_machine_is_named() {
    let words = ["/home/", "/root/", "/Users/"];
    report("no machine's paths", &find(&everything(), &words));
}

fn find(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.lines() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

#[test]
fn files_are_short_enough_to_read() {
    let long: Vec<_> = everything()
        .into_iter()
        .filter_map(|source| {
            let model = source.path.ends_with("/model.rs");
            let most = if model { MODEL_LINES_MAX } else { FILE_LINES_MAX };
            let lines = source.text.lines().count();
            (lines > most).then(|| format!("{}: {lines} lines of {most}", source.path))
        })
        .collect();
    report("files hold one idea", &long);
}

#[test]
fn lines_are_short_enough_to_read() {
    let mut long = Vec::new();
    for source in everything() {
        for (number, line) in source.lines() {
            let columns = line.chars().count();
            let most = if is_comment(line) { COMMENT_COLUMNS_MAX } else { CODE_COLUMNS_MAX };
            if columns > most && !is_unbreakable(&source, line) {
                long.push(format!("{}:{number}: {columns} columns of {most}", source.path));
            }
        }
    }
    report("lines are short", &long);
}

/// Rows of tables, addresses, texts, the patterns of macros, and help texts (a doc comment's
/// paragraph in a command line is one line of its help).
fn is_unbreakable(source: &Source, line: &str) -> bool {
    let text = line.trim_start();
    let comment = text.trim_start_matches(['/', '!']).trim_start();
    if is_comment(line) {
        let help = source.path.starts_with("bin/") && text.starts_with("/// ");
        return comment.starts_with('|') || comment.contains("://") || help;
    }
    text.contains('"') || text.contains("$(") || text.contains("\\n")
}

#[test]
fn every_ordering_says_why() {
    let mut silent = Vec::new();
    for source in library().iter().filter(|source| !source.is_test()) {
        let lines = source.protocol_lines();
        for (index, line) in lines.iter().enumerate() {
            if uses_ordering(line) && !is_explained(&lines, index) {
                silent.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    report("`// ORDERING:` above every use of an ordering", &silent);
}

fn uses_ordering(line: &str) -> bool {
    let names = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
    let text = line.trim_start();
    !is_comment(line)
        && !text.starts_with("use ")
        && names.iter().any(|name| line.contains(&format!("Ordering::{name}")))
}

/// Whether the line has its reason right above, or shares one further up in its function.
fn is_explained(lines: &[&str], index: usize) -> bool {
    for (distance, line) in lines[..=index].iter().rev().enumerate() {
        if line.contains("ORDERING:") {
            return distance <= ORDERINGS_LINES_MAX;
        }
        let starts = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn "];
        if distance > ORDERING_LINES_MAX
            && starts.iter().any(|start| line.trim_start().starts_with(start))
        {
            return false;
        }
    }
    false
}

#[test]
fn every_unsafe_block_is_proven_above() {
    let mut silent = Vec::new();
    for source in everything() {
        let lines: Vec<_> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let opens = ["unsafe {", "unsafe impl"].iter().any(|word| line.contains(word));
            if opens && !is_comment(line) && !line.contains('"') && !is_proven(&lines, index) {
                silent.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    report("`// SAFETY:` directly above", &silent);
}

/// Whether the comments right above the line, or above the statement that it ends, have a proof.
fn is_proven(lines: &[&str], index: usize) -> bool {
    let above = lines[..index].iter().rev();
    above
        .skip_while(|line| line.trim_end().ends_with(" ="))
        .take_while(|line| is_comment(line) || line.trim_start().starts_with("#["))
        .any(|line| line.contains("SAFETY:"))
}

/// The floor of a module.
fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&module))
}

#[test]
fn tests_named_in_the_architecture_exist() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let invariants = text.lines().skip_while(|line| *line != "## Invariants");
    let rows: Vec<&str> = invariants.take_while(|line| !line.starts_with("`tests/")).collect();
    let sources = sources(&["src", "tests"]);
    let shown_by = rows.iter().filter_map(|row| row.rsplit('|').nth(1));
    let names = shown_by.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let missing: Vec<String> = names
        .filter(|name| {
            let definition = format!("fn {name}(");
            !sources.iter().any(|source| source.text.contains(&definition))
        })
        .map(str::to_owned)
        .collect();
    assert!(rows.len() > 12, "the table of invariants is where it was");
    report("every test that ARCHITECTURE.md names exists", &missing);
}

#[test]
fn promises_are_cited_by_the_tests_that_hold_them() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let sources = sources(&["src", "tests", "bin"]);
    let rows = text.lines().skip_while(|line| *line != "## Promises").skip(1);
    let rows =
        rows.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| "));
    let mut promises = 0;
    let mut silent = Vec::new();
    for row in rows {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (Some(number), Some(shown_by)) = (cells.next(), row.rsplit('|').nth(1)) else {
            continue;
        };
        promises += usize::from(number.parse::<u32>().is_ok());
        for name in shown_by.split('`').skip(1).step_by(2) {
            if !sources.iter().any(|source| cites(&source.text, name, number)) {
                silent.push(format!("promise {number}: {name}"));
            }
        }
    }
    assert_eq!(promises, 9, "the table of promises is where it was");
    report("every test of a promise exists and names it", &silent);
}

/// Whether a test of this name says that it is about a promise, in the lines before it.
fn cites(text: &str, name: &str, number: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let above = before.lines().rev().skip(1).take_while(|line| !line.trim().is_empty());
    above.filter(|line| line.contains("Promise")).any(|line| line.contains(number))
}

#[test]
fn modules_use_the_floors_below() {
    let mut found = BTreeSet::new();
    for source in library() {
        let module = source.module().unwrap();
        let Some(own) = floor(module) else {
            found.insert(format!("{module} has no floor: put it into FLOORS"));
            continue;
        };
        for (number, line) in source.lines().filter(|(_, line)| !is_comment(line)) {
            for used in used_modules(line) {
                let allowed = floor(&used).is_some_and(|floor| floor <= own);
                if !allowed {
                    found.insert(format!("{}:{number}: {module} uses {used}", source.path));
                }
            }
        }
    }
    report("only floors below", &found.into_iter().collect::<Vec<_>>());
}

/// The modules that a line names from the crate's root. Types that lib.rs names again stand for
/// the module that they come from, and only some rooms at the top use them.
fn used_modules(line: &str) -> Vec<String> {
    let names = line.split("crate::").skip(1).map(|rest| {
        rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or_default()
    });
    names
        .map(|name| match name {
            "Frame" => "frame".to_owned(),
            "FrameLayout" => "options".to_owned(),
            // A group would hide what is used: it counts as a module that has no floor.
            "" => "a group".to_owned(),
            name => name.to_owned(),
        })
        .collect()
}

#[test]
fn rules_see_what_breaks_them() {
    let source = |path: &str| Source { path: path.to_owned(), text: String::new() };
    assert!(uses_ordering("    word.load(Ordering::Relaxed);"));
    assert!(!uses_ordering("use std::sync::atomic::Ordering::Relaxed;"));
    assert!(is_explained(&["fn f() {", "// ORDERING: why", "a.load(Ordering::Relaxed);"], 2));
    assert!(!is_explained(&["fn f() {", "a.load(Ordering::Relaxed);"], 1));
    assert!(!is_proven(&["let a = 1;", "unsafe { b() }"], 1));
    assert!(is_proven(&["// SAFETY: proof", "let a =", "    unsafe { b() };"], 2));
    assert_eq!(used_modules("use crate::lane::{later, earlier};"), ["lane"]);
    assert!(floor("lane") < floor("order") && floor("nobody").is_none());
    assert!(is_unbreakable(&source("src/a.rs"), "//! | a row | of a table |"));
    assert!(!is_unbreakable(&source("src/a.rs"), "/// A sentence."));
}
