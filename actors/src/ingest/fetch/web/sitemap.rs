//! Site maps (sitemaps.org): lists of pages, and lists of such lists, plain or gzipped.
//!
//! Invariant: nothing in a list makes it larger. What is gzipped ends at the limits that other bodies have, and entities that
//! a list declares are not followed.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use url::Url;

use crate::outbound::{OutboundConfig, OutboundError};

/// Bytes of one list, unpacked: the standard's limit.
const SITEMAP_BYTES_MAX: u64 = 50 << 20;
/// URLs of one list: the standard's limit.
const URLS_MAX: usize = 50_000;
/// Unpacked bytes between two looks at the limits.
const PIECE_BYTES: u64 = 64 << 10;

/// One list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sitemap {
    /// Pages, as written.
    pub(super) pages: Vec<String>,
    /// Further lists, as written.
    pub(super) lists: Vec<String>,
    /// How many are left out because entities that the list itself declares stand in their addresses.
    pub(super) with_entities: u64,
}

impl Sitemap {
    /// Reads the list at `url`, which unpacks to `ratio_max` times its size at most; nothing when `bytes` are none. A list
    /// that breaks off holds what came before.
    ///
    /// # Errors
    /// When it unpacks further.
    pub(super) fn parse(url: &Url, bytes: &[u8], ratio_max: u64) -> Result<Option<Self>, OutboundError> {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let unpacked = unpacked(url, bytes, SITEMAP_BYTES_MAX, ratio_max)?;
            return Ok(unpacked.and_then(|unpacked| Self::parse_xml(&unpacked)));
        }
        Ok(Self::parse_xml(bytes))
    }

    fn parse_xml(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut reader = Reader::from_str(&text);
        let (mut map, mut root, mut inside, mut entry) = (Self::default(), Root::None, false, String::new());
        let mut is_plain = true;
        loop {
            match reader.read_event() {
                Ok(Event::Start(tag)) => match tag.local_name().as_ref() {
                    "urlset" => root = Root::Pages,
                    "sitemapindex" => root = Root::Lists,
                    // Images and videos of a page have a `loc` of their own, in another namespace.
                    "loc" if tag.name().prefix().is_none() => {
                        (inside, is_plain, entry) = (true, true, String::new());
                    }
                    _ if root == Root::None => return None,
                    _ => {}
                },
                Ok(Event::Text(text)) if inside => entry.push_str(&text),
                Ok(Event::CData(text)) if inside => entry.push_str(&text),
                Ok(Event::GeneralRef(reference)) if inside => match character(&reference) {
                    Some(character) => entry.push(character),
                    None => is_plain = false,
                },
                Ok(Event::End(tag)) if inside && tag.local_name().as_ref() == "loc" => {
                    inside = false;
                    if !is_plain {
                        map.with_entities += 1;
                        continue;
                    }
                    let list = if root == Root::Lists { &mut map.lists } else { &mut map.pages };
                    if list.len() < URLS_MAX {
                        list.push(entry.trim().to_owned());
                    }
                }
                Ok(Event::Eof) | Err(_) => break,
                Ok(_) => {}
            }
        }
        (root != Root::None).then_some(map)
    }
}

#[derive(PartialEq, Eq)]
enum Root {
    None,
    Pages,
    Lists,
}

/// What `bytes` unpack to; nothing when they are damaged, or begin like no XML.
fn unpacked(
    url: &Url,
    bytes: &[u8],
    bytes_max: u64,
    ratio_max: u64,
) -> Result<Option<Vec<u8>>, OutboundError> {
    let ratio_bytes = (bytes.len() as u64).saturating_mul(ratio_max).max(OutboundConfig::RATIO_FREE_BYTES);
    let (mut decoder, mut unpacked) = (MultiGzDecoder::new(bytes), Vec::new());
    loop {
        match decoder.by_ref().take(PIECE_BYTES).read_to_end(&mut unpacked) {
            Ok(0) => return Ok(Some(unpacked)),
            Ok(length) if length == unpacked.len() && !begins_like_xml(&unpacked) => return Ok(None),
            Ok(_) => {}
            Err(_) => return Ok(None),
        }
        let length = unpacked.len() as u64;
        if length > ratio_bytes {
            return Err(OutboundError::UnpacksTooFar { url: url.to_string(), ratio_max });
        }
        if length > bytes_max {
            let way_out = "whoever runs it has to split the site map";
            return Err(OutboundError::BodyTooLarge { url: url.to_string(), limit: bytes_max, way_out });
        }
    }
}

