//! Which programming language an ask or a library is about: `redis rust crate`, `in node js`.

/// A set of languages, each with its package registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Languages(u16);

/// Every language by its bit: words that mean it wherever they stand, then words that mean it only
/// behind a word like `in` or `for`, because they are also plain English or the name of a tool.
const LANGUAGES: [(&str, &[&str], &[&str]); 14] = [
    (
        "JavaScript",
        &["javascript", "js", "typescript", "ts", "node", "nodejs", "npm", "ecmascript"],
        &["browser", "deno", "bun"],
    ),
    ("Python", &["python", "python3", "py", "py3", "pypi", "cpython"], &["pip"]),
    ("Rust", &["rust", "rustlang", "crate", "crates", "rs"], &["cargo"]),
    ("Go", &["golang"], &["go"]),
    ("Ruby", &["ruby", "rubygem", "rubygems"], &["gem"]),
    ("PHP", &["php", "packagist"], &["composer"]),
    ("Java", &["java", "jvm", "kotlin"], &["maven", "gradle", "scala"]),
    (".NET", &["dotnet", "csharp", "fsharp", "nuget"], &["net"]),
    ("Elixir", &["elixir"], &["hex", "erlang"]),
    ("Dart", &["dart"], &["flutter", "pub"]),
    ("Swift", &["swiftpm"], &["swift"]),
    ("C++", &["cpp"], &["c"]),
    ("Perl", &["perl", "cpan"], &[]),
    ("R", &["rlang", "cran"], &["r"]),
];

/// Words behind which a word of doubtful meaning is a language.
const BEFORE: [&str; 6] = ["in", "for", "with", "using", "from", "the"];

impl Languages {
    /// The languages a word means; `before` is the word in front of it.
    pub(super) fn of_word(word: &str, before: Option<&str>) -> Self {
        let after_opener = before.is_some_and(|before| BEFORE.contains(&before));
        let means = |(_, always, after): &(&str, &[&str], &[&str])| {
            always.contains(&word) || after_opener && after.contains(&word)
        };
        let bits = LANGUAGES.iter().enumerate().filter(|(_, language)| means(language));
        Self(bits.fold(0, |bits, (at, _)| bits | 1 << at))
    }

    /// The languages of a package registry, by the name it has in ids; empty for anything else.
    pub(super) fn of_registry(name: &str) -> Self {
        let language = match name {
            "npm" | "jsr" | "deno" => "JavaScript",
            "pypi" | "conda" => "Python",
            "crates" | "crate" | "cargo" => "Rust",
            "go" | "golang" => "Go",
            "gem" | "gems" | "rubygems" => "Ruby",
            "packagist" | "composer" => "PHP",
            "maven" => "Java",
            "nuget" => ".NET",
            "hex" => "Elixir",
            "pub" => "Dart",
            "swiftpm" => "Swift",
            "cpan" => "Perl",
            "cran" => "R",
            _ => return Self::default(),
        };
        let at = LANGUAGES.iter().position(|(name, ..)| *name == language);
        Self(at.map_or(0, |at| 1 << at))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The first language's name for people.
    pub(super) fn name(self) -> Option<&'static str> {
        LANGUAGES.get(self.0.trailing_zeros() as usize).map(|(name, ..)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_doubtful_meaning_are_languages_behind_an_opener() {
        for (word, before, language) in [
            ("rust", None, Some("Rust")),
            ("crate", None, Some("Rust")),
            ("npm", None, Some("JavaScript")),
            ("go", None, None),
            ("go", Some("in"), Some("Go")),
            ("go", Some("to"), None),
            ("swift", Some("for"), Some("Swift")),
            ("zebra", Some("in"), None),
        ] {
            assert_eq!(Languages::of_word(word, before).name(), language, "{before:?} {word}");
        }
    }

    #[test]
    fn every_registry_has_a_language() {
        for registry in
            ["npm", "pypi", "crates", "go", "rubygems", "packagist", "maven", "nuget", "hex", "pub"]
        {
            assert!(!Languages::of_registry(registry).is_empty(), "{registry}");
        }
        assert!(Languages::of_registry("vercel").is_empty());
    }
}
