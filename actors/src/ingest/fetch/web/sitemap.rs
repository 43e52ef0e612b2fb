//! Site maps (sitemaps.org): lists of pages, and lists of such lists, plain or gzipped.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Bytes of one list, unpacked: the standard's limit.
const SITEMAP_BYTES_MAX: u64 = 50 << 20;
/// URLs of one list: the standard's limit.
const URLS_MAX: usize = 50_000;

/// One list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sitemap {
    /// Pages, as written.
    pub(super) pages: Vec<String>,
    /// Further lists, as written.
    pub(super) lists: Vec<String>,
}

impl Sitemap {
    /// Reads a list; nothing when `bytes` are none. A list that breaks off holds what came before.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut unpacked = Vec::new();
            MultiGzDecoder::new(bytes).take(SITEMAP_BYTES_MAX).read_to_end(&mut unpacked).ok()?;
            return Self::parse_xml(&unpacked);
        }
        Self::parse_xml(bytes)
    }

    fn parse_xml(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut reader = Reader::from_str(&text);
        let (mut map, mut root, mut inside, mut entry) = (Self::default(), Root::None, false, String::new());
        loop {
            match reader.read_event() {
                Ok(Event::Start(tag)) => match tag.local_name().as_ref() {
                    "urlset" => root = Root::Pages,
                    "sitemapindex" => root = Root::Lists,
                    // Images and videos of a page have a `loc` of their own, in another namespace.
                    "loc" if tag.name().prefix().is_none() => (inside, entry) = (true, String::new()),
                    _ if root == Root::None => return None,
                    _ => {}
                },
                Ok(Event::Text(text)) if inside => entry.push_str(&text),
                Ok(Event::CData(text)) if inside => entry.push_str(&text),
                Ok(Event::GeneralRef(reference)) if inside => {
                    entry.push_str(&character(&reference));
                }
                Ok(Event::End(tag)) if inside && tag.local_name().as_ref() == "loc" => {
                    inside = false;
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

/// The five references of XML; URLs need no others.
fn character(name: &str) -> String {
    match name {
        "amp" => "&".to_owned(),
        "lt" => "<".to_owned(),
        "gt" => ">".to_owned(),
        "quot" => "\"".to_owned(),
        "apos" => "'".to_owned(),
        _ => format!("&{name};"),
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

    #[test]
    fn pages_and_lists_are_read_also_when_gzipped() {
        let pages = ["https://a.example/one", "https://a.example/two?a=1&b=2", "https://a.example/three"];
        let map = Sitemap::parse(PAGES.as_bytes()).unwrap();
        assert_eq!((map.pages.as_slice(), map.lists.len()), (&pages.map(str::to_owned)[..], 0));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(PAGES.as_bytes()).unwrap();
        assert_eq!(Sitemap::parse(&encoder.finish().unwrap()), Some(map));
        let index = "<sitemapindex><sitemap><loc>https://a.example/1.xml.gz</loc></sitemap></sitemapindex>";
        assert_eq!(Sitemap::parse(index.as_bytes()).unwrap().lists, ["https://a.example/1.xml.gz"]);
    }

    #[test]
    fn what_is_no_list_is_none_and_a_broken_one_holds_its_beginning() {
        for text in ["", "<html><body><loc>x</loc></body></html>", "plain text", "{\"openapi\": \"3.1.0\"}"] {
            assert_eq!(Sitemap::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Sitemap::parse(&[0x1f, 0x8b, 0, 0]), None);
        let broken =
            PAGES.split("</loc><lastmod>").next().unwrap().to_owned() + "</loc></url><url><loc>ht</l";
        assert_eq!(Sitemap::parse(broken.as_bytes()).unwrap().pages, ["https://a.example/one"]);
    }
}
