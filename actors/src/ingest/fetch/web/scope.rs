//! Which URLs belong to a site, and which of them are the same page.

use url::Url;

use crate::outbound::OutboundError;

/// Parameters that say where a visitor came from or who they are, not what the page is.
const TRACKING: &[&str] = &[
    "gclid",
    "fbclid",
    "msclkid",
    "dclid",
    "yclid",
    "mc_cid",
    "mc_eid",
    "igshid",
    "_ga",
    "_gl",
    "ref",
    "ref_src",
    "referrer",
    "source",
    "sid",
    "sessionid",
    "session_id",
    "phpsessid",
    "jsessionid",
    "replytocom",
    "print",
    "share",
    "highlight",
];

/// A site: one origin, and everything below one folder of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    start: Url,
    /// Ends with `/`.
    folder: String,
}

impl Scope {
    /// The site that begins at `start`: `/docs/` and `/docs` hold what lies below them,
    /// `/docs/index.html` what lies beside it.
    pub(super) fn of(start: &Url) -> Self {
        let path = start.path();
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder =
            if name.is_empty() || name.contains('.') { format!("{parent}/") } else { format!("{path}/") };
        Self { start: canonical(start), folder }
    }

    /// The whole origin of `start`.
    pub(super) fn origin_of(start: &Url) -> Self {
        Self { start: canonical(start), folder: "/".to_owned() }
    }

    /// Where the site begins.
    pub(super) fn start(&self) -> &Url {
        &self.start
    }

    /// A file beside the site's first page.
    pub(super) fn file(&self, name: &str) -> Option<Url> {
        self.start.join(&format!("{}{name}", self.folder)).ok()
    }

    /// A file at the root of the site's origin; nothing when the site begins there.
    pub(super) fn root_file(&self, name: &str) -> Option<Url> {
        (self.folder != "/").then(|| self.start.join(&format!("/{name}")).ok()).flatten()
    }

    /// Whether a page belongs to the site.
    pub(super) fn holds(&self, url: &Url) -> bool {
        url.origin() == self.start.origin()
            && (url.path().starts_with(&self.folder) || url.path() == self.folder.trim_end_matches('/'))
    }

    /// What a page is called in the site: its path without the site's folder, and an `extension` that
    /// tells its format. Relative, whatever the page's URL.
    pub(super) fn path(&self, url: &Url, extensions: &[&str]) -> String {
        let path = url.path().strip_prefix(&self.folder).unwrap_or_default().trim_start_matches('/');
        let path =
            if path.is_empty() || path.ends_with('/') { format!("{path}index") } else { path.to_owned() };
        let named = path.rsplit_once('.').is_some_and(|(_, extension)| {
            extensions.iter().any(|known| extension.eq_ignore_ascii_case(known))
        });
        let query = url.query().map(|query| format!("~{query}")).unwrap_or_default();
        let plain = |text: String| -> String {
            let kept = |character: char| character.is_ascii_alphanumeric() || "-_.~%/".contains(character);
            text.chars().map(|character| if kept(character) { character } else { '_' }).collect()
        };
        match extensions.first() {
            Some(_) if named && query.is_empty() => plain(path),
            Some(extension) => format!("{}.{extension}", plain(format!("{path}{query}"))),
            None => plain(format!("{path}{query}")),
        }
    }
}

/// One spelling for all that mean the same page: no fragment, no tracking, parameters in order.
pub(super) fn canonical(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    if url.query().is_some() {
        let mut kept: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .filter(|(name, _)| !is_tracking(name))
            .collect();
        kept.sort();
        if kept.is_empty() {
            url.set_query(None);
        } else {
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
    }
    url
}

fn is_tracking(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("utm_") || TRACKING.contains(&name.as_str())
}

/// A link of a page, joined and in its one spelling; nothing when it leads to no page.
pub(super) fn link(page: &Url, base: Option<&str>, link: &str) -> Option<Url> {
    let base = base.and_then(|base| page.join(base).ok());
    let url = base.as_ref().unwrap_or(page).join(link.trim()).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| canonical(&url))
}

