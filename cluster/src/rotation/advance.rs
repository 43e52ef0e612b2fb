//! What the leader does in a rotation: moves it on once every member has done its step.

use twinmcp_storage::clock::{Entropy, Timestamp};
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::members;
use twinmcp_storage::oauth::base_key;
use twinmcp_storage::refresh::{self, WebhookKey};
use twinmcp_storage::rotation::{self, Rotation, Step, Subject};

use super::RotationError;
use crate::authority::CertificateAuthority;
use crate::handle::Cluster;
use crate::keys::{BASE_LABEL, ClusterKeys, WEBHOOKS_LABEL};
use crate::status::Role;

/// Hooks that are looked at together.
const HOOKS_AT_ONCE: usize = 512;

impl Cluster {
    /// Moves rotations on that wait for nobody, if this node leads. Answers whether one is under way.
    ///
    /// # Errors
    /// [`RotationError`]; it is tried again later.
    pub async fn advance(&self, keys: &ClusterKeys, entropy: &dyn Entropy) -> Result<bool, RotationError> {
        let mut is_under_way = false;
        for subject in Subject::ALL {
            let rotation = rotation::get(self.reader(), subject)?;
            is_under_way |= rotation.step != Step::Settled;
            let is_due = rotation.step != Step::Settled && self.waits_for(&rotation).is_empty();
            if is_due && self.status().role == Role::Leader {
                match self.next_step(subject, &rotation, keys, entropy).await {
                    // Whoever led before has done it.
                    Err(RotationError::UnderWay) => {}
                    moved => moved?,
                }
                tracing::info!(?subject, number = rotation.number, after = ?rotation.step, "a rotation has moved on");
            }
        }
        Ok(is_under_way)
    }

    async fn next_step(
        &self,
        subject: Subject,
        rotation: &Rotation,
        keys: &ClusterKeys,
        entropy: &dyn Entropy,
    ) -> Result<(), RotationError> {
        let number = rotation.number;
        let next = match (subject, rotation.step) {
            (Subject::Key, Step::Spreading) => self.sealed_anew(number, keys, entropy)?,
            (Subject::Authority, Step::Spreading) => rotation::Command::UseAuthority { number },
            (_, Step::Using | Step::Settled) => rotation::Command::End { subject, number },
        };
        self.step(next).await
    }

    /// The step that puts the next key in force: with all that is secret in agreed state, sealed with it.
    fn sealed_anew(
        &self,
        number: u64,
        keys: &ClusterKeys,
        entropy: &dyn Entropy,
    ) -> Result<rotation::Command, RotationError> {
        let view = self.view();
        let names = rotation::key_names(&*view)?;
        let both = names.and_then(|names| keys.named(names.in_force).zip(keys.named(names.other?)));
        let (in_force, next) = both.ok_or(RotationError::KeyAway)?;
        let sealed_authority = match members::authority(&*view)? {
            Some(authority) => {
                Some(CertificateAuthority::open(&authority, &in_force)?.seal(&next, entropy)?.1)
            }
            None => None,
        };
        let sealed_base = match base_key::get(&*view)? {
            Some(base) => Some(next.seal(BASE_LABEL, &keys.open_base(&base.sealed)?, entropy)?),
            None => None,
        };
        let mut webhook_keys = Vec::new();
        let (before, used) = (refresh::webhook_keys(&*view)?, self.hooks_made_at()?);
        let mut since = None;
        for WebhookKey { until, sealed } in before {
            // One that no webhook is of any more is forgotten.
            if used.iter().any(|made_at| Some(*made_at) > since && *made_at <= until) {
                let opened = keys.open_sealed(WEBHOOKS_LABEL, &sealed)?;
                webhook_keys.push(WebhookKey { until, sealed: next.seal(WEBHOOKS_LABEL, &opened, entropy)? });
            }
            since = Some(until);
        }
        let sealed = next.seal(WEBHOOKS_LABEL, &in_force.webhook_key(), entropy)?;
        // Until when is stamped by the log.
        webhook_keys.push(WebhookKey { until: Timestamp::default(), sealed });
        let signers = in_force.route_signer().zip(next.route_signer());
        let endorsement = signers.map(|(before, after)| before.endorse(&after)).unwrap_or_default();
        Ok(rotation::Command::UseKey { number, sealed_authority, webhook_keys, sealed_base, endorsement })
    }

    /// When each webhook was made.
    fn hooks_made_at(&self) -> Result<Vec<Timestamp>, RotationError> {
        let (mut made_at, mut after) = (Vec::new(), None::<LibraryId>);
        loop {
            let hooks = refresh::hooks(self.reader(), after.as_ref(), HOOKS_AT_ONCE)?;
            let Some(last) = hooks.last() else { return Ok(made_at) };
            after = Some(last.library.clone());
            made_at.extend(hooks.iter().map(|hook| hook.created_at));
        }
    }
}
