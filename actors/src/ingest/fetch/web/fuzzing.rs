//! What a site says, for the fuzz targets: its rules, its site map, its list for models, its pages' kinds.

use robotxt::AccessResult;
use url::Url;

use super::content::Content;
use super::robots::Rules;
use super::scope::{Scope, listed};
use super::sitemap::Sitemap;
use super::walk::DEPTH;
use super::{llms, scope};
use crate::ingest::parse::html;
use crate::outbound::OutboundConfig;

fn at(path: &str) -> Option<Url> {
    Url::parse("https://a.example/docs/").and_then(|base| base.join(path)).ok()
}

/// Reads bytes as `robots.txt`, and asks it about a few places.
pub(crate) fn robots(data: &[u8]) {
    let rules = Rules::parse(AccessResult::Successful(data));
    for path in ["/", "/docs/a?b=c", "/private/%61/ä", "/a.pdf"] {
        let _ = at(path).is_some_and(|url| rules.allow(&url));
    }
    let _ = (rules.delay(), rules.sitemaps().len());
}

/// Reads bytes as a site map, plain or gzipped.
pub(crate) fn sitemap(data: &[u8]) {
    let Some(base) = at("") else { return };
    let Ok(Some(map)) = Sitemap::parse(&base, data, OutboundConfig::default().unpacked_ratio_max) else {
        return;
    };
    for written in map.pages.iter().chain(&map.lists) {
        let _ = listed(&base, written).map(|url| scope::is_asset(&url));
    }
}

/// Reads text as `llms.txt` and as `llms-full.txt`; of the latter no text may be lost but the lines with sources.
pub(crate) fn llms(text: &str) {
    let Some(list) = at("llms.txt") else { return };
    assert!(llms::is_list(&list));
    let scope = Scope::of(&list);
    for link in llms::links(&list, text) {
        let _ = scope.holds(&link);
    }
    let (_, pages) = (llms::is_full(text), llms::full_pages(&list, text, usize::MAX));
    let kept: usize = pages.iter().map(|page| page.text.len()).sum();
    assert!(
        kept <= text.len()
            && (pages.len() > 1 || pages.iter().any(|page| page.url.is_some()) || kept == text.len())
    );
}

/// Reads a page for its links and wishes: what `X-Robots-Tag` says, a line break, the page. What it leads to is http, and has one
/// spelling.
pub(crate) fn page_head(data: &[u8]) {
    let (wishes, body) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let wishes = String::from_utf8_lossy(wishes);
    let head = html::head(body, DEPTH);
    let _ = (head.is_noindex(&wishes), head.is_nofollow(&wishes));
    let Some((page, start)) = at("guide/a").zip(at("")) else { return };
    let scope = Scope::of(&start);
    for target in head.links.iter().chain(&head.canonical) {
        let Some(url) = scope::link(&page, head.base.as_deref(), target) else { continue };
        assert!(matches!(url.scheme(), "http" | "https") && scope::canonical(&url) == url, "{url}");
        if scope.holds(&url) && !scope::is_asset(&url) {
            let kept = scope.path(&url, Content::Html.extensions());
            assert!(kept.split('/').all(|part| !matches!(part, "." | "..")), "{kept}");
        }
    }
}

/// Tells what was fetched: a path, a line break, the content type, a line break, the start of the body.
pub(crate) fn content(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (path, media) = (text(), text());
    let body = lines.next().unwrap_or_default();
    if let Some((url, base)) = at(&path).zip(at("")) {
        let url = scope::canonical(&url);
        let kept = Scope::of(&base).path(&url, Content::of(&url, &media, body).extensions());
        assert!(kept.split('/').all(|part| !matches!(part, "." | "..")) && !kept.starts_with('/'), "{kept}");
    }
}
