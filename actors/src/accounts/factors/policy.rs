//! Who has to have a second factor, for everybody who lets people in: sign-in, and the authorization server.

use twinmcp_cluster::Cluster;
use twinmcp_storage::accounts::person;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::AccountId;

/// Whoever has to have a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Required {
    /// Nobody; people may have one.
    #[default]
    Nobody,
    /// Who runs this service.
    Operators,
    /// Every person.
    Everybody,
}

/// The policy, with what tells operators from others.
#[derive(Clone)]
pub(crate) struct FactorPolicy {
    cluster: Cluster,
    required: Required,
}

impl FactorPolicy {
    pub(crate) const fn new(cluster: Cluster, required: Required) -> Self {
        Self { cluster, required }
    }

    /// Whether a second factor is asked of an account. Reads the store only where that depends on the account.
    pub(crate) fn asks(&self, account: &AccountId) -> Result<bool, StorageError> {
        Ok(match self.required {
            Required::Nobody => false,
            Required::Everybody => true,
            Required::Operators => {
                person(self.cluster.reader(), account)?.is_some_and(|person| person.is_operator)
            }
        })
    }
}
