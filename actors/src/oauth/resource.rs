//! Resources: where a token is good (RFC 8707). This node is one with a name for the whole, `/mcp` and `/api`.

use super::error::{ErrorCode, Refused};

/// Where the authorization server tells who signed in.
const USERINFO: &str = "/api/oauth/userinfo";

/// The resources of this service.
#[derive(Debug, Clone)]
pub struct Resources {
    issuer: String,
    known: [String; 3],
}

impl Resources {
    /// Of the service whose issuer is `issuer`, without a slash at its end.
    pub fn new(issuer: &str) -> Self {
        let known = [issuer.to_owned(), format!("{issuer}/mcp"), format!("{issuer}/api")];
        Self { issuer: issuer.to_owned(), known }
    }

    /// The service's name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The resources asked for; the whole service when none is.
    ///
    /// # Errors
    /// When one is not of this service.
    pub(super) fn asked(&self, asked: &[String]) -> Result<Vec<String>, Refused> {
        let mut resources = Vec::new();
        for resource in asked {
            // A URL without a path means the same with a slash (RFC 3986, 6.2.3).
            let found = self.known.iter().find(|known| {
                *known == resource || **known == self.issuer && resource.strip_suffix('/') == Some(known)
            });
            let Some(found) = found else {
                let known = self.known.join(", ");
                let description = format!("'{resource}' is no resource of this service; they are: {known}.");
                return Err(Refused::new(ErrorCode::InvalidTarget, description));
            };
            if !resources.contains(found) {
                resources.push(found.clone());
            }
        }
        if resources.is_empty() {
            resources.push(self.issuer.clone());
        }
        Ok(resources)
    }

    /// Those of `asked` that were allowed; all that were when none is named.
    ///
    /// # Errors
    /// When one was not allowed (RFC 8707, 2.2).
    pub(super) fn granted(&self, asked: &[String], allowed: &[String]) -> Result<Vec<String>, Refused> {
        if asked.is_empty() {
            return Ok(allowed.to_vec());
        }
        let asked = self.asked(asked)?;
        // Who was allowed the whole service may have a token for a part of it.
        let is_allowed = |resource: &String| allowed.contains(resource) || allowed.contains(&self.issuer);
        match asked.iter().find(|resource| !is_allowed(resource)) {
            Some(other) => {
                let description =
                    format!("The resource '{other}' was not allowed; allowed: {}.", allowed.join(", "));
                Err(Refused::new(ErrorCode::InvalidTarget, description))
            }
            None => Ok(asked),
        }
    }

    /// Whether a token for these resources is good at `path` of this node.
    pub fn is_for(&self, resources: &[String], path: &str) -> bool {
        // Who signed in is told by the authorization server, which every token is of (OpenID Connect Core, 5.3).
        if path == USERINFO {
            return true;
        }
        let here = if path == "/mcp" { &self.known[1] } else { &self.known[2] };
        resources.iter().any(|resource| resource == here || *resource == self.issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_resources_of_this_service_are_granted() {
        let resources = Resources::new("https://node.example");
        let whole = texts(&["https://node.example"]);
        assert_eq!(resources.asked(&[]).unwrap(), whole);
        assert_eq!(resources.asked(&texts(&["https://node.example/"])).unwrap(), whole);
        assert_eq!(
            resources.asked(&texts(&["https://node.example/mcp"])).unwrap()[0],
            "https://node.example/mcp"
        );
        for other in
            ["https://node.example/mcp/", "https://node.example/mcp#f", "/mcp", "https://other.example", "x"]
        {
            assert_eq!(
                resources.asked(&texts(&[other])).unwrap_err().code,
                ErrorCode::InvalidTarget,
                "{other}"
            );
        }
    }

    #[test]
    fn case_038_to_040_a_token_is_for_what_was_allowed_and_good_only_there() {
        let resources = Resources::new("https://node.example");
        let (whole, mcp) = (texts(&["https://node.example"]), texts(&["https://node.example/mcp"]));
        assert_eq!(resources.granted(&[], &mcp).unwrap(), mcp);
        assert_eq!(resources.granted(&mcp, &whole).unwrap(), mcp);
        assert!(resources.granted(&whole, &mcp).is_err());
        assert!(resources.is_for(&mcp, "/mcp") && !resources.is_for(&mcp, "/api/keys"));
        assert!(resources.is_for(&whole, "/mcp") && resources.is_for(&whole, "/api/keys"));
        assert!(!resources.is_for(&[], "/mcp"));
        let others = texts(&["https://other.example", "https://node.example.evil.example/mcp"]);
        assert!(!resources.is_for(&others, "/mcp") && resources.is_for(&[others, mcp].concat(), "/mcp"));
    }
}
