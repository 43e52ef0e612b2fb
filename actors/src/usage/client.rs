//! Which program asks: a closed list, so that a name somebody makes up costs no memory and no label.

/// A program that asks for documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(u8);

/// Names as they are shown, each with what programs call themselves that start so, in lower case.
/// A name before another that it starts with comes first. Only ever added to at the end of its kind:
/// what is shown is kept.
const CLIENTS: [(&str, &[&str]); 25] = [
    ("other", &[]),
    ("claude-code", &["claude-code", "claude code", "claude-cli"]),
    ("claude-desktop", &["claude-ai", "claude-desktop", "claude desktop", "claude"]),
    ("cursor", &["cursor"]),
    ("codex", &["codex", "openai-codex"]),
    ("chatgpt", &["chatgpt", "openai-mcp"]),
    ("copilot", &["github-copilot", "github copilot", "copilot"]),
    ("vscode", &["visual studio code", "visual-studio-code", "vscode"]),
    ("visual-studio", &["visual-studio", "visual studio", "visualstudio"]),
    ("windsurf", &["windsurf", "codeium"]),
    ("cline", &["cline"]),
    ("roo-code", &["roo"]),
    ("kilo-code", &["kilo"]),
    ("continue", &["continue"]),
    ("zed", &["zed"]),
    ("jetbrains", &["jetbrains", "intellij", "junie"]),
    ("gemini-cli", &["gemini"]),
    ("antigravity", &["antigravity"]),
    ("opencode", &["opencode"]),
    ("goose", &["goose"]),
    ("amp", &["amp", "sourcegraph-amp"]),
    ("qwen-code", &["qwen"]),
    ("kiro", &["kiro", "amazon-q", "amazon q"]),
    ("ctx7", &["ctx7"]),
    ("twinmcp", &["twinmcp"]),
];

/// Bytes of a name that are read.
const NAME_BYTES_MAX: usize = 32;

impl Client {
    /// How many there are.
    pub const COUNT: usize = CLIENTS.len();
    /// A program that is not in the list, or did not say.
    pub const OTHER: Self = Self(0);

    /// The program that calls itself `name`, e.g. `Claude-Code/2.1 (external)`.
    pub fn of(name: &str) -> Self {
        let bytes = name.trim_start().bytes().take(NAME_BYTES_MAX).map(|byte| byte.to_ascii_lowercase());
        let (mut lower, mut length) = ([0_u8; NAME_BYTES_MAX], 0);
        for (place, byte) in lower.iter_mut().zip(bytes) {
            *place = byte;
            length += 1;
        }
        let name = &lower[..length];
        let is_it = |start: &&str| {
            let rest = name.strip_prefix(start.as_bytes());
            // `amp` is one, `ampersand` is not.
            rest.is_some_and(|rest| rest.first().is_none_or(|next| !next.is_ascii_alphabetic()))
        };
        let found = CLIENTS.iter().position(|(_, starts)| starts.iter().any(is_it));
        Self(found.and_then(|at| u8::try_from(at).ok()).unwrap_or(0))
    }

    /// Its place in the list.
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Every program of the list.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).take(CLIENTS.len()).map(Self)
    }

    /// The name that is shown.
    pub fn name(self) -> &'static str {
        CLIENTS.get(self.index()).map_or("other", |(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_how_they_call_themselves_and_the_rest_is_other() {
        for (name, expected) in [
            ("claude-code", "claude-code"),
            ("Claude-Code/2.1.3 (external, cli)", "claude-code"),
            ("claude-ai", "claude-desktop"),
            ("Cursor/1.9", "cursor"),
            ("Visual Studio Code", "vscode"),
            ("Visual Studio 2026", "visual-studio"),
            ("Roo Code", "roo-code"),
            ("ctx7-cli", "ctx7"),
            ("twinmcp/0.1.0", "twinmcp"),
            ("ampersand", "other"),
            ("cursory", "other"),
            ("curl/8.5", "other"),
            ("", "other"),
            ("日本語のクライアントの名前です、とても長い", "other"),
        ] {
            assert_eq!(Client::of(name).name(), expected, "{name}");
        }
        assert_eq!(Client::all().count(), Client::COUNT);
    }

    #[test]
    fn every_name_of_the_list_is_itself() {
        for client in Client::all() {
            assert_eq!(Client::of(client.name()), client);
        }
    }
}
