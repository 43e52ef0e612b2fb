//! Copies of uploads on other nodes: what a job is made from outlives the node that it was sent to.
//!
//! Before a job is acknowledged another node has its archive, and while the job is open its node looks after that. Who is
//! asked to keep one fetches it from the asker ([`Copies::keep`]). A node that has lost the archive itself gets the copy
//! ([`Copies::regain`]); that it is lost everywhere is learnt from [`Copies::seek`].
//!
//! Invariant: what is kept under a hash has it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use twinmcp_cluster::membership::Liveness;
use twinmcp_cluster::{Cluster, KeepUpload, NodeId, UploadKept};
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::members::{self, NodeFacts};

use super::uploads::{UploadError, Uploads};

/// How long a node may take to say whether it has an archive.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Between two questions while an archive is on its way.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Longest pause within an archive on its way.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Archives on their way to this node at once.
const COMING_MAX: usize = 4;
/// Nodes that are asked to keep one archive before there is none.
const KEEPERS_ASKED_MAX: usize = 5;

/// Where an archive may be besides here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// Another node has it.
    There,
    /// Every other node says that it does not.
    Nowhere,
    /// So many nodes did not answer, the others do not have it.
    Unknown(usize),
}

impl Sought {
    /// Nobody who answers has it, and so many did not answer.
    fn without(unknown: usize) -> Self {
        match unknown {
            0 => Self::Nowhere,
            unknown => Self::Unknown(unknown),
        }
    }
}

/// The way to copies.
#[derive(Clone)]
pub(super) struct Copies {
    cluster: Cluster,
    uploads: Uploads,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Who has a copy of what this node has, by hash.
    keepers: Mutex<HashMap<String, NodeId>>,
    /// Archives on their way to this node.
    coming: Mutex<HashSet<String>>,
    /// One archive is brought back at a time: several jobs may be made from one.
    regaining: tokio::sync::Mutex<()>,
}

