//! What was fetched, told by what its server says and by what it looks like.

use url::Url;

/// A kind of page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Html,
    Markdown,
    /// Plain text of any kind.
    Text,
    /// Something else: taken only when somebody asked for just this.
    Other,
}

impl Content {
    /// Tells the content of `url`, sent as `content_type`.
    pub(super) fn of(url: &Url, content_type: &str, body: &[u8]) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let name = url.path().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let extension = name.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
        let by_name = match extension {
            "md" | "markdown" | "mdx" | "mdown" | "mkd" => Some(Self::Markdown),
            "txt" | "text" | "rst" | "adoc" | "asciidoc" => Some(Self::Text),
            "html" | "htm" | "xhtml" => Some(Self::Html),
            _ => None,
        };
        // Sites that are one program answer every address with their page, whatever its name is.
        if looks_like_html(body) && !matches!(media.as_str(), "application/json" | "text/markdown") {
            return Self::Html;
        }
        match media.as_str() {
            "text/html" | "application/xhtml+xml" => Self::Html,
            "text/markdown" | "text/x-markdown" => Self::Markdown,
            "text/plain" | "text/x-rst" | "text/prs.fallenstein.rst" => by_name.unwrap_or(Self::Text),
            "" | "application/octet-stream" | "binary/octet-stream" => by_name.unwrap_or(Self::Other),
            _ => Self::Other,
        }
    }

    /// Endings of names that tell the content to the parsers; the first is given to names without one.
    pub(super) fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Html => &["html", "htm", "xhtml"],
            Self::Markdown => &["md", "markdown", "mdx", "mdown", "mkd"],
            Self::Text => &["txt", "text", "rst", "adoc", "asciidoc"],
            Self::Other => &[],
        }
    }
}

fn looks_like_html(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    [b"<!doctype html".as_slice(), b"<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_by_header_name_and_looks() {
        use Content::{Html, Markdown, Other, Text};
        for (path, content_type, body, expected) in [
            ("/", "text/html; charset=utf-8", "<p>x", Html),
            ("/x", "application/xhtml+xml", "<?xml?>", Html),
            ("/x.md", "text/plain", "# x", Markdown),
            ("/x.md", "text/markdown", "# x", Markdown),
            ("/x", "text/markdown; charset=utf-8", "# x", Markdown),
            ("/llms.txt", "text/plain", "# x", Text),
            ("/x.rst", "application/octet-stream", "x", Text),
            // A program that answers everything with its page.
            ("/llms.txt", "text/plain", " <!DOCTYPE html><html>", Html),
            ("/x.md", "text/html", "<html>", Html),
            ("/openapi.json", "application/json", "{}", Other),
            ("/logo.png", "image/png", "\u{89}PNG", Other),
            ("/x", "", "x", Other),
        ] {
            let url = format!("https://a.example{path}").parse().unwrap();
            assert_eq!(Content::of(&url, content_type, body.as_bytes()), expected, "{path} {content_type}");
        }
    }
}
