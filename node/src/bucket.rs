//! The bucket of the configuration, with its keys read from where they are kept.

use std::path::Path;

use twinmcp_actors::{BucketConfig, BucketKey};

use crate::config;
use crate::outside_key::{self, KeyError};

/// What `config` asks for; `None` when no bucket is named. The configuration was checked.
pub(crate) fn bucket(
    config: &config::BucketConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<BucketConfig>, KeyError> {
    let Ok(endpoint) = config.endpoint.parse() else { return Ok(None) };
    let key = |setting: &'static str, file: &Path, name: &str| {
        let key = outside_key::read(setting, file, name, &variable, BucketKey::new)?;
        key.ok_or_else(|| KeyError::Empty { place: format!("`{setting}_file`") })
    };
    Ok(Some(BucketConfig {
        endpoint,
        name: config.name.clone(),
        region: config.region.clone(),
        prefix: config.prefix.clone(),
        access_key: key("bucket.access_key", &config.access_key_file, &config.access_key_variable)?,
        secret_key: key("bucket.secret_key", &config.secret_key_file, &config.secret_key_variable)?,
        path_style: config.path_style,
        allow_http: config.allow_http,
        counts_as_copy: config.counts_as_copy,
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn keys_come_from_files_or_variables_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let access_key_file = folder.path().join("access");
        fs::write(&access_key_file, "GK-access\n").unwrap();
        let config = config::BucketConfig {
            endpoint: "http://127.0.0.1:3900".to_owned(),
            name: "docs".to_owned(),
            access_key_file,
            secret_key_variable: "SECRET".to_owned(),
            ..config::BucketConfig::default()
        };
        let variable = |name: &str| (name == "SECRET").then(|| "s3cr3t".to_owned());
        let found = bucket(&config, variable).unwrap().unwrap();
        let shown = format!("{found:?}");
        assert!(
            shown.contains("***") && !shown.contains("s3cr3t") && !shown.contains("GK-access"),
            "{shown}"
        );
        let error = bucket(&config, |_| None).unwrap_err().to_string();
        assert!(error.contains("the variable `SECRET` (`bucket.secret_key_variable`)"), "{error}");
        assert!(bucket(&config::BucketConfig::default(), variable).unwrap().is_none());
    }
}