fn begins_like_xml(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    text.is_empty() || text.starts_with(b"<")
}

/// The references that XML itself has; URLs need no others.
fn character(reference: &BytesRef<'_>) -> Option<char> {
    match reference.as_ref() {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().ok().flatten(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PAGES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="http://www.google.com/x">
        <url><loc> https://a.example/one </loc><lastmod>2026-01-01</lastmod>
        <image:image><image:loc>https://a.example/x.png</image:loc></image:image></url>
        <url><loc>https://a.example/two?a=1&amp;b=2</loc></url><url><loc><![CDATA[https://a.example/three]]></loc></url>
        </urlset>"#;

    const RATIO_MAX: u64 = 200;

    fn url() -> Url {
        Url::parse("https://a.example/sitemap.xml.gz").unwrap()
    }

    fn parse(bytes: &[u8]) -> Option<Sitemap> {
        Sitemap::parse(&url(), bytes, RATIO_MAX).unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn pages_and_lists_are_read_also_when_gzipped() {
        let pages = ["https://a.example/one", "https://a.example/two?a=1&b=2", "https://a.example/three"];
        let map = parse(PAGES.as_bytes()).unwrap();
        assert_eq!((map.pages.as_slice(), map.lists.len()), (&pages.map(str::to_owned)[..], 0));
        assert_eq!(parse(&gzip(PAGES.as_bytes())), Some(map));
        let index = "<sitemapindex><sitemap><loc>https://a.example/1.xml.gz</loc></sitemap></sitemapindex>";
        assert_eq!(parse(index.as_bytes()).unwrap().lists, ["https://a.example/1.xml.gz"]);
    }

    #[test]
    fn a_list_that_unpacks_too_far_is_an_error_and_the_same_without_the_excess_is_not() {
        let padded = |bytes: usize| gzip((PAGES.to_owned() + &" ".repeat(bytes)).as_bytes());
        let free = usize::try_from(OutboundConfig::RATIO_FREE_BYTES).unwrap();
        let error = Sitemap::parse(&url(), &padded(4 * free), RATIO_MAX).unwrap_err();
        assert_eq!(error.reason(), "unpacked_ratio", "{error}");
        assert_eq!(parse(&padded(free / 2)).unwrap().pages.len(), 3);

        let bytes = gzip(PAGES.as_bytes());
        let whole = PAGES.len() as u64;
        assert_eq!(unpacked(&url(), &bytes, whole, RATIO_MAX).unwrap().unwrap(), PAGES.as_bytes());
        let error = unpacked(&url(), &bytes, whole - 1, RATIO_MAX).unwrap_err();
        assert_eq!(error.reason(), "body_bytes");
        assert!(error.to_string().contains("has to split the site map"), "{error}");
        // An archive that somebody names is no site map, however large it is.
        assert_eq!(parse(&gzip(&vec![0; 4 * free])), None);
    }

    #[test]
    fn entities_are_not_followed_and_pages_named_with_them_are_left_out() {
        let text = "<!DOCTYPE urlset [<!ENTITY e0 \"ha\"><!ENTITY e1 \"&e0;&e0;\">]>\
                    <urlset><url><loc>/&e1;</loc></url><url><loc>/a&#38;b&#x26;c&apos;</loc></url></urlset>";
        let map = parse(text.as_bytes()).unwrap();
        assert_eq!((map.pages.as_slice(), map.with_entities), (&["/a&b&c'".to_owned()][..], 1));
    }

    #[test]
    fn what_is_no_list_is_none_and_a_broken_one_holds_its_beginning() {
        for text in ["", "<html><body><loc>x</loc></body></html>", "plain text", "{\"openapi\": \"3.1.0\"}"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&[0x1f, 0x8b, 0, 0]), None);
        let broken =
            PAGES.split("</loc><lastmod>").next().unwrap().to_owned() + "</loc></url><url><loc>ht</l";
        assert_eq!(parse(broken.as_bytes()).unwrap().pages, ["https://a.example/one"]);
    }
}
