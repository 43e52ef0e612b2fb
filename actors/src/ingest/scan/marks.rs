//! Marks that only programs write: turns of chat templates, calls of tools, commands that run what they fetch.

use twinmcp_storage::bundle::{Block, Label, Labels, Snippet};

/// Marks between turns, as the templates of common models have them.
const ROLES: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|start_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<<SYS>>",
    "[INST]",
    "[/INST]",
    "<system-reminder>",
];

/// How calls of tools and their results are written.
const CALLS: &[&str] = &[
    "<tool_call>",
    "<tool_use>",
    "<tool_result>",
    "<function_calls>",
    "<function_results>",
    "<invoke name=",
    "<|tool_calls",
    "<|python_tag|>",
];

/// Labels of the marks in running text; what stands in code marks is a mention.
pub(super) fn find(prose: &str, labels: &mut Labels) {
    if !prose.contains(['<', '[']) {
        return;
    }
    for line in prose.lines() {
        // Between ticks is every second part.
        for part in line.split('`').step_by(2) {
            let has = |marks: &[&str]| marks.iter().any(|mark| part.contains(mark));
            if has(ROLES) {
                labels.insert(Label::RoleMarker);
            }
            if has(CALLS) {
                labels.insert(Label::ToolCall);
            }
        }
    }
}

/// Whether a line of the snippet fetches something and hands it to an interpreter.
pub(super) fn runs_what_it_fetches(snippet: &Snippet) -> bool {
    let texts = snippet.blocks.iter().map(|block| match block {
        Block::Prose(text) | Block::Code { code: text, .. } => text,
    });
    texts.into_iter().flat_map(|text| text.lines()).any(|line| {
        let fetches = ["curl ", "wget ", "iwr ", "Invoke-WebRequest", "base64 -d", "base64 --decode"];
        let Some(at) = fetches.iter().filter_map(|fetch| line.find(fetch)).min() else { return false };
        let piped = line[at..].split('|').skip(1).any(|command| {
            let program = command.trim_start().trim_start_matches("sudo ");
            let program = program.split([' ', '`', ')', '"']).next().unwrap_or_default();
            matches!(program, "sh" | "bash" | "zsh" | "python" | "python3" | "node" | "perl" | "iex" | "pwsh")
        });
        let before = &line[..at];
        piped || before.contains("eval ") || before.contains("$(") && line.contains("sh -c")
    })
}
