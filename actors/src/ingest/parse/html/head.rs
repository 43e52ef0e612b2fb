//! What a page says to programs that walk from page to page: links, its canonical address, and
//! whether it wants to be read and followed.

use super::super::charset;
use super::{Tag, Tree};

/// Links of one page; a page with more is a machine's, and its later ones are left out.
const LINKS_MAX: usize = 10_000;

/// What a page tells about itself and leads to. Addresses are as written, relative ones included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Where its links lead, those marked `nofollow` aside.
    pub links: Vec<String>,
    /// What its links are relative to, when that is not the page itself.
    pub base: Option<String>,
    /// Where the page says it really is.
    pub canonical: Option<String>,
    /// The page's values of the robots meta element, in lower case, separated by commas.
    pub robots: String,
}

impl Head {
    /// Whether the page, or its server by `header` (`X-Robots-Tag`), asks not to be indexed.
    pub fn is_noindex(&self, header: &str) -> bool {
        self.says("noindex", header)
    }

    /// Whether the page or its server asks that its links are not followed.
    pub fn is_nofollow(&self, header: &str) -> bool {
        self.says("nofollow", header)
    }

    fn says(&self, rule: &str, header: &str) -> bool {
        let mut rules = self.robots.split(',').chain(header.split(','));
        // A header may name the program it is for: `otherbot: noindex` is not for us.
        rules.any(|told| [rule, "none"].iter().any(|rule| told.trim().eq_ignore_ascii_case(rule)))
    }
}

/// Reads what the page in `bytes` says to programs, with at most `depth` elements open at once.
pub fn head(bytes: &[u8], depth: usize) -> Head {
    let (text, _) = charset::decode(bytes);
    let tree = Tree::read(&text, depth);
    let mut head = Head::default();
    for (index, tag) in tree.elements(0, tree.nodes.len()) {
        let attribute = |name| tree.attribute(index, name).trim().to_owned();
        let has = |name, wanted: &str| {
            attribute(name).split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(wanted))
        };
        match tag {
            Tag::A | Tag::Area if head.links.len() < LINKS_MAX && !has("rel", "nofollow") => {
                head.links.extend(Some(attribute("href")).filter(|href| !href.is_empty()));
            }
            Tag::Base if head.base.is_none() => {
                head.base = Some(attribute("href")).filter(|href| !href.is_empty());
            }
            Tag::Link if head.canonical.is_none() && has("rel", "canonical") => {
                head.canonical = Some(attribute("href")).filter(|href| !href.is_empty());
            }
            Tag::Meta if has("name", "robots") || has("name", "twinmcp") => {
                head.robots.push_str(&attribute("content").to_ascii_lowercase());
                head.robots.push(',');
            }
            Tag::Meta if has("http-equiv", "refresh") => head.links.extend(refresh(&attribute("content"))),
            _ => {}
        }
    }
    head
}

/// `0; url=guide/` sends a browser to `guide/`.
fn refresh(content: &str) -> Option<String> {
    let (_, rest) = content.split_once([';', ','])?;
    let (name, url) = rest.split_once('=')?;
    let url = url.trim().trim_matches(['\'', '"']);
    (name.trim().eq_ignore_ascii_case("url") && !url.is_empty()).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_canonical_and_wishes_are_read() {
        let page = br#"<html><head><base href="/docs/"><link rel="stylesheet" href="a.css">
            <link rel="canonical" href="https://a.example/docs/x"><meta name="ROBOTS" content="NoIndex, follow">
            <meta http-equiv="refresh" content="0; URL='new/'"></head><body><a href="b?x=1&amp;y=2">b</a>
            <a name="anchor">no link</a><a rel="external nofollow" href="c">c</a><script>"<a href='d'>"</script></body>"#;
        let head = head(page, 64);
        assert_eq!(head.links, ["new/", "b?x=1&y=2"]);
        assert_eq!(head.base.as_deref(), Some("/docs/"));
        assert_eq!(head.canonical.as_deref(), Some("https://a.example/docs/x"));
        assert!(head.is_noindex("") && !head.is_nofollow(""));
        assert!(head.is_nofollow("nofollow") && head.is_nofollow("x, None"));
        assert!(!Head::default().is_noindex("otherbot: noindex"));
    }
}