/// Whether a name ends as pictures, styles, programs and archives do: nothing to read there.
pub(super) fn is_asset(url: &Url) -> bool {
    const ASSETS: &[&str] = &[
        "png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "css", "js", "mjs", "map", "woff",
        "woff2", "ttf", "eot", "mp3", "mp4", "webm", "ogg", "wav", "mov", "zip", "gz", "tgz", "bz2", "xz",
        "zst", "7z", "rar", "tar", "exe", "dmg", "msi", "deb", "rpm", "apk", "jar", "wasm", "iso", "whl",
    ];
    let extension = url.path().rsplit('/').next().and_then(|name| name.rsplit_once('.'));
    extension.is_some_and(|(_, extension)| ASSETS.iter().any(|asset| extension.eq_ignore_ascii_case(asset)))
}

/// What a stranger gave as a URL inside a list: joined to the list's own place.
pub(super) fn listed(list: &Url, entry: &str) -> Result<Url, OutboundError> {
    let url = list.join(entry.trim());
    url.map(|url| canonical(&url)).map_err(|source| OutboundError::Url { url: list.to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_site_is_what_lies_below_its_start() {
        for (start, page, holds) in [
            ("https://a.example/", "https://a.example/x/y", true),
            ("https://a.example", "https://a.example/x", true),
            ("https://a.example/docs/", "https://a.example/docs/x", true),
            ("https://a.example/docs/", "https://a.example/docs", true),
            ("https://a.example/docs", "https://a.example/docs/x", true),
            ("https://a.example/docs", "https://a.example/docs", true),
            ("https://a.example/docs", "https://a.example/docs-old/x", false),
            ("https://a.example/docs/index.html", "https://a.example/docs/x", true),
            ("https://a.example/docs/", "https://a.example/blog/", false),
            ("https://a.example/docs/", "https://a.example/docs/../blog/", false),
            ("https://a.example/", "http://a.example/", false),
            ("https://a.example/", "https://a.example:8443/", false),
            ("https://a.example/", "https://b.example/", false),
        ] {
            assert_eq!(Scope::of(&url(start)).holds(&url(page)), holds, "{start} holds {page}");
        }
    }

    #[test]
    fn one_page_has_one_url() {
        for (written, expected) in [
            ("https://A.Example:443/x#part", "https://a.example/x"),
            ("https://a.example/x?utm_source=y&utm_medium=z", "https://a.example/x"),
            ("https://a.example/x?b=2&a=1&gclid=3", "https://a.example/x?a=1&b=2"),
            ("https://a.example/x?", "https://a.example/x"),
            ("https://a.example/a/./b/../c", "https://a.example/a/c"),
        ] {
            assert_eq!(canonical(&url(written)).as_str(), expected, "{written}");
        }
        let page = url("https://a.example/docs/x");
        assert_eq!(link(&page, None, "y#z").unwrap().as_str(), "https://a.example/docs/y");
        assert_eq!(link(&page, Some("/other/"), "y").unwrap().as_str(), "https://a.example/other/y");
        assert_eq!(link(&page, None, "mailto:me@a.example"), None);
        assert!(is_asset(&url("https://a.example/logo.PNG")) && !is_asset(&url("https://a.example/v1.2/x")));
    }

    #[test]
    fn a_page_is_called_by_its_path_and_format() {
        const HTML: &[&str] = &["html", "htm"];
        let scope = Scope::of(&url("https://a.example/docs/"));
        for (page, extensions, path) in [
            ("https://a.example/docs/", HTML, "index.html"),
            ("https://a.example/docs", HTML, "index.html"),
            ("https://a.example/docs/guide/", HTML, "guide/index.html"),
            ("https://a.example/docs/guide/retry", HTML, "guide/retry.html"),
            ("https://a.example/docs/guide/retry.html", HTML, "guide/retry.html"),
            ("https://a.example/docs/v1.2", HTML, "v1.2.html"),
            ("https://a.example/docs/x?a=1&b=/2", HTML, "x~a_1_b_%2F2.html"),
            ("https://a.example/docs//x/", HTML, "x/index.html"),
            ("https://a.example/docs///", HTML, "index.html"),
            ("https://a.example/docs/?/../x", HTML, "index~%2F..%2Fx_.html"),
            ("https://a.example/docs/x.md", &["md"], "x.md"),
            ("https://a.example/docs/openapi.json", &[], "openapi.json"),
        ] {
            let page = canonical(&url(page));
            assert_eq!(scope.path(&page, extensions), path, "{page}");
        }
        assert_eq!(scope.file("llms.txt").unwrap().as_str(), "https://a.example/docs/llms.txt");
        assert_eq!(scope.root_file("llms.txt").unwrap().as_str(), "https://a.example/llms.txt");
        assert_eq!(Scope::of(&url("https://a.example/")).root_file("llms.txt"), None);
    }
}
