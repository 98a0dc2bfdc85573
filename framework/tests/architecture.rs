//! Who may use whom, where `unsafe` may be, and how long a file may get: what the layout in `docs/design.md`
//! promises, read from the sources themselves.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// For each module of this crate, the modules that it may use. A module may always use itself.
const MAY_USE: [(&str, &[&str]); 15] = [
    ("clock", &[]),
    ("error", &[]),
    ("config", &["error"]),
    ("codec", &["error"]),
    ("failpoint", &["error", "connect", "snapshot"]),
    ("lock_file", &["error"]),
    (
        "connect",
        &["clock", "error", "config", "codec", "lock_file"],
    ),
    ("topology", &["error", "connect", "failpoint"]),
    ("dsl", &["error", "connect", "topology"]),
    ("snapshot", &["clock", "error"]),
    (
        "runtime",
        &[
            "clock",
            "error",
            "config",
            "connect",
            "topology",
            "lock_file",
            "failpoint",
            "snapshot",
        ],
    ),
    ("web", &["runtime"]),
    (
        "testing",
        &["clock", "error", "config", "connect", "topology", "runtime"],
    ),
    (
        "connection",
        &["clock", "error", "config", "connect", "topology", "runtime"],
    ),
    ("lib", &[]),
];

/// Uses beside these arrows: file, what it uses, and why that is right.
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    (
        "error.rs",
        "connect",
        "errors name the place of a record by `TopicPartition`, a name and a number",
    ),
    (
        "error/poison.rs",
        "connect",
        "as does the record that a panic is blamed on",
    ),
    (
        "error/lost.rs",
        "connect",
        "as do the records that are gone",
    ),
];

/// The crates of ours that a crate may depend on; tests may use more.
const MAY_DEPEND: [(&str, &[&str]); 6] = [
    ("operators", &[]),
    ("framework", &["tiderace-operators"]),
    ("pipelines", &["tiderace"]),
    ("examples", &["tiderace", "tiderace-pipelines"]),
    (
        "benches",
        &[
            "tiderace",
            "tiderace-operators",
            "tiderace-pipelines",
            "tiderace-testing",
        ],
    ),
    ("testing", &[]),
];

/// The homes of `unsafe`: each block there carries its argument.
const UNSAFE_HOMES: [&str; 3] = [
    "framework/src/topology/compile.rs",
    "framework/src/connect/kafka/ffi.rs",
    "framework/src/connect/kafka/ffi/",
];

/// A file has at most so many lines, its tests apart.
const MOST_LINES: usize = 400;

fn workspace() -> PathBuf {
    let framework = Path::new(env!("CARGO_MANIFEST_DIR"));
    framework
        .parent()
        .expect("the crate lies in the workspace")
        .to_owned()
}

/// Every Rust file below a directory of the workspace: its path in the workspace and its text.
fn sources(directory: &str) -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![workspace().join(directory)]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(workspace()).unwrap().to_str().unwrap();
                found.push((
                    name.replace('\\', "/"),
                    std::fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {directory}");
    found.sort();
    found
}

/// The text without the tests at its end and without comments that fill a line.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let tests = "#[cfg(test)]\nmod tests {";
    let code = text.find(tests).map_or(text, |end| &text[..end]);
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The modules of a file: `connect/kafka/mod.rs` is `connect::kafka`.
fn module_of(file: &str) -> Vec<&str> {
    let path = file.strip_suffix(".rs").expect("a Rust file");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').collect()
}

/// The first names of the paths that follow `prefix` in the code, braces taken apart.
fn names_behind<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let name = |text: &'a str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        &text[..end.unwrap_or(text.len())]
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let preceded = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let rest = &code[at + prefix.len()..];
        if preceded {
            continue;
        }
        let Some(group) = rest.strip_prefix('{') else {
            names.push(name(rest));
            continue;
        };
        let mut depth = 1;
        let mut begins = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if begins && c.is_alphabetic() {
                names.push(name(&group[at..]));
            }
            begins = depth == 1 && (c == ',' || begins && c.is_whitespace());
        }
    }
    names
}

/// What `lib.rs` re-exports, by name, with the module that it comes from.
fn re_exports(lib: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for statement in lib.split("pub use ").skip(1) {
        let statement = &statement[..statement.find(';').expect("a statement ends")];
        let (module, names) = statement.split_once("::").expect("a path has two names");
        let words = names.split(|c: char| !c.is_alphanumeric() && c != '_');
        exports.extend(words.map(|word| (word.to_owned(), module.to_owned())));
    }
    exports
}

