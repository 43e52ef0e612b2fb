//! Why something about accounts was not done.

use twinmcp_cluster::ClusterError;
use twinmcp_storage::accounts::{InvalidEmail, NAME_BYTES_MAX};
use twinmcp_storage::clock::EntropyError;
use twinmcp_storage::engine::StorageError;

use super::factors::number::InvalidNumber;
use super::hashing::HashingError;
use super::password::PasswordError;
use crate::seal::VaultError;
use crate::slot::Unanswered;

/// Why an account could not be made, opened, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// A name outside its limits.
    #[error("an account's name has 1 to {NAME_BYTES_MAX} bytes")]
    NameLength,
    /// No e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// No password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// E-mail and password are not somebody's; which of them is nobody's business.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    /// The password of somebody who is signed in is wrong.
    #[error("the current password is wrong")]
    WrongPassword,
    /// The code is not the right one, or was used.
    #[error("the code is wrong or was used")]
    WrongCode,
    /// What was shown in the first step of a sign-in is none of ours, too old, or of somebody who has changed since.
    #[error("the sign-in took too long; begin again")]
    SignInExpired,
    /// What was offered is none of ours, too old, or somebody else's.
    #[error("this took too long; begin again")]
    OfferRefused,
    /// Whoever is signed in did so too long ago for this.
    #[error("sign in once more: this is only done within {} minutes of a sign-in", max_age_s / 60)]
    NotFresh {
        /// How old a sign-in may be, in seconds.
        max_age_s: u64,
    },
    /// What a device answered is none, was given before, or is of a passkey that is not known.
    #[error("the passkey was not taken; try again")]
    WrongPasskey,
    /// The service has no name that devices could know it by.
    #[error("passkeys need the service to have a name: its operator sets `http.public_url`")]
    NoPasskeysHere,
    /// A name of a passkey that is none.
    #[error("a passkey has a name of 1 to 64 bytes, without control characters")]
    PasskeyName,
    /// There are as many as there may be.
    #[error("there are as many as there may be; remove one first")]
    TooManyFactors,
    /// There is one of the kind already.
    #[error("there is one already; remove it first")]
    FactorThere,
    /// There is none of the kind.
    #[error("there is no such second factor")]
    NoFactor,
    /// A code that was sent is not enough to change what is stronger.
    #[error(
        "sign in once more with your authenticator app or a passkey: a code by text message is not enough to change second factors"
    )]
    StrongerNeeded,
    /// Nobody sends text messages here.
    #[error("this service sends no text messages; its operator sets `sms.url`")]
    NoSmsHere,
    /// No number.
    #[error(transparent)]
    Number(#[from] InvalidNumber),
    /// Too many messages for the account, to the number or from the network.
    #[error("too many text messages were sent; the next one can be in {retry_after_s} s")]
    TooManyTexts {
        /// After how many seconds another may be sent.
        retry_after_s: u64,
    },
    /// The carrier did not take the message.
    #[error("the text message could not be sent; try again in a moment, or use another second factor")]
    TextNotSent,
    /// The last factor of somebody who has to have one.
    #[error("this service asks for a second factor; it can only be removed when there is another")]
    FactorRequired,
    /// What secrets are sealed with is not there yet.
    #[error("this node cannot read secrets yet")]
    NotReady,
    /// Too many were wrong: the right one is not taken either.
    #[error("too many passwords or codes were wrong; try again in {retry_after_s} s")]
    Locked {
        /// For how long.
        retry_after_s: u64,
    },
    /// No letter can be sent at the moment.
    #[error("too many letters are waiting; try again in a moment")]
    TooManyLetters,
    /// Nobody, or not everybody, makes an account here.
    #[error("accounts are made by invitation only; ask whoever runs this service")]
    SignUpClosed,
    /// Unknown, used, expired, or of a password or e-mail before: which of them is nobody's business.
    #[error("this link was used, has expired or was replaced; ask for a new one")]
    LinkRefused,
    /// The link needs a password.
    #[error("choose a password")]
    PasswordMissing,
    /// Somebody else has the e-mail.
    #[error("this e-mail address belongs to another account")]
    EmailTaken,
    /// No such account or session, or another's.
    #[error("there is no such account or session")]
    NotFound,
    /// Something changed meanwhile.
    #[error("the account has changed meanwhile; look and try again")]
    Changed,
    /// The account owns libraries, which nobody would own without it.
    #[error(
        "the account owns {count} libraries: remove them first, or ask whoever runs this service to take them over"
    )]
    OwnsLibraries {
        /// How many, at least.
        count: usize,
    },
    /// A team would be without an owner.
    #[error("the account is the last owner of a team: make somebody else one, or delete the team first")]
    LastOwner,
    /// A password cannot be hashed now.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The actor gave no answer.
    #[error("accounts are busy")]
    Busy(#[from] Unanswered),
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read accounts")]
    Storage(#[from] StorageError),
    /// No id could be made.
    #[error("failed to make an id")]
    Entropy(#[from] EntropyError),
}

impl From<VaultError> for AccountsError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::NotReady => Self::NotReady,
            VaultError::Storage(cause) => Self::Storage(cause),
            VaultError::Entropy(cause) => Self::Entropy(cause),
        }
    }
}
