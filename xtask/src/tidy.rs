//! Sizes, arrows, and what is not there (ARCHITECTURE.md).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Done;

/// Lines of a file without its tests.
const FILE: usize = 500;
/// Lines of a function.
const FUNCTION: usize = 70;

/// Who may depend on whom, tests aside.
const ARROWS: &[(&str, &[&str])] = &[
    ("straddle-wire", &[]),
    ("straddle-encap", &["straddle-wire"]),
    ("straddle-xlat", &["straddle-wire"]),
    ("straddle-announce", &["straddle-wire"]),
    ("straddle-intent", &["straddle-encap", "straddle-xlat"]),
    ("straddle-kernel", &["straddle-intent"]),
    ("straddle-serve", &["straddle-announce", "straddle-encap", "straddle-wire", "straddle-xlat"]),
    ("straddle-lab", &[]),
    (
        "straddle",
        &[
            "straddle-encap",
            "straddle-intent",
            "straddle-kernel",
            "straddle-lab",
            "straddle-serve",
            "straddle-wire",
            "straddle-xlat",
        ],
    ),
    ("xtask", &["straddle-lab", "straddle-kernel", "straddle-serve", "straddle-xlat"]),
];

/// Words that a folder's code does not contain.
const ABSENCES: &[(&str, &[&str], &str)] = &[
    ("crates/wire/src", EFFECTS, "wire opens nothing, asks for no time and spawns nothing"),
    ("crates/encap/src", EFFECTS, "encap opens nothing, asks for no time and spawns nothing"),
    ("crates/xlat/src", EFFECTS, "xlat opens nothing, asks for no time and spawns nothing"),
    ("crates/announce/src", EFFECTS, "announce opens nothing, asks for no time and spawns nothing"),
    (
        "crates/announce/src",
        &["getrandom", "extern crate alloc"],
        "announce is told random bytes and allocates nothing",
    ),
    ("crates/intent/src", EFFECTS, "intent opens nothing, asks for no time and spawns nothing"),
    ("crates/intent/src", &["netlink", "libc::", "ioctl"], "intent knows no netlink number"),
    ("crates/kernel/src", RECIPES, "kernel knows no recipe"),
    ("crates/kernel/src", &["straddle_wire", "straddle_encap", "straddle_xlat"], "kernel reads no packet"),
    ("crates/serve/src", &["netlink", "/proc/sys", "nftables"], "serve changes no kernel configuration"),
    ("crates", PRINTS, "only src/ prints"),
    ("lab/src", PRINTS, "only src/ prints"),
    ("crates", &["process::exit"], "only main.rs exits"),
    ("src", &["process::exit"], "only main.rs exits"),
];

const EFFECTS: &[&str] = &[
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "std::time",
    "TcpStream",
    "UdpSocket",
    "File::open",
];
const RECIPES: &[&str] = &["\"borrow\"", "Borrow {", "Publish", "Via6", "Clat", "Siit", "Nat64", "Tunnel6"];
const PRINTS: &[&str] = &["println!", "print!(", "dbg!("];

/// Everything at once; each finding is a line.
pub fn tidy() -> Done {
    let mut found = Vec::new();
    for file in sources(Path::new(".")) {
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        sizes(&file, &text, &mut found);
        absences(&file, &text, &mut found);
    }
    arrows(&mut found)?;
    for line in &found {
        println!("tidy: {line}");
    }
    if found.is_empty() { Ok(()) } else { Err(format!("{} findings", found.len())) }
}

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "corpus" {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file: what stands before its tests.
fn code(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests").map_or(text, |tests| &text[..tests])
}

fn sizes(file: &Path, text: &str, found: &mut Vec<String>) {
    let code = code(text);
    let lines = code.lines().count();
    if lines > FILE {
        found.push(format!("{}: {lines} lines, at most {FILE}", file.display()));
    }
    let mut open: Option<(usize, usize, &str)> = None;
    for (number, line) in code.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match open {
            Some((start, depth, name)) if line.trim_end() == format!("{}}}", " ".repeat(depth)) => {
                if number - start > FUNCTION {
                    found.push(format!(
                        "{}:{}: {name} has {} lines, at most {FUNCTION}",
                        file.display(),
                        start + 1,
                        number - start
                    ));
                }
                open = None;
            }
            Some(_) => {}
            None if is_function(line) => open = Some((number, indent, line.trim())),
            None => {}
        }
    }
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start();
    let opens = line.ends_with('{') || line.ends_with('(') || line.ends_with(',');
    opens
        && ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "pub const fn "]
            .iter()
            .any(|head| line.starts_with(head))
}

fn absences(file: &Path, text: &str, found: &mut Vec<String>) {
    let path = file.strip_prefix(".").unwrap_or(file);
    // Tests may do what they need to; a crate's tests folder is not its code.
    if path.components().any(|part| part.as_os_str() == "tests") {
        return;
    }
    for (folder, words, why) in ABSENCES.iter().filter(|(folder, ..)| path.starts_with(folder)) {
        for (number, line) in code(text).lines().enumerate() {
            let spoken = line.split("//").next().unwrap_or_default();
            if let Some(word) = words.iter().find(|word| spoken.contains(**word)) {
                found.push(format!("{}:{}: `{word}` in {folder}: {why}", path.display(), number + 1));
            }
        }
    }
}

fn arrows(found: &mut Vec<String>) -> Done {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--no-deps"]).output();
    let output = output.map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            found.push(format!("package {name} has no place in the map of arrows"));
            continue;
        };
        if package["features"].as_object().is_some_and(|features| !features.is_empty()) {
            found.push(format!("package {name} has Cargo features: none changes behaviour here"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            if on.starts_with("straddle") && !for_tests && !allowed.contains(&on) {
                found.push(format!("{name} must not depend on {on}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_function_is_found() {
        let check = |lines: usize, findings: usize| {
            let text = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(lines));
            let mut found = Vec::new();
            sizes(Path::new("x.rs"), &text, &mut found);
            assert_eq!(found.len(), findings, "{lines} lines");
        };
        check(69, 0);
        check(70, 1);
    }

    #[test]
    fn what_is_not_there() {
        let check = |file: &str, line: &str, findings: usize| {
            let mut found = Vec::new();
            absences(Path::new(file), line, &mut found);
            assert_eq!(found.len(), findings, "{file}: {line}");
        };
        check("./crates/wire/src/ip.rs", "use std::fs;", 1);
        check("./crates/wire/src/ip.rs", "// std::fs is not for us", 0);
        check("./crates/wire/tests/ip.rs", "use std::fs;", 0);
        check("./crates/serve/src/lib.rs", "println!(\"x\")", 1);
        check("./src/main.rs", "println!(\"x\")", 0);
    }
}
