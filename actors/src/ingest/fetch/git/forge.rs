//! Where a repository's files can be opened in a browser, on hosts whose pages are laid out in a way
//! that is known.

use twinmcp_storage::jobs::Revision;
use url::Url;

/// The address below which the file `path` of the revision is `path`.
pub(super) fn files_at(url: &Url, revision: &Revision) -> Option<String> {
    let name = match revision {
        Revision::Head => "HEAD",
        Revision::Tag(name) | Revision::Branch(name) | Revision::Commit(name) => name,
    };
    let kind = match revision {
        Revision::Head | Revision::Branch(_) => "branch",
        Revision::Tag(_) => "tag",
        Revision::Commit(_) => "commit",
    };
    let page = page(url);
    match (url.host_str()?, revision) {
        ("github.com", _) => Some(format!("{page}/blob/{name}/")),
        ("gitlab.com", _) => Some(format!("{page}/-/blob/{name}/")),
        ("bitbucket.org", _) => Some(format!("{page}/src/{name}/")),
        // Needs the branch's own name.
        ("codeberg.org", Revision::Head) => None,
        ("codeberg.org", _) => Some(format!("{page}/src/{kind}/{name}/")),
        _ => None,
    }
}

/// The repository's own page.
pub(super) fn page(url: &Url) -> String {
    let text = url.as_str().trim_end_matches('/');
    text.strip_suffix(".git").unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_on_the_hosts_that_are_known() {
        let tag = Revision::Tag("v1".into());
        for (url, revision, expected) in [
            ("https://github.com/o/r.git", &tag, Some("https://github.com/o/r/blob/v1/")),
            ("https://github.com/o/r/", &Revision::Head, Some("https://github.com/o/r/blob/HEAD/")),
            ("https://gitlab.com/g/s/r", &tag, Some("https://gitlab.com/g/s/r/-/blob/v1/")),
            ("https://codeberg.org/o/r.git", &tag, Some("https://codeberg.org/o/r/src/tag/v1/")),
            ("https://codeberg.org/o/r.git", &Revision::Head, None),
            ("https://git.example/o/r.git", &tag, None),
        ] {
            assert_eq!(files_at(&url.parse().unwrap(), revision).as_deref(), expected, "{url}");
        }
    }
}
