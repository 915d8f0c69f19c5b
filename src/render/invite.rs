use serde_json::{Value, json};
use straddle_intent::invite::{Format, Handout};

/// What `invite` hands out, as data.
pub(crate) fn invite_json(name: &str, format: Format, handout: &Handout) -> String {
    let files = handout.pieces.iter().map(
        |piece| json!({ "path": piece.path, "mode": format!("{:04o}", piece.mode), "text": piece.text }),
    );
    let files: Vec<Value> = files.collect();
    format!("{:#}", json!({ "name": name, "as": format.name(), "files": files, "then": handout.then }))
}
