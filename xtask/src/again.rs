//! Tests on real packets, on a machine that may stand still for a second: what fails is asked once more, alone,
//! and said so. Whoever fails twice has failed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use crate::Done;

/// More failures than this are no noise.
const NOISE: usize = 3;

/// Runs tests of libtest's kind. `words` end where a test's name may follow.
pub fn asked(program: &str, words: &[&str]) -> Done {
    let (status, failed) = heard(program, words)?;
    if status.success() {
        return Ok(());
    }
    if failed.is_empty() || failed.len() > NOISE {
        return Err(format!("{program} {}: {status}, {} tests failed", words.join(" "), failed.len()));
    }
    for name in &failed {
        let (status, _) = heard(program, &[words, &["--exact", name]].concat())?;
        if !status.success() {
            return Err(format!("{name} failed twice"));
        }
    }
    for name in &failed {
        println!("\n!!! {name} failed once, and passed when it was asked again: it is not to be trusted");
    }
    Ok(())
}

/// Lets it speak, and notes which tests it calls failed.
fn heard(program: &str, words: &[&str]) -> Result<(ExitStatus, Vec<String>), String> {
    let said = format!("{program} {}", words.join(" "));
    println!("\n=== {said}");
    let start = Instant::now();
    let wrong = |error: std::io::Error| format!("{said}: {error}");
    let mut child = Command::new(program).args(words).stdout(Stdio::piped()).spawn().map_err(wrong)?;
    let mut failed = Vec::new();
    let mut within = false;
    for line in BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n') {
        let line = line.map_err(wrong)?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        std::io::stdout().flush().map_err(wrong)?;
        within = names(line.trim_end_matches('\r'), within, &mut failed);
    }
    let status = child.wait().map_err(wrong)?;
    println!("=== {said}: {status}, {:.0} s", start.elapsed().as_secs_f32());
    Ok((status, failed))
}

/// libtest ends with the names, indented, below a line `failures:`; whether the next line is among them.
fn names(line: &str, within: bool, failed: &mut Vec<String>) -> bool {
    if line == "failures:" {
        return true;
    }
    match line.strip_prefix("    ") {
        Some(name) if within && !name.is_empty() && !name.contains(char::is_whitespace) => {
            failed.push(name.to_string());
            true
        }
        // The first list holds what the tests have said, with an empty line at its beginning.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{asked, names};

    #[test]
    fn who_fails_once_is_asked_again_and_who_fails_twice_has_failed() {
        let script = |again: &str| {
            format!("[ \"$1\" = --exact ] && exit {again}; printf 'failures:\\n    a\\n'; exit 101")
        };
        assert_eq!(asked("sh", &["-c", &script("0"), "sh"]), Ok(()));
        assert_eq!(asked("sh", &["-c", &script("101"), "sh"]), Err("a failed twice".into()));
    }

    #[test]
    fn what_fails_without_a_name_or_in_great_number_is_no_noise() {
        assert!(asked("sh", &["-c", "exit 101", "sh"]).is_err());
        assert!(
            asked("sh", &["-c", "echo failures:; seq -f '    t%g' 4; [ \"$1\" = --exact ]", "sh"]).is_err()
        );
    }

    #[test]
    fn the_names_at_the_end_are_heard() {
        let text = "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\n    indented\n\n\n\
                    failures:\n    a::b\n    c\n\ntest result: FAILED. 0 passed; 2 failed\n    after\n";
        let mut failed = Vec::new();
        let mut within = false;
        for line in text.lines() {
            within = names(line, within, &mut failed);
        }
        assert_eq!(failed, ["a::b", "c"]);
    }
}
