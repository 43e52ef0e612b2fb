//! Which engine keeps a database, and opening it.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::{Engine, FjallEngine, FjallOptions, Keyspace, SledEngine, StorageError};

/// An engine on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// [`FjallEngine`]: for production.
    #[default]
    Fjall,
    /// [`SledEngine`]: for caches and development.
    Sled,
}

impl EngineKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Fjall, Self::Sled];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            Self::Sled => "sled",
        }
    }

    /// A file that this engine makes at once, and the other one never.
    const fn mark(self) -> &'static str {
        match self {
            Self::Fjall => "version",
            Self::Sled => "conf",
        }
    }

    /// Opens or makes the database of this engine in `path`.
    ///
    /// # Errors
    /// [`StorageError::OtherEngine`] when another engine's data lies there; otherwise as
    /// [`FjallEngine::open`] and [`SledEngine::open`].
    pub fn open(
        self,
        path: &Path,
        spaces: &'static [Keyspace],
        options: &FjallOptions,
    ) -> Result<Arc<dyn Engine>, StorageError> {
        let other = Self::ALL.into_iter().find(|kind| *kind != self && path.join(kind.mark()).exists());
        if let Some(found) = other.filter(|_| !path.join(self.mark()).exists()) {
            let path = path.to_owned();
            return Err(StorageError::OtherEngine { path, found: found.name(), wanted: self.name() });
        }
        Ok(match self {
            Self::Fjall => Arc::new(FjallEngine::open(path, spaces, options)?),
            Self::Sled => Arc::new(SledEngine::open(path, spaces, options.cache_bytes)?),
        })
    }
}

/// Not the name of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `fjall`, or `sled` for caches and development")]
pub struct UnknownEngine;

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownEngine)
    }
}

impl<'de> Deserialize<'de> for EngineKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_the_other_engine_is_refused_by_name_and_left_alone() {
        for (first, second) in [(EngineKind::Fjall, EngineKind::Sled), (EngineKind::Sled, EngineKind::Fjall)]
        {
            let folder = tempfile::tempdir().unwrap();
            let open = |kind: EngineKind| kind.open(folder.path(), Keyspace::STATE, &FjallOptions::default());
            drop(open(first).unwrap());
            let refused = open(second).map(|_| ()).unwrap_err();
            assert!(
                matches!(refused, StorageError::OtherEngine { found, .. } if found == first.name()),
                "{refused}"
            );
            assert!(
                refused.to_string().contains(&format!("storage.engine = \"{}\"", first.name())),
                "{refused}"
            );
            drop(open(first).unwrap());
        }
    }
}