/// Why an archive did not come.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the node that has it does not give it")]
    NotGiven,
    #[error("it broke off")]
    Broken,
    #[error("another one came")]
    Other,
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl Copies {
    pub(super) fn new(cluster: Cluster, uploads: Uploads) -> Self {
        Self { cluster, uploads, shared: Arc::default() }
    }

    /// Lets another node have a copy of an archive that lies here, unless one has. Whether one has it now, or this node
    /// is alone.
    pub(super) async fn ensure(&self, account: &AccountId, hash: &str, patience: Duration) -> bool {
        if self.is_kept(hash) {
            return true;
        }
        let nodes = self.others();
        nodes.is_empty() || self.bring_to(nodes, account, hash, patience).await
    }

    /// Lets one of `nodes` have a copy of an archive that lies here, unless one has. Whether one has it now.
    pub(super) async fn ensure_at(
        &self,
        nodes: &[NodeId],
        account: &AccountId,
        hash: &str,
        patience: Duration,
    ) -> bool {
        self.is_kept_at(nodes, hash) || self.bring_to(nodes.to_vec(), account, hash, patience).await
    }

    /// Asks `nodes`, one after the other, to keep a copy, until one has it.
    async fn bring_to(
        &self,
        nodes: Vec<NodeId>,
        account: &AccountId,
        hash: &str,
        patience: Duration,
    ) -> bool {
        let Some(bytes) = self.uploads.bytes(account, hash) else { return false };
        let (account, hash) = (account.to_string(), hash.to_owned());
        let question = KeepUpload { account, hash, bytes, is_wanted: true };
        let deadline = Instant::now() + patience;
        for node in nodes.into_iter().take(KEEPERS_ASKED_MAX) {
            if self.is_taken_by(node, &question, deadline).await {
                self.keepers().insert(question.hash, node);
                return true;
            }
        }
        tracing::warn!(
            upload = question.hash,
            "no other node took a copy of an archive: it is on this node only"
        );
        false
    }

    /// Whether a node that lives is known to have a copy.
    pub(super) fn is_kept(&self, hash: &str) -> bool {
        let keeper = self.keepers().get(hash).copied();
        let status = self.cluster.status();
        keeper.is_some_and(|keeper| {
            status.members.iter().any(|member| member.node_id == keeper) && !self.is_silent(keeper)
        })
    }

    /// Whether one of `nodes` is known to have a copy.
    pub(super) fn is_kept_at(&self, nodes: &[NodeId], hash: &str) -> bool {
        self.keepers().get(hash).is_some_and(|keeper| nodes.contains(keeper))
    }

    /// The archive is not needed any more.
    pub(super) fn forget(&self, hash: &str) {
        self.keepers().remove(hash);
    }

    async fn is_taken_by(&self, node: NodeId, question: &KeepUpload, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            match self.ask(node, question).await {
                Some(UploadKept { is_here: true, .. }) => return true,
                Some(UploadKept { is_coming: true, .. }) => tokio::time::sleep(ASK_EVERY).await,
                Some(_) | None => return false,
            }
        }
        false
    }

    async fn ask(&self, node: NodeId, question: &KeepUpload) -> Option<UploadKept> {
        match timeout(ANSWER_PATIENCE, self.cluster.keep_upload(node, question)).await.ok()? {
            Ok(answer) => Some(answer),
            Err(reason) => {
                tracing::debug!(%node, reason, "a node did not say whether it has an archive");
                None
            }
        }
    }

    /// Asks all other members whether they have an archive. Those that were removed are not asked.
    pub(super) async fn seek(&self, account: &AccountId, hash: &str) -> Sought {
        let answers = self.ask_all(account, hash).await;
        match answers.iter().any(|(_, has_it)| *has_it == Some(true)) {
            true => Sought::There,
            false => Sought::without(answers.iter().filter(|(_, has_it)| has_it.is_none()).count()),
        }
    }

    /// Brings an archive back from a member that has a copy: [`Sought::There`] when it is here now. A copy that did not
    /// come counts as one of a node that does not answer.
    pub(super) async fn regain(&self, account: &AccountId, hash: &str) -> Sought {
        let _one = self.shared.regaining.lock().await;
        if self.uploads.path(account, hash).is_some() {
            return Sought::There;
        }
        let mut unknown = 0;
        for (node, has_it) in self.ask_all(account, hash).await {
            match has_it {
                Some(true) => match self.fetch(node, account, hash).await {
                    Ok(()) => {
                        tracing::info!(%node, upload = hash, "an archive that was lost here is back");
                        self.keepers().insert(hash.to_owned(), node);
                        return Sought::There;
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, %node, "the copy of an archive that was lost here did not come");
                        unknown += 1;
                    }
                },
                Some(false) => {}
                None => unknown += 1,
            }
        }
        Sought::without(unknown)
    }

    /// Whether each other member has an archive; nothing of those that do not answer.
    async fn ask_all(&self, account: &AccountId, hash: &str) -> Vec<(NodeId, Option<bool>)> {
        let (account, hash) = (account.to_string(), hash.to_owned());
        let question = KeepUpload { account, hash, bytes: 0, is_wanted: false };
        let asked = self.others().into_iter().map(async |node| {
            let answer = self.ask(node, &question).await;
            (node, answer.map(|answer| answer.is_here))
        });
        join_all(asked).await
    }

    /// Whether an archive is here; where it is wanted and is not, it is fetched from the asker.
    pub(super) fn keep(&self, from: NodeId, question: KeepUpload) -> UploadKept {
        let absent = UploadKept { is_here: false, is_coming: false };
        let Ok(account) = question.account.parse::<AccountId>() else { return absent };
        if self.uploads.path(&account, &question.hash).is_some() {
            return UploadKept { is_here: true, is_coming: false };
        }
        if !question.is_wanted || !self.uploads.takes(question.bytes) || !Uploads::is_hash(&question.hash) {
            return absent;
        }
        {
            let mut coming = self.coming();
            if !coming.contains(&question.hash) && coming.len() >= COMING_MAX {
                return absent;
            }
            if !coming.insert(question.hash.clone()) {
                return UploadKept { is_here: false, is_coming: true };
            }
        }
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.fetch(from, &account, &question.hash).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, node = %from, "an archive that another node wants kept did not come");
            }
            this.coming().remove(&question.hash);
        });
        UploadKept { is_here: false, is_coming: true }
    }

    async fn fetch(&self, from: NodeId, account: &AccountId, hash: &str) -> Result<(), FetchError> {
        let asked = self.cluster.upload_from(from, account.as_str(), hash);
        let found = timeout(IDLE_TIMEOUT, asked).await.map_err(|_| FetchError::Broken)?;
        let mut found = found.ok().flatten().ok_or(FetchError::NotGiven)?;
        let mut writer = self.uploads.begin(account).await?;
        while let Some(piece) =
            timeout(IDLE_TIMEOUT, found.bytes.next()).await.map_err(|_| FetchError::Broken)?
        {
            writer.write(piece.map_err(|_| FetchError::Broken)?).await?;
        }
        writer.finish_as(hash).await?.map(drop).ok_or(FetchError::Other)
    }

    /// Other members that take jobs, as gossip has it: alive, ready and not drained; those first that take over best.
    pub(super) fn takers(&self) -> Vec<NodeId> {
        let mut takers = self.others();
        takers.retain(|node| {
            let told = self.cluster.directory().member(*node);
            told.is_some_and(|told| told.liveness == Liveness::Alive && told.is_ready && !told.is_draining)
        });
        takers
    }

    /// Other members, those first that take over best: alive, not failing together with this one, and near.
    fn others(&self) -> Vec<NodeId> {
        let status = self.cluster.status();
        let facts = |node: NodeId| -> NodeFacts {
            let known = members::node(self.cluster.reader(), node.0).ok().flatten();
            known.map(|known| known.facts).unwrap_or_default()
        };
        let here = facts(status.node_id);
        let others = status.members.into_iter().map(|member| member.node_id);
        let mut others: Vec<_> = others.filter(|node| *node != status.node_id).collect();
        others.sort_by_cached_key(|node| {
            let there = facts(*node);
            let is_far = there.region != here.region;
            let fails_together = !is_far && !here.zone.is_empty() && there.zone == here.zone;
            (self.is_silent(*node), fails_together, is_far, *node)
        });
        others
    }

    fn is_silent(&self, node: NodeId) -> bool {
        let told = self.cluster.directory().member(node);
        told.is_some_and(|told| matches!(told.liveness, Liveness::Dead | Liveness::Left))
    }

    fn keepers(&self) -> MutexGuard<'_, HashMap<String, NodeId>> {
        self.shared.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn coming(&self) -> MutexGuard<'_, HashSet<String>> {
        self.shared.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
