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
    reasons("SLOW", &sources.join("slow.def"), &out)?;
    reasons("SLOW_DIRECT", &sources.join("slow_direct.def"), &out)?;
    reasons("SLOW_CARRIER", &sources.join("slow_carrier.def"), &out)?;
    reasons("SLOW_LENDER", &sources.join("slow_lender.def"), &out)?;
    ["tun_egress", "direct_ingress", "carrier_egress", "uplink_ingress", "lender_ingress"]
        .iter()
        .try_for_each(|name| compile(name, &sources, &out))
}

/// Each line: `NAME "name" "A sentence."`, as an enumerator for C and a pair for Rust, in the same order.
fn reasons(constant: &str, from: &Path, out: &Path) -> Result<(), String> {
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
         pub const {constant}: [(&str, &str); {count}] = [\n{pairs}];\n"
    );
    let name = constant.to_lowercase();
    write(&out.join(&name).with_extension("h"), &c)?;
    write(&out.join(&name).with_extension("rs"), &rust)
}

fn compile(name: &str, sources: &Path, out: &Path) -> Result<(), String> {
    let source = sources.join(name).with_extension("c");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb",
        _ => "bpfel",
    };
    let mut command = Command::new(&clang);
    command.args(["-target", target, "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
    command.arg("-I").arg(out).arg("-c").arg(&source).arg("-o").arg(out.join(name).with_extension("o"));
    // The folder that one builds in is nothing that a program should carry.
    command.arg(format!("-ffile-prefix-map={}=bpf", sources.display()));
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
