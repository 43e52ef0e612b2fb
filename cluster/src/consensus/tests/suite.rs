//! `openraft`'s own suite for stores, on every engine a node may run on.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use twinmcp_storage::engine::EngineKind;

use super::super::log::LogStore;
use super::super::machine::StateMachine;
use super::super::types::Types;
use super::{in_memory, on_disk};

struct InMemory;

impl StoreBuilder<Types, LogStore, StateMachine> for InMemory {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<Types>> {
        let stores = in_memory();
        Ok(((), stores.log, stores.machine))
    }
}

struct OnDisk(EngineKind);

impl StoreBuilder<Types, LogStore, StateMachine, tempfile::TempDir> for OnDisk {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<Types>> {
        let folder = tempfile::tempdir().unwrap();
        let stores = on_disk(self.0, folder.path());
        Ok((folder, stores.log, stores.machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_keep_openrafts_contract_in_memory() {
    Box::pin(Suite::test_all(InMemory)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_keep_openrafts_contract_on_every_disk() {
    for kind in EngineKind::ALL {
        Box::pin(Suite::test_all(OnDisk(kind))).await.unwrap();
    }
}
