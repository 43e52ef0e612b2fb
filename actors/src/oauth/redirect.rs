//! Where people are sent back to: which addresses a client may have, and which of them it means.

use super::error::{ErrorCode, Refused};

/// Schemes that run or show something by themselves, or that no program of the person's answers.
const DANGEROUS_SCHEMES: &[&str] = &[
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "intent",
    "jar",
    "javascript",
    "mailto",
    "mhtml",
    "resource",
    "tel",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// What a redirect URI says about who gets what is sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A web server: whoever has its certificate.
    Web,
    /// A program on the person's own machine, any program (RFC 8252, 7.3).
    Loopback,
    /// Whichever program has claimed the scheme (RFC 8252, 7.1).
    Program,
}

/// Checks that a client may have this redirect URI (RFC 9700, 2.1 and 4.1; RFC 8252, 7).
pub(super) fn check(uri: &str) -> Result<Target, Refused> {
    let refused = |why: &str| {
        Err(Refused::new(ErrorCode::InvalidRedirectUri, format!("The redirect URI '{uri}' {why}.")))
    };
    if uri
        .bytes()
        .any(|byte| byte <= b' ' || byte >= 0x7f || matches!(byte, b'\\' | b'*' | b'"' | b'<' | b'>'))
    {
        return refused("has letters that no URI has, or a wildcard");
    }
    let Ok(url) = url::Url::parse(uri) else { return refused("is not an absolute URI") };
    if url.fragment().is_some() {
        return refused("has a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() || authority(uri).contains('@') {
        return refused("names a user");
    }
    match url.scheme() {
        "https" if !uri.starts_with("https://") => refused("does not begin with https://"),
        "https" if has_dot_segments(uri) => refused("has dot segments"),
        "https" => Ok(Target::Web),
        "http" if loopback(uri).is_some() => Ok(Target::Loopback),
        "http" => refused("is not encrypted: use https, or a loopback address"),
        scheme if DANGEROUS_SCHEMES.contains(&scheme) => refused("has a scheme that is not allowed"),
        _ => Ok(Target::Program),
    }
}

/// What stands between `//` and the path.
fn authority(uri: &str) -> &str {
    let rest = uri.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//")).unwrap_or_default();
    rest.split(['/', '?']).next().unwrap_or_default()
}

fn has_dot_segments(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Which of a client's redirect URIs is asked for. They are compared letter by letter, but for the port of a loopback address,
/// which a program is given by its system (RFC 8252, 7.3; RFC 9700, 2.1).
///
/// # Errors
/// When it is none of them, or none is named where there are several. The person is not sent anywhere then.
pub(super) fn choose(registered: &[String], asked: Option<&str>) -> Result<String, Refused> {
    match asked {
        Some(asked) => {
            let is_it = |known: &String| *known == asked || is_same_but_for_port(known, asked);
            if registered.iter().any(is_it) {
                return Ok(asked.to_owned());
            }
            Err(Refused::request("The redirect_uri is none that the client registered."))
        }
        None => match registered {
            [only] => Ok(only.clone()),
            _ => Err(Refused::request("The redirect_uri is missing, and the client registered several.")),
        },
    }
}

fn is_same_but_for_port(known: &str, asked: &str) -> bool {
    matches!((loopback(known), loopback(asked)), (Some(known), Some(asked)) if known == asked)
}

/// Host and path of an address on the person's own machine, without the port.
fn loopback(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let host = ["127.0.0.1", "[::1]", "localhost"].into_iter().find(|host| rest.starts_with(host))?;
    let rest = &rest[host.len()..];
    let rest = match rest.strip_prefix(':') {
        Some(after) => {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let (port, rest) = after.split_at(digits);
            port.parse::<u16>().ok()?;
            rest
        }
        None => rest,
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

/// `uri` with `parameters` added to its query.
pub(super) fn with(uri: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    let mark = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{mark}{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_have_only_redirect_uris_that_nobody_else_answers() {
        for (uri, target) in [
            ("https://app.example/cb", Some(Target::Web)),
            ("https://app.example/cb?tenant=1", Some(Target::Web)),
            ("http://127.0.0.1/cb", Some(Target::Loopback)),
            ("http://[::1]:8080/cb", Some(Target::Loopback)),
            ("http://localhost:3118/callback", Some(Target::Loopback)),
            ("com.example.app:/cb", Some(Target::Program)),
            ("cursor://anysphere.cursor-mcp/oauth/callback", Some(Target::Program)),
            ("http://app.example/cb", None),
            ("http://127.0.0.1.evil.example/cb", None),
            ("http://localhost.evil.example/cb", None),
            ("http://127.0.0.1:99999/cb", None),
            ("http://127.0.0.1:80@evil.example/cb", None),
            ("javascript:alert(1)", None),
            ("JavaScript:alert(1)", None),
            ("data:text/html,x", None),
            ("https://app.example/cb#f", None),
            ("https://*.example/cb", None),
            ("https://user@app.example/cb", None),
            // An empty user is one, too: with parameters added this would be no URI any more (found by fuzzing).
            ("tp://@", None),
            ("https://@app.example/cb", None),
            ("com.example.app:/cb?by=a://b@c", Some(Target::Program)),
            // Browsers read these against the page that they are on.
            ("https:app.example/cb", None),
            ("https:/app.example/cb", None),
            ("https://app.example/a/../cb", None),
            ("https://app.example/a/%2e%2E/cb", None),
            ("https://app.example\\@evil.example/", None),
            ("https://app.example/ cb", None),
            ("https://app.example/\u{e9}", None),
            ("/cb", None),
            ("", None),
        ] {
            assert_eq!(check(uri).ok(), target, "{uri}");
        }
    }

    #[test]
    fn a_redirect_uri_is_compared_letter_by_letter() {
        let registered = ["https://app.example/cb".to_owned()];
        for asked in [
            "https://app.example/cb/",
            "https://app.example/cb/x",
            "https://app.example/cb?x",
            "https://app.example/cb#f",
            "https://app.example/CB",
            "https://APP.example/cb",
            "https://app.example:443/cb",
            "https://app.example./cb",
            "https://user@app.example/cb",
            "https://app.example/x/%2e%2e/cb",
            "https://app.example\\cb",
            "http://app.example/cb",
            "https://app.example/c",
        ] {
            assert!(choose(&registered, Some(asked)).is_err(), "{asked}");
        }
        assert_eq!(choose(&registered, Some("https://app.example/cb")).unwrap(), registered[0]);
        assert_eq!(choose(&registered, None).unwrap(), registered[0]);
    }

    #[test]
    fn only_the_port_of_a_loopback_address_may_differ() {
        let registered = ["http://127.0.0.1/cb".to_owned(), "http://localhost:1/cb".to_owned()];
        for (asked, allowed) in [
            ("http://127.0.0.1:53682/cb", true),
            ("http://127.0.0.1/cb", true),
            ("http://localhost:53682/cb", true),
            ("http://[::1]:53682/cb", false),
            ("http://127.0.0.1:53682/other", false),
            ("http://127.0.0.1:53682/cb?x=1", false),
            ("http://127.0.0.1:x/cb", false),
            ("http://127.0.0.1:/cb", false),
            ("https://127.0.0.1:53682/cb", false),
        ] {
            assert_eq!(choose(&registered, Some(asked)).is_ok(), allowed, "{asked}");
        }
        assert!(choose(&registered, None).is_err(), "which of them?");
    }

    #[test]
    fn parameters_are_added_to_what_is_there() {
        assert_eq!(
            with("https://a/cb", &[("state", "\"><script>")]),
            "https://a/cb?state=%22%3E%3Cscript%3E"
        );
        assert_eq!(with("https://a/cb?x=1", &[("code", "c")]), "https://a/cb?x=1&code=c");
    }
}
