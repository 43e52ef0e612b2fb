//! Whether an access token opens a door here: the way in for every request that shows one. Reads this node's own state, and passes no
//! mailbox and no lock but that of the memory of tokens seen a moment ago.

use std::sync::Arc;

use twinmcp_storage::accounts;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::oauth::grant;

use super::Oauth;
use super::access_token::{AccessToken, Subject};
use super::dpop::{ProofError, Proven};
use super::token_text::is_opaque_access;

/// An access token as a request shows it.
#[derive(Debug, Clone, Copy)]
pub struct ShownToken<'a> {
    /// The token.
    pub text: &'a str,
    /// Whether it was sent as `DPoP`, not as `Bearer`.
    pub is_bound: bool,
    /// The header `DPoP`.
    pub proof: Option<&'a str>,
    /// The request's method.
    pub method: &'a str,
    /// The request's path.
    pub path: &'a str,
}

/// Why an access token opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// It is unknown, expired, revoked, or for another resource.
    #[error("the access token is unknown, expired, revoked or for another resource")]
    Refused,
    /// It is bound to a key, and came without a proof of that key; or the other way round.
    #[error("{0}")]
    Proof(&'static str),
    /// The proof carries no nonce of this node; this one is good.
    #[error("the proof has to carry the nonce of the answer's header 'DPoP-Nonce'")]
    Nonce(String),
    /// The policy asks a second factor of the person, who had shown none when it was allowed.
    #[error("a second factor is asked of the person, and they had shown none")]
    Weak,
    /// The store cannot be read.
    #[error("failed to read what was revoked")]
    Storage(#[from] StorageError),
}

impl Oauth {
    /// What an access token says that is good at the path it was shown at (RFC 9068, 4; RFC 8707, 3), with the proof it is bound to
    /// (RFC 9449, 7.1).
    ///
    /// # Errors
    /// Why it opens nothing.
    pub fn admit(&self, shown: ShownToken<'_>) -> Result<Arc<AccessToken>, AdmitError> {
        let token = self.verify(shown.text)?.ok_or(AdmitError::Refused)?;
        if !self.0.resources.is_for(&token.resources, shown.path) {
            return Err(AdmitError::Refused);
        }
        if self.is_weak(&token)? {
            return Err(AdmitError::Weak);
        }
        let Some(key) = token.dpop_jkt else {
            if shown.is_bound {
                return Err(AdmitError::Proof("the access token is bound to no key: send it as Bearer"));
            }
            return Ok(token);
        };
        let proof = shown.proof.filter(|_| shown.is_bound);
        let proof = proof
            .ok_or(AdmitError::Proof("the access token is bound to a key: send it as DPoP, with a proof"))?;
        let url = format!("{}{}", self.issuer(), shown.path);
        let proven = Proven { method: shown.method, url: &url, access_token: Some(shown.text) };
        let now = self.now();
        match self.0.proofs.check(proof, proven, now) {
            Ok(shown) if shown == key => Ok(token),
            Ok(_) => Err(AdmitError::Proof("the proof is of another key than the access token")),
            Err(ProofError::Invalid(why)) => Err(AdmitError::Proof(why)),
            Err(ProofError::Nonce) => Err(AdmitError::Nonce(self.0.proofs.nonce(now))),
        }
    }

    /// Whether the policy asks more of the token's person than they had shown when it was allowed.
    pub(super) fn is_weak(&self, token: &AccessToken) -> Result<bool, StorageError> {
        match (&token.subject, &token.signed_in) {
            (Subject::Person(account), Some(signed_in)) => self.lacks_factor(account, &signed_in.methods),
            _ => Ok(false),
        }
    }

    /// What an access token says, if this cluster made it, it has not expired and was not revoked, and whoever it acts for may still do
    /// what it says: scopes for operators end with being one. Whether it is good here is
    /// told by [`Oauth::admit`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn verify(&self, text: &str) -> Result<Option<Arc<AccessToken>>, StorageError> {
        let inner = &*self.0;
        let now = inner.clock.now();
        let hash = *blake3::hash(text.as_bytes()).as_bytes();
        let token = match inner.verified.get(&hash) {
            Some(token) => token,
            None => {
                let keys = inner.issuer.keys();
                let read = if is_opaque_access(text) {
                    inner.issuer.read_opaque(text)
                } else {
                    AccessToken::verify(text, &keys, self.issuer(), now)
                };
                let Some(token) = read.map(Arc::new) else { return Ok(None) };
                inner.verified.insert(hash, Arc::clone(&token));
                // What is remembered is forgotten after other keys are in force: this came too late for that.
                if !Arc::ptr_eq(&keys, &inner.issuer.keys()) {
                    inner.verified.remove(&hash);
                }
                token
            }
        };
        let reader = inner.cluster.reader();
        let is_for_operators = token.scopes.iter().any(|scope| scope.is_for_operators());
        let is_revoked = token.has_expired(now)
            || is_for_operators && !accounts::may_operate(reader, token.account())?
            || grant::is_revoked(reader, &token.id)?
            || match &token.grant {
                Some(grant) => grant::is_revoked(reader, grant.as_str())?,
                None => false,
            };
        Ok((!is_revoked).then_some(token))
    }
}
