//! The parameters of a request: each once, but for `resource`, and all within limits (RFC 6749, 3.1 and 3.2; RFC 8707, 2).

use super::error::Refused;

/// Parameters of one request, known ones and others.
const PARAMETERS_MAX: usize = 64;
/// Longest value of one, in bytes.
const VALUE_BYTES_MAX: usize = 8 * 1024;
/// Resources named in one request.
const RESOURCES_MAX: usize = 8;

/// The parameters of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// Few, so that looking through them is quicker than hashing.
    values: Vec<(String, String)>,
    resources: Vec<String>,
}

impl Params {
    /// Reads form-encoded text: the query of a URL or the body of a form. A parameter without a value counts as absent.
    ///
    /// # Errors
    /// When a parameter stands twice, or there is more than anybody needs.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let mut params = Self::default();
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        for (position, (name, value)) in pairs.enumerate() {
            if position >= PARAMETERS_MAX || value.len() > VALUE_BYTES_MAX {
                return Err(Refused::request(format!(
                    "A request has at most {PARAMETERS_MAX} parameters of {VALUE_BYTES_MAX} bytes."
                )));
            }
            if value.is_empty() {
                continue;
            }
            if name == "resource" {
                if params.resources.len() >= RESOURCES_MAX {
                    return Err(Refused::request(format!(
                        "A request names at most {RESOURCES_MAX} resources."
                    )));
                }
                params.resources.push(value.into_owned());
            } else if params.get(&name).is_some() {
                return Err(Refused::request(format!("The parameter '{name}' stands twice.")));
            } else {
                params.values.push((name.into_owned(), value.into_owned()));
            }
        }
        Ok(params)
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that has to be there.
    pub(super) fn need(&self, name: &str) -> Result<&str, Refused> {
        self.get(name).ok_or_else(|| Refused::request(format!("The parameter '{name}' is missing.")))
    }

    /// Every `resource`, in order.
    pub(super) fn resources(&self) -> &[String] {
        &self.resources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once_but_for_resource() {
        let params = Params::parse("a=1&resource=x&empty=&resource=y&b=%C3%A9+%26").unwrap();
        assert_eq!((params.get("a"), params.get("b"), params.get("empty")), (Some("1"), Some("é &"), None));
        assert_eq!(params.resources(), ["x", "y"]);
        for text in ["a=1&a=1", "client_id=a&client_id=b", "scope=a&x=1&scope=b"] {
            assert!(Params::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn there_are_limits() {
        let many: String = (0..65).map(|number| format!("p{number}=1&")).collect();
        assert!(Params::parse(&many).is_err());
        assert!(Params::parse(&format!("a={}", "x".repeat(8 * 1024))).is_ok());
        assert!(Params::parse(&format!("a={}", "x".repeat(8 * 1024 + 1))).is_err());
        assert!(Params::parse(&"resource=x&".repeat(9)).is_err());
    }
}
