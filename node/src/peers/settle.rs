//! Keeping the place once the cluster runs: keys, certificates, rotations, and what the node says about itself.

use std::time::Duration;

use opentelemetry::global;
use tokio_util::sync::CancellationToken;
use twinmcp_cluster::{CertificateAuthority, Changes, Cluster, Trust};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Command;
use twinmcp_storage::members;
use twinmcp_storage::transaction::Change;

use super::{CERTIFICATE_LIFE_MS, Place};

/// Between two looks whether a certificate is due, and what peers should know has changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The same while a rotation is under way, for what nobody tells: that a node was removed, or leads now.
const LOOK_IN_ROTATION: Duration = Duration::from_secs(1);
/// After a change that could not be agreed on.
const TRY_AGAIN: Duration = Duration::from_secs(2);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The certificate this node shows.
#[derive(Default)]
struct Shown {
    until: Timestamp,
    /// The authorities that it was made with, see [`Trust::names`].
    names: Vec<[u8; 32]>,
}

impl Shown {
    /// Whether another is to be made: the authorities have changed, or a third of its life is left.
    fn is_due(&self, names: &[[u8; 32]], now: Timestamp) -> bool {
        self.names != names || self.until.millis_since(now) < CERTIFICATE_LIFE_MS / 3
    }
}

impl Place {
    /// Keeps the place until the node stops. What cannot be agreed on now is tried again.
    pub(crate) async fn settle(self, cluster: Cluster, stop: CancellationToken) {
        let (mut shown, mut changes) = (Shown::default(), cluster.changes());
        loop {
            let pause = match self.look(&cluster, &mut shown).await {
                Ok(false) => LOOK_EVERY,
                Ok(true) => LOOK_IN_ROTATION,
                Err(error) => {
                    tracing::warn!(error = &*error, "this node's place in the cluster is not settled yet");
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = moved_on(&mut changes) => {}
            }
        }
    }

    /// Does what is due; whether a rotation is under way.
    async fn look(&self, cluster: &Cluster, shown: &mut Shown) -> Result<bool, Failure> {
        // Without the newest key a certificate can still be due.
        let kept = cluster.keep_keys(&self.keys).await;
        if self.ports.is_some() {
            self.keep_certificate(cluster, shown).await?;
            self.keep_described(cluster).await?;
        }
        kept?;
        Ok(cluster.advance(&self.keys, &*self.entropy).await?)
    }

    async fn keep_certificate(&self, cluster: &Cluster, shown: &mut Shown) -> Result<(), Failure> {
        let trust = match self.trust(cluster.reader())? {
            Some(trust) => trust,
            None => self.found_authority(cluster).await?,
        };
        let names = trust.names();
        if shown.is_due(&names, self.clock.now()) {
            let until = self.certify(&trust, cluster.status().cluster_id)?;
            // Peers believe the certificate of before for as long as both are accepted, and no longer.
            if shown.names.first().is_some_and(|before| Some(before) != names.first()) {
                cluster.renew_connections();
            }
            *shown = Shown { until, names };
        }
        let left = Duration::from_millis(shown.until.millis_since(self.clock.now()));
        global::meter("twinmcp")
            .f64_gauge("twinmcp.peer.certificate.left")
            .with_unit("s")
            .with_description(
                "How long peers still believe this node's certificate; it is renewed at a third of its life.",
            )
            .build()
            .record(left.as_secs_f64(), &[]);
        Ok(cluster.confirm_trust(&trust).await?)
    }

    async fn keep_described(&self, cluster: &Cluster) -> Result<(), Failure> {
        let me = cluster.status().members.into_iter().find(|member| member.node_id == self.node);
        if me.is_some_and(|me| me.address != self.facts.address) {
            cluster.admit(self.node, &self.facts.address).await?;
        }
        let described = members::node(cluster.reader(), self.node.0)?;
        if described.is_none_or(|described| described.facts != self.facts && described.removed_at.is_none()) {
            let describe = members::Command::Describe { node: self.node.0, facts: self.facts.clone() };
            cluster.propose(Command::Members(describe)).await?;
        }
        Ok(())
    }

    /// The first node with a port for peers gives its cluster an authority.
    async fn found_authority(&self, cluster: &Cluster) -> Result<Trust, Failure> {
        let sealing = self.keys.sealing();
        let (certificate, sealed_key) = CertificateAuthority::make()?.seal(&sealing, &*self.entropy)?;
        let certify = members::Command::Certify { certificate, sealed_key };
        // Another node may have been first: what is agreed on counts.
        cluster.propose(Command::Members(certify)).await?;
        Trust::agreed(cluster.reader())?.ok_or_else(|| "the authority was not agreed on".into())
    }
}

/// Returns once a rotation has moved on, or nobody knows what has.
async fn moved_on(changes: &mut Changes) {
    while let Some(changes) = changes.next().await {
        if changes.iter().any(|change| matches!(change, Change::Secrets | Change::Everything)) {
            return;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_replaced_at_a_third_of_its_life_and_with_its_authority() {
        let life_ms = CERTIFICATE_LIFE_MS;
        let shown = Shown { until: Timestamp::from_millis(life_ms), names: vec![[1; 32]] };
        let (third, before) = (life_ms - life_ms / 3, 1_000);
        assert!(!shown.is_due(&[[1; 32]], Timestamp::from_millis(third - before)));
        assert!(shown.is_due(&[[1; 32]], Timestamp::from_millis(third + before)));
        assert!(shown.is_due(&[[1; 32]], Timestamp::from_millis(2 * life_ms)), "it has expired");
        assert!(shown.is_due(&[[2; 32], [1; 32]], Timestamp::default()), "another authority signs");
        assert!(Shown::default().is_due(&[[1; 32]], Timestamp::from_millis(life_ms)), "the first one");
    }
}
