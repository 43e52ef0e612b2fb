//! The embedding service of the configuration, with its key read from where it is kept.

use std::time::Duration;

use twinmcp_actors::embedding::{EndpointConfig, EndpointKey};

use crate::config::EmbeddingsConfig;
use crate::outside_key::{self, KeyError};

/// The first pause before a batch is sent again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What `config` asks for; `None` when no service is named.
pub(crate) fn endpoint(
    config: &EmbeddingsConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<EndpointConfig>, KeyError> {
    if config.url.is_empty() {
        return Ok(None);
    }
    Ok(Some(EndpointConfig {
        url: config.url.clone(),
        model: config.model.clone(),
        dimensions: config.dimensions,
        key: key(config, variable)?,
        items_max: config.items_max,
        tokens_max: config.tokens_max,
        attempts_max: config.attempts_max,
        retry_pause: RETRY_PAUSE,
        timeout: Duration::from_millis(config.timeout_ms),
        query_timeout: Duration::from_millis(config.query_timeout_ms),
        fusion_weight: config.weight,
    }))
}

fn key(
    config: &EmbeddingsConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<EndpointKey>, KeyError> {
    let (file, name) = (&config.key_file, &config.key_variable);
    outside_key::read("embeddings.key", file, name, variable, EndpointKey::new)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config() -> EmbeddingsConfig {
        EmbeddingsConfig { url: "http://127.0.0.1:1/v1".into(), ..EmbeddingsConfig::default() }
    }

    #[test]
    fn a_key_comes_from_a_file_or_a_variable_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "sk-secret\n").unwrap();
        let variable = |name: &str| (name == "KEY").then(|| "sk-secret".to_owned());
        let from_file = EmbeddingsConfig { key_file: path, ..config() };
        let from_variable = EmbeddingsConfig { key_variable: "KEY".into(), ..config() };
        for config in [from_file, from_variable] {
            let endpoint = endpoint(&config, variable).unwrap().unwrap();
            assert!(endpoint.key.is_some());
            assert!(!format!("{endpoint:?}").contains("secret"), "{endpoint:?}");
        }
        assert!(endpoint(&config(), variable).unwrap().unwrap().key.is_none());
        assert!(endpoint(&EmbeddingsConfig::default(), variable).unwrap().is_none());
    }

    #[test]
    fn a_key_that_is_not_there_is_told_by_its_place() {
        let missing = EmbeddingsConfig { key_file: "/nowhere/key".into(), ..config() };
        let endless = EmbeddingsConfig { key_file: "/dev/zero".into(), ..config() };
        let unset = EmbeddingsConfig { key_variable: "UNSET".into(), ..config() };
        let cases = [(missing, "`/nowhere/key`"), (endless, "`/dev/zero`"), (unset, "the variable `UNSET`")];
        for (config, expected) in cases {
            let error = endpoint(&config, |_| None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
