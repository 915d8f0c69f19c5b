//! Compiles the programs in `bpf/`, and writes what is counted there as code of both languages.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), String> {
    let sources = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../../bpf");
    let out = PathBuf::from(variable("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", sources.display());
    println!("cargo:rerun-if-env-changed=CLANG");
    reasons(&sources.join("slow.def"), &out)?;
    compile(&sources.join("tun_egress.c"), &out)
}

/// Each line: `NAME "name" "A sentence."`, as an enumerator for C and a pair for Rust, in the same order.
fn reasons(from: &Path, out: &Path) -> Result<(), String> {
    let text = fs::read_to_string(from).map_err(|why| format!("{}: {why}", from.display()))?;
    let (mut c, mut pairs) = (String::new(), String::new());
    for line in text.lines() {
        let wrong = || format!("{}: {line}", from.display());
        let (name, rest) = line.split_once(' ').ok_or_else(wrong)?;
        let (word, sentence) = rest.split_once(' ').ok_or_else(wrong)?;
        let _ = writeln!(c, "SLOW({name})");
        let _ = writeln!(pairs, "    ({word}, {sentence}),");
    }
    let count = text.lines().count();
    let rust = format!(
        "/// Why a packet was left to the slow path: a name for counters, output and manual, and a sentence.\n\
         pub const SLOW: [(&str, &str); {count}] = [\n{pairs}];\n"
    );
    write(&out.join("slow.h"), &c)?;
    write(&out.join("slow.rs"), &rust)
}

fn compile(source: &Path, out: &Path) -> Result<(), String> {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb",
        _ => "bpfel",
    };
    let mut command = Command::new(&clang);
    command.args(["-target", target, "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
    command.arg("-I").arg(out).arg("-c").arg(source).arg("-o").arg(out.join("tun_egress.o"));
    // The folder that one builds in is nothing that a program should carry.
    let folder = source.parent().unwrap_or(source);
    command.arg(format!("-ffile-prefix-map={}=bpf", folder.display()));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{clang} can't compile {} ({status}): see above", source.display())),
        Err(why) => Err(format!(
            "{clang} can't be run ({why}): the fast path is compiled by clang 14 or later. \
             Install it (Debian: apt install clang), or name another: CLANG=clang-19"
        )),
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|why| format!("{name}: {why}"))
}
