//! Everything that is shown to a person or written for a script, as text.

mod addr;
mod complaint;
mod doctor;
mod fast;
mod invite;
mod plan;
mod relay;
mod status;
mod translate;

pub(crate) use addr::{addr, addr_json};
pub(crate) use complaint::{complaint, warning};
pub(crate) use doctor::{traps, traps_json};
pub(crate) use invite::invite_json;
pub(crate) use plan::{in_step, needs_serving, plan, plan_json, prefixes, taking};
pub(crate) use relay::{alert, draining, waiting};
pub(crate) use status::{status, status_json};
pub(crate) use translate::{translate, translate_json, translate_totals};

use anstyle::{AnsiColor, Style};

/// Wraps text in a style; what is not a terminal gets it without (anstream).
fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn bold(text: &str) -> String {
    styled(Style::new().bold(), text)
}

fn dim(text: &str) -> String {
    styled(Style::new().dimmed(), text)
}

fn coloured(colour: AnsiColor, text: &str) -> String {
    styled(Style::new().fg_color(Some(colour.into())).bold(), text)
}

/// Text broken into lines of 80 columns, each after this indent; the first line stands behind `head`.
fn folded(head: &str, indent: usize, text: &str) -> String {
    let mut out = String::from(head);
    let mut column = head.chars().count();
    for word in text.split(' ') {
        let width = word.chars().count();
        if column + 1 + width > 80 && column > indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > 0 && !out.ends_with(' ') {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
    out
}

/// A bridge's name and a sentence on it, folded. The name has no space in it.
fn headed(name: &str, text: &str) -> String {
    // A style's bytes have no width.
    folded("", 2, &format!("{name}: {text}")).replacen(name, &bold(name), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_folded_too() {
        let text =
            "reaches IPv4 from 2001:db8:eec0:0:63a7:be25:a82:7739 through the NAT64 of 2001:db8:64:0:1::/96";
        let expected = "clat-vm: reaches IPv4 from 2001:db8:eec0:0:63a7:be25:a82:7739 through the NAT64\n  \
                        of 2001:db8:64:0:1::/96\n";
        assert_eq!(headed("clat-vm", text).replace(&bold("clat-vm"), "clat-vm"), expected);
    }

    #[test]
    fn folding() {
        let check = |head: &str, indent: usize, text: &str, expected: &str| {
            assert_eq!(folded(head, indent, text), expected);
        };
        check("", 0, "a b", "a b\n");
        check("  1  ", 5, "a b", "  1  a b\n");
        let long = "x".repeat(70);
        check("  1  ", 5, &format!("{long} yyyyyy z"), &format!("  1  {long}\n     yyyyyy z\n"));
    }
}
