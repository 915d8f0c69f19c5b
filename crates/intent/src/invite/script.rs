//! Several files as one text to paste into a shell.

use super::Piece;
use super::quote::shell;

/// A script that writes the pieces where they go, and then does what brings them into effect.
pub(super) fn writing(pieces: &[Piece], then: &str) -> String {
    let mut text = String::from("# Paste all of this into a shell of root's, or run it: sh FILE\n");
    for piece in pieces {
        let path = shell(&piece.path);
        // A file that was there keeps its mode: an earlier one of ours, the right one.
        let umask = 0o777 & !piece.mode;
        text.push_str(&format!("(umask {umask:03o}; cat >{path} <<'STRADDLE'\n{}STRADDLE\n)\n", piece.text));
    }
    text.push_str(then);
    text.push('\n');
    text
}