/// The modules of this crate that a file uses.
fn uses(file: &str, text: &str, exports: &BTreeMap<String, String>) -> BTreeSet<String> {
    let code = code(text).collect::<Vec<_>>().join("\n");
    let module = module_of(file);
    let to_root = "super::".repeat(module.len());
    let mut names = names_behind(&code, "crate::");
    names.extend(names_behind(&code, &to_root));
    let of = |name: &str| {
        exports
            .get(name)
            .cloned()
            .unwrap_or_else(|| name.to_owned())
    };
    names
        .into_iter()
        .map(of)
        .filter(|name| name != module[0])
        // What `super::` of a module within a file names is no module of the crate.
        .filter(|name| MAY_USE.iter().any(|(module, _)| module == name))
        .collect()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let lib = std::fs::read_to_string(workspace().join("framework/src/lib.rs")).unwrap();
    let exports = re_exports(&lib);
    let allowed: BTreeMap<&str, BTreeSet<&str>> = MAY_USE
        .into_iter()
        .map(|(module, below)| (module, below.iter().copied().collect()))
        .collect();
    let (mut wrong, mut exceptions) = (Vec::new(), BTreeSet::new());
    for (path, text) in sources("framework/src") {
        let file = path.strip_prefix("framework/src/").unwrap();
        let is_test = file.ends_with("/tests.rs") || file.contains("/tests/");
        if file == "lib.rs" || is_test {
            continue;
        }
        let below = allowed.get(module_of(file)[0]);
        let below = below.unwrap_or_else(|| panic!("{file} is in no module of `MAY_USE`"));
        for used in uses(file, &text, &exports) {
            let exception = EXCEPTIONS
                .iter()
                .find(|(of, what, _)| *of == file && *what == used);
            match exception {
                Some((of, ..)) => _ = exceptions.insert(*of),
                None if below.contains(used.as_str()) => {}
                None => wrong.push(format!("{file} uses {used}")),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "against the arrows:\n{}",
        wrong.join("\n")
    );
    assert_eq!(
        exceptions.len(),
        EXCEPTIONS.len(),
        "an exception is not needed any more"
    );
}

#[test]
fn the_dsl_and_the_runtime_meet_only_in_the_topology() {
    let of = |module| MAY_USE.iter().find(|(name, _)| *name == module).unwrap().1;
    assert!(!of("dsl").contains(&"runtime") && !of("runtime").contains(&"dsl"));
    assert!(of("dsl").contains(&"topology") && of("runtime").contains(&"topology"));
}

#[test]
fn crates_depend_only_on_those_below_them() {
    for (crate_, may) in MAY_DEPEND {
        let manifest = workspace().join(crate_).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies
            .lines()
            .filter(|line| line.starts_with("tiderace"))
        {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(may.contains(&name), "{crate_} depends on {name}");
        }
    }
}

#[test]
fn operators_do_no_input_or_output_and_read_no_clock() {
    let forbidden = [
        "std::fs",
        "std::net",
        "SystemTime",
        "Instant",
        "thread::sleep",
    ];
    for (file, text) in sources("operators/src") {
        for line in code(&text) {
            let found = forbidden.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{file}: {line}");
        }
    }
}

#[test]
fn unsafe_code_stays_in_its_two_homes() {
    let word = concat!("uns", "afe");
    let mut homes = BTreeSet::new();
    let crates = MAY_DEPEND.map(|(name, _)| name);
    for (file, text) in crates.into_iter().flat_map(sources) {
        let words = |line: &str| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|it| it == word)
        };
        if !code(&text).any(words) {
            continue;
        }
        let home = UNSAFE_HOMES.iter().find(|home| file.starts_with(**home));
        homes.insert(home.unwrap_or_else(|| panic!("{file} has code that is {word}")));
        assert!(
            text.contains("SAFETY:"),
            "{file} does not say why it is sound"
        );
    }
    assert_eq!(
        homes.len(),
        UNSAFE_HOMES.len(),
        "a home is empty: {homes:?}"
    );
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let mut long = BTreeMap::new();
    for (file, text) in MAY_DEPEND.into_iter().flat_map(|(name, _)| sources(name)) {
        let is_test = file.contains("/tests/") || file.ends_with("/tests.rs");
        let code = text
            .find("#[cfg(test)]\nmod tests {")
            .map_or(&*text, |end| &text[..end]);
        let lines = code.lines().count();
        if !is_test && lines > MOST_LINES {
            long.insert(file, lines);
        }
    }
    assert!(
        long.is_empty(),
        "files of more than {MOST_LINES} lines: {long:?}"
    );
}

#[test]
fn every_module_says_what_it_is() {
    for (file, text) in MAY_DEPEND.into_iter().flat_map(|(name, _)| sources(name)) {
        let begins = text
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("//!"));
        let is_test = file.contains("/tests/") || file.ends_with("/tests.rs");
        assert!(begins || is_test, "{file} does not begin with `//!`");
    }
}
