//! `cluster rotate-key` and `cluster rotate-ca`: begin a rotation, and watch it to its end.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{ClientArgs, Node};
use super::{CliError, tell};

/// Between two looks how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
#[command(
    after_help = "Every node goes on meanwhile. It waits for members that are away; with `--leave-behind` it goes on without \
                  those that do not answer: they get the new key by themselves when they are back, but need a token after \
                  `rotate-ca` (`twinmcp cluster join`)."
)]
pub(super) struct RotateArgs {
    /// Go on without members that do not answer
    #[arg(long)]
    leave_behind: bool,
    /// Watch it for so many seconds; it goes on by itself all the same
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=86_400), value_name = "SECONDS")]
    wait: u64,
    #[command(flatten)]
    client: ClientArgs,
}

/// Replaces `secret`, as the API calls it.
pub(super) async fn run(secret: &str, args: &RotateArgs) -> Result<(), CliError> {
    let until = Instant::now() + Duration::from_secs(args.wait);
    let node = Node::new(&args.client, "twinmcp-cli")?;
    let path = format!("/api/cluster/rotations/{secret}?leave_behind={}", args.leave_behind);
    let begun: Value = node.post(&path, &json!({})).await?;
    let mut shown = String::new();
    loop {
        let view: Value = node.get("/api/cluster").await?;
        let now = rotation(&view, secret);
        let is_over = now["number"] != begun["number"] || now["step"] == "settled";
        if is_over {
            tell(&format!("the cluster's {secret} was replaced on every node that takes part"));
            return Ok(());
        }
        let stand = stand(now);
        if stand != shown {
            tell(&stand);
            shown = stand;
        }
        if Instant::now() >= until {
            return Err(CliError::Failed(format!(
                "{shown}; it goes on by itself when they answer, and `cluster status` shows it. To go on without them, run this \
                 again with `--leave-behind`"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The rotation of `secret` in what `GET /api/cluster` answers.
fn rotation<'a>(view: &'a Value, secret: &str) -> &'a Value {
    let rotations = view["rotations"].as_array().map(Vec::as_slice).unwrap_or_default();
    rotations.iter().find(|rotation| rotation["secret"] == secret).unwrap_or(&Value::Null)
}

/// How far a rotation is, in a line; nothing when none is under way.
pub(super) fn stand(rotation: &Value) -> String {
    let step = match rotation["step"].as_str() {
        Some("spreading") => "nodes get the new one",
        Some("using") => "the new one is in force, the one before is still accepted",
        _ => return String::new(),
    };
    let nodes = |name: &str| -> Vec<String> {
        rotation[name].as_array().into_iter().flatten().map(Value::to_string).collect()
    };
    let secret = rotation["secret"].as_str().unwrap_or_default();
    let mut stand = format!("the cluster's {secret} is being replaced: {step}");
    for (name, words) in [("waits_for", "waits for node"), ("left_behind", "goes on without node")] {
        let nodes = nodes(name);
        if !nodes.is_empty() {
            stand += &format!("; {words} {}", nodes.join(", "));
        }
    }
    stand
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_told_in_a_line() {
        let view = json!({ "rotations": [
            { "secret": "key", "step": "settled", "waits_for": [], "left_behind": [] },
            { "secret": "authority", "step": "using", "waits_for": [2, 3], "left_behind": [4] },
        ]});
        assert_eq!(stand(rotation(&view, "key")), "");
        assert_eq!(
            stand(rotation(&view, "authority")),
            "the cluster's authority is being replaced: the new one is in force, the one before is still accepted; waits for \
             node 2, 3; goes on without node 4"
        );
        assert_eq!(stand(rotation(&json!({}), "key")), "", "of the build before");
    }
}
