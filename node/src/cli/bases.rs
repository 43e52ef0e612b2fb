//! Where a client finds nodes: the URLs it was told, then those of the cluster, the nearest that answers first.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::Url;

/// Nodes a client keeps in mind.
const BASES_MAX: usize = 32;

/// URLs of nodes, one of which is asked; the next one when it fails.
#[derive(Debug)]
pub(super) struct Bases {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// As the user named them: never forgotten.
    told: Vec<Url>,
    urls: Vec<Url>,
    current: usize,
}

impl Bases {
    /// One or several URLs with commas between them.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parsed = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
            let url = Url::parse(part).map_err(|error| format!("{part}: {error}"))?;
            match matches!(url.scheme(), "http" | "https") && url.host().is_some() {
                true => Ok(url),
                false => Err(format!("{part}: must be an http or https URL, e.g. http://127.0.0.1:3000")),
            }
        });
        let told: Vec<Url> = parsed.take(BASES_MAX).collect::<Result<_, _>>()?;
        if told.is_empty() {
            return Err("must be an http or https URL, e.g. http://127.0.0.1:3000".to_owned());
        }
        Ok(Self { state: Mutex::new(State { urls: told.clone(), told, current: 0 }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node that is asked now.
    pub(super) fn current(&self) -> Url {
        let state = self.lock();
        state.urls[state.current].clone()
    }

    /// How many there are to try.
    pub(super) fn count(&self) -> usize {
        self.lock().urls.len()
    }

    /// All of them, in the order in which they are tried.
    pub(super) fn all(&self) -> Vec<Url> {
        self.lock().urls.clone()
    }

    /// Whether all of them are on this machine, where no proxy can help.
    pub(super) fn are_local(&self) -> bool {
        let is_local = |url: &Url| {
            url.host_str()
                .is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]")
        };
        self.lock().told.iter().all(is_local)
    }

    /// Asks the next node from now on, unless another request has moved on already; `url`, which one of the nodes did
    /// not answer, at the node that is asked now.
    pub(super) fn move_on(&self, url: &Url) -> Option<Url> {
        let mut state = self.lock();
        let failed = state.urls.iter().position(|base| rest_of(url, base).is_some())?;
        if state.current == failed {
            state.current = (failed + 1) % state.urls.len();
        }
        let rest = rest_of(url, &state.urls[failed])?;
        let to = state.urls[state.current].as_str();
        Url::parse(&format!("{}{rest}", to.trim_end_matches('/'))).ok()
    }

    /// Takes over the nodes of the cluster, the nearest first. One that would be asked with less protection than those
    /// the user named is left out: the key goes along.
    pub(super) fn replace(&self, near_first: Vec<Url>) {
        let mut state = self.lock();
        let is_guarded = state.told.iter().all(|url| url.scheme() == "https");
        let mut urls: Vec<Url> = Vec::new();
        let told = state.told.clone();
        for url in near_first.into_iter().filter(|url| !is_guarded || url.scheme() == "https").chain(told) {
            if !urls.contains(&url) && urls.len() < BASES_MAX {
                urls.push(url);
            }
        }
        (state.urls, state.current) = (urls, 0);
    }
}

/// What follows the node's URL in `url`.
fn rest_of<'a>(url: &'a Url, base: &Url) -> Option<&'a str> {
    let rest = url.as_str().strip_prefix(base.as_str().trim_end_matches('/'))?;
    rest.starts_with('/').then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_moves_on_and_comes_round() {
        let bases = Bases::parse("http://a:1, http://b:2/docs").unwrap();
        let (first, second) = (url("http://a:1/api/keys?n=1"), url("http://b:2/docs/api/keys?n=1"));
        assert_eq!(bases.move_on(&first), Some(second.clone()));
        assert_eq!(bases.move_on(&first), Some(second.clone()), "another request has moved on already");
        assert_eq!(bases.move_on(&second), Some(first));
        assert_eq!(bases.move_on(&url("http://a:10/api/keys")), None);
        assert!(
            Bases::parse("").is_err() && Bases::parse("ftp://a").is_err() && Bases::parse("a b").is_err()
        );
    }

    #[test]
    fn nodes_of_the_cluster_come_before_those_the_user_named_and_none_with_less_protection() {
        let bases = Bases::parse("https://a").unwrap();
        bases.replace(vec![url("https://near"), url("http://plain"), url("https://a")]);
        assert_eq!((bases.count(), bases.current()), (2, url("https://near")));
        bases.replace(Vec::new());
        assert_eq!((bases.count(), bases.current()), (1, url("https://a")));
    }
}
