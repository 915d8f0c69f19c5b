use straddle_intent::doctor::Trap;

use super::{folded, headed};

/// Traps, each with its cure.
pub(crate) fn traps(traps: &[Trap]) -> String {
    let mut out: String = traps.iter().map(trap).collect();
    out += &match traps.len() {
        0 => "No known trap on this host.\n".to_string(),
        1 => "1 trap. Nothing was changed.\n".to_string(),
        count => format!("{count} traps. Nothing was changed.\n"),
    };
    out
}

fn trap(trap: &Trap) -> String {
    let mut out = headed(trap.device.as_deref().unwrap_or("host"), &trap.wrong);
    out += &folded("  seen  ", 8, &trap.seen);
    for (index, command) in trap.cure.iter().enumerate() {
        // Commands are copied: they stay whole.
        let head = if index == 0 { "  cure  " } else { "        " };
        out += &format!("{head}{command}\n");
    }
    out.push('\n');
    out
}

/// The same as data.
pub(crate) fn traps_json(traps: &[Trap]) -> String {
    format!("{:#}\n", serde_json::json!(traps))
}
