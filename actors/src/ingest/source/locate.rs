//! What a person means by a source: a folder, an archive, a document, a lockfile, a web site or a git
//! repository.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{SourceError, locked::Lockfile};

/// Hosts whose pages with two names in the path are repositories.
const FORGES: &[&str] = &["github.com", "gitlab.com", "codeberg.org", "bitbucket.org"];

/// A source, told apart by what it is read with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder, an archive or one document, for [`super::Source::open`].
    Documents(PathBuf),
    /// A lockfile, for [`Lockfile::sources`].
    Lockfile(Lockfile, PathBuf),
    /// A web site, an `llms.txt`, or one document on the web; the node fetches it.
    Web(String),
    /// A git repository by its URL; the node fetches it.
    Git(String),
}

/// Tells what `source`, as typed, stands for.
pub fn locate(source: &str) -> Result<Location, SourceError> {
    if let Some(url) = source.strip_prefix("git+").filter(|url| is_web(url)) {
        return Ok(Location::Git(url.to_owned()));
    }
    if is_web(source) {
        let url = source.to_owned();
        return Ok(if is_repository(source) { Location::Git(url) } else { Location::Web(url) });
    }
    if is_remote(source) {
        return Err(SourceError::Remote { url: source.to_owned() });
    }
    let path = source.strip_prefix("file://").unwrap_or(source);
    let path = PathBuf::from(path);
    let metadata = fs::metadata(&path).map_err(|source| SourceError::Open { path: path.clone(), source })?;
    if !metadata.is_dir() && !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "neither a folder nor a regular file");
        return Err(SourceError::Open { path, source });
    }
    if let Some(found) = other_lockfile(&path).filter(|_| metadata.is_file()) {
        return Err(SourceError::Unsupported { path, found });
    }
    let name = path.file_name().and_then(|name| name.to_str()).filter(|_| metadata.is_file());
    if let Some(lockfile) = name.and_then(Lockfile::of_name) {
        return Ok(Location::Lockfile(lockfile, path));
    }
    Ok(Location::Documents(path))
}

fn is_web(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// A URL that ends in `.git`, or names an owner and a repository on a host that has nothing else.
fn is_repository(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let path = url.path().trim_matches('/');
    let names = path.split('/').filter(|name| !name.is_empty()).count();
    path.ends_with(".git") || (names == 2 && url.host_str().is_some_and(|host| FORGES.contains(&host)))
}

/// `scheme://…` and `user@host:path`, the forms git and browsers take.
fn is_remote(source: &str) -> bool {
    if let Some((scheme, _)) = source.split_once("://") {
        return scheme != "file"
            && !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    }
    let Some((host, _)) = source.split_once(':') else {
        return false;
    };
    host.contains('@') && !host.contains('/') && !Path::new(source).exists()
}

/// Lockfiles that this version does not read.
fn other_lockfile(path: &Path) -> Option<&'static str> {
    match path.file_name()?.to_str()? {
        "yarn.lock" | "pnpm-lock.yaml" | "bun.lock" | "bun.lockb" => {
            Some("a lockfile that is not read; `npm install --package-lock-only` makes one that is")
        }
        "Pipfile.lock" | "pdm.lock" | "pylock.toml" => {
            Some("a lockfile that is not read; `pip freeze > requirements.txt` makes one that is")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_and_repositories_are_told_apart_by_their_url() {
        let web = |url: &str| Location::Web(url.to_owned());
        let git = |url: &str| Location::Git(url.to_owned());
        for (source, location) in [
            ("https://docs.example/", web("https://docs.example/")),
            ("HTTP://docs.example/guide", web("HTTP://docs.example/guide")),
            ("https://docs.example/llms.txt", web("https://docs.example/llms.txt")),
            ("https://host.example/o/r.git", git("https://host.example/o/r.git")),
            ("https://github.com/o/r", git("https://github.com/o/r")),
            ("https://github.com/o/r/", git("https://github.com/o/r/")),
            ("https://github.com/o/r/wiki", web("https://github.com/o/r/wiki")),
            ("https://host.example/o/r", web("https://host.example/o/r")),
            ("git+https://host.example/o/r", git("https://host.example/o/r")),
        ] {
            assert_eq!(locate(source).unwrap(), location, "{source}");
        }
    }

    #[test]
    fn a_url_of_another_kind_is_refused_with_what_to_do_instead() {
        for url in ["git+ssh://git@example.com/a.git", "git@example.com:a/b.git", "ftp://x", "ssh://x/y.git"]
        {
            let error = locate(url).unwrap_err();
            assert!(matches!(&error, SourceError::Remote { url: asked } if asked == url), "{error}");
            assert!(error.to_string().contains("https://"), "{error}");
        }
    }

    #[test]
    fn local_sources_are_told_apart_by_name_and_kind() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("Cargo.lock");
        fs::write(&lock, "version = 4\n").unwrap();
        let npm = folder.path().join("package-lock.json");
        let other = folder.path().join("yarn.lock");
        fs::write(&npm, "{}").unwrap();
        fs::write(&other, "").unwrap();
        let as_text = |path: &Path| path.to_str().unwrap().to_owned();

        assert_eq!(locate(&as_text(&lock)).unwrap(), Location::Lockfile(Lockfile::Cargo, lock.clone()));
        assert_eq!(locate(&as_text(&npm)).unwrap(), Location::Lockfile(Lockfile::Npm, npm.clone()));
        assert_eq!(locate(&as_text(folder.path())).unwrap(), Location::Documents(folder.path().to_owned()));
        assert_eq!(
            locate(&format!("file://{}", as_text(folder.path()))).unwrap(),
            Location::Documents(folder.path().to_owned())
        );
        assert!(matches!(locate(&as_text(&other)), Err(SourceError::Unsupported { .. })));
        assert!(matches!(locate("/nonexistent/place"), Err(SourceError::Open { .. })));
    }
}
