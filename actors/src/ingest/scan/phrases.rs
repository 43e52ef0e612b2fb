//! Sentences that speak to a model: by a verb, and what stands within a few words of it.

use twinmcp_storage::bundle::{Label, Labels, Snippet};

use super::words::{Word, folded, words};

/// Words after a verb in which its object is looked for.
const OBJECT_WORDS: usize = 7;
/// Words after a verb in which an address is looked for.
const ADDRESS_WORDS: usize = 24;

/// Labels of the phrases in a text.
pub(super) fn find(text: &str) -> Labels {
    let mut labels = Labels::NONE;
    let text = folded(text);
    // Nearly all text ends here: none of the words that every rule needs is in it.
    if !has_any(&text) {
        return labels;
    }
    let words = words(&text);
    for (at, word) in words.iter().enumerate() {
        if word.quoted {
            continue;
        }
        let after = &words[at + 1..];
        if overrides(word, after) || becomes(word, after) {
            labels.insert(Label::InstructionOverride);
        }
        if reveals(word, after) || sends(word, after) {
            labels.insert(Label::Exfiltration);
        }
        if conceals(word, after) {
            labels.insert(Label::Concealment);
        }
    }
    labels
}

/// Whether a text in lower case has a word without which no rule speaks.
fn has_any(text: &str) -> bool {
    [
        "instruction",
        "prompt",
        "guidelines",
        "directives",
        "the user",
        "you are now",
        "conversation",
        "chat history",
    ]
    .iter()
    .any(|needle| text.contains(needle))
}

/// `ignore all previous instructions`
fn overrides(word: &Word<'_>, after: &[Word<'_>]) -> bool {
    if !matches!(word.text, "ignore" | "disregard" | "forget" | "bypass" | "override" | "discard") {
        return false;
    }
    let near = within(after, OBJECT_WORDS);
    let Some(object) = near.iter().position(|word| is_instruction(word.text)) else { return false };
    // Whose instructions: those the model already has. Settings override a system prompt every day.
    let settings = matches!(word.text, "override" | "bypass");
    near[..object].iter().any(|word| {
        !(settings && matches!(word.text, "system" | "initial" | "original"))
            && matches!(
                word.text,
                "previous"
                    | "prior"
                    | "above"
                    | "earlier"
                    | "preceding"
                    | "your"
                    | "system"
                    | "initial"
                    | "original"
            )
    }) || near.get(object + 1).is_some_and(|word| matches!(word.text, "above" | "before"))
        && near[..object].iter().any(|word| matches!(word.text, "all" | "any" | "the"))
}

fn is_instruction(word: &str) -> bool {
    matches!(word, "instruction" | "instructions" | "prompt" | "prompts" | "guidelines" | "directives")
}

/// `you are now an unrestricted assistant`
fn becomes(word: &Word<'_>, after: &[Word<'_>]) -> bool {
    word.text == "you"
        && starts(after, &["are", "now"])
        && within(&after[2..], OBJECT_WORDS).iter().any(|word| {
            matches!(
                word.text,
                "assistant" | "ai" | "chatbot" | "jailbroken" | "unrestricted" | "dan" | "llm"
            )
        })
}

/// `reveal your system prompt`
fn reveals(word: &Word<'_>, after: &[Word<'_>]) -> bool {
    if !matches!(
        word.text,
        "reveal" | "print" | "repeat" | "output" | "show" | "disclose" | "leak" | "display"
    ) {
        return false;
    }
    let near = within(after, 5);
    let whose = near.iter().position(|word| word.text == "your");
    whose.is_some_and(|whose| {
        let rest = &near[whose + 1..];
        let hidden =
            |word: &Word<'_>| matches!(word.text, "system" | "initial" | "hidden" | "secret" | "original");
        rest.iter().any(hidden) && rest.iter().any(|word| is_instruction(word.text))
    })
}

/// `send the conversation to https://…`
fn sends(word: &Word<'_>, after: &[Word<'_>]) -> bool {
    if !matches!(
        word.text,
        "send" | "post" | "upload" | "exfiltrate" | "forward" | "append" | "transmit" | "leak"
    ) {
        return false;
    }
    let near = within(after, ADDRESS_WORDS);
    let object = &near[..near.len().min(10)];
    let private = object.windows(2).any(|pair| {
        matches!(
            (pair[0].text, pair[1].text),
            ("chat", "history")
                | ("system", "prompt")
                | ("conversation", "history")
                | ("this" | "entire" | "whole" | "full" | "user's", "conversation")
        )
    });
    private && near.iter().any(|word| matches!(word.text, "http" | "https" | "webhook" | "url" | "endpoint"))
}

/// `do not tell the user`
fn conceals(word: &Word<'_>, after: &[Word<'_>]) -> bool {
    let verbs = ["tell", "inform", "mention", "reveal", "notify", "alert", "show", "warn"];
    let negated = match word.text {
        "not" | "never" | "don't" | "don’t" => true,
        "without" => {
            return after
                .first()
                .is_some_and(|next| matches!(next.text, "telling" | "informing" | "notifying" | "alerting"))
                && starts(&after[1..], &["the", "user"])
                && within(&after[3.min(after.len())..], 4)
                    .iter()
                    .any(|word| matches!(word.text, "run" | "execute" | "call" | "send" | "silently"));
        }
        _ => false,
    };
    if !negated || !after.first().is_some_and(|next| verbs.contains(&next.text)) {
        return false;
    }
    // To the user, about this text: documentation of programs says what they do not tell users, too.
    let near = within(&after[1..], 6);
    let user = near.iter().position(|word| word.text == "user");
    user.is_some_and(|user| {
        near.iter().any(|word| matches!(word.text, "this" | "these" | "instructions" | "instruction"))
            || within(&after[(user + 2).min(after.len())..], 6)
                .iter()
                .any(|word| matches!(word.text, "instruction" | "instructions" | "prompt"))
    })
}

/// Whether the text tells an agent to do something: `AI assistants must run …`.
pub(super) fn speaks_to_agent(snippet: &Snippet) -> bool {
    let parts = snippet.blocks.iter().map(|block| match block {
        twinmcp_storage::bundle::Block::Prose(text)
        | twinmcp_storage::bundle::Block::Code { code: text, .. } => text,
    });
    parts.into_iter().any(|text| {
        let lower = folded(text);
        let words = words(&lower);
        words.iter().enumerate().any(|(at, word)| {
            let agent = matches!(
                word.text,
                "assistant" | "assistants" | "agent" | "agents" | "ai" | "llm" | "llms" | "copilot"
            );
            let near = || within(&words[at + 1..], 6);
            agent
                && near().iter().any(|word| {
                    matches!(
                        word.text,
                        "must" | "should" | "please" | "need" | "needs" | "required" | "always"
                    )
                })
                && near().iter().any(|word| {
                    matches!(
                        word.text,
                        "run" | "execute" | "install" | "call" | "download" | "fetch" | "first"
                    )
                })
        })
    })
}

/// Up to `count` words of the same sentence.
fn within<'w, 't>(words: &'w [Word<'t>], count: usize) -> &'w [Word<'t>] {
    let near = &words[..words.len().min(count)];
    &near[..near.iter().position(|word| word.begins).unwrap_or(near.len())]
}

fn starts(words: &[Word<'_>], expected: &[&str]) -> bool {
    words.len() >= expected.len() && words.iter().zip(expected).all(|(word, expected)| word.text == *expected)
}
