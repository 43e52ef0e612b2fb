//! What can happen, to what, and by whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, ApiKeyId};

/// Longest id or text of an event, in bytes; longer ones are cut.
const TEXT_BYTES_MAX: usize = 512;

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every one, in the order they came to be known.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in the log; it stays as it is for ever.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

names! {
    /// What happened. Variants are only ever added at the end: their numbers are on disk.
    Action {
        /// An account was made: by an operator, or by whoever opened a letter.
        AccountMade = "account.made",
        /// A link to an account was made.
        AccountInvited = "account.invited",
        /// Somebody is kept out.
        AccountDisabled = "account.disabled",
        /// Somebody is let in again.
        AccountEnabled = "account.enabled",
        /// An account is gone.
        AccountDeleted = "account.deleted",
        /// Everything that is kept of somebody was handed out to them.
        AccountExported = "account.exported",
        /// Somebody runs this service from now on.
        OperatorMade = "operator.made",
        /// Somebody runs it no more.
        OperatorUnmade = "operator.unmade",
        /// A session began.
        SessionBegun = "session.begun",
        /// Sessions ended: signed out, or ended by somebody or by another change.
        SessionEnded = "session.ended",
        /// Passwords were wrong.
        SignInFailed = "sign_in.failed",
        /// Nothing is taken for a while because too many passwords were wrong.
        SignInLocked = "sign_in.locked",
        /// A password was changed by who knew the one before.
        PasswordChanged = "password.changed",
        /// A password was replaced by a link.
        PasswordReset = "password.reset",
        /// An e-mail address was changed.
        EmailChanged = "email.changed",
        /// Somebody has to show more than a password from now on.
        FactorAdded = "second_factor.added",
        /// Somebody took a second factor away.
        FactorRemoved = "second_factor.removed",
        /// An operator took every second factor of somebody away.
        FactorsReset = "second_factor.reset",
        /// Backup codes were made in place of those before.
        BackupCodesMade = "backup_code.made",
        /// A backup code was used in place of a second factor.
        BackupCodeUsed = "backup_code.used",
        /// Somebody at a provider may open an account from now on.
        IdentityLinked = "identity.linked",
        /// Somebody at a provider opens an account no more.
        IdentityUnlinked = "identity.unlinked",
        /// A team was made.
        TeamMade = "team.made",
        /// A team is gone.
        TeamDeleted = "team.deleted",
        /// Somebody was asked to join a team.
        TeamInvited = "team.invited",
        /// An invitation to a team was taken back.
        TeamInvitationWithdrawn = "team.invitation_withdrawn",
        /// Somebody joined a team.
        TeamJoined = "team.joined",
        /// Somebody is something else in a team.
        TeamRoleSet = "team.role_set",
        /// Somebody is no more in a team.
        TeamLeft = "team.left",
        /// A key was made.
        KeyMade = "api_key.made",
        /// A key is refused from now on.
        KeyRevoked = "api_key.revoked",
        /// A client was made by somebody.
        ClientMade = "client.made",
        /// A client registered itself.
        ClientRegistered = "client.registered",
        /// What is kept of a client was replaced.
        ClientChanged = "client.changed",
        /// A client shows another secret or key from now on.
        ClientCredentialsReplaced = "client.credentials_replaced",
        /// A client is gone.
        ClientRemoved = "client.removed",
        /// Somebody allowed a client more than before.
        ConsentGiven = "consent.given",
        /// Somebody took back what they had allowed a client.
        ConsentWithdrawn = "consent.withdrawn",
        /// A grant was ended by who holds it.
        GrantRevoked = "grant.revoked",
        /// A token that was used came back, or one came from the wrong client: everything of its grant has ended.
        TokenReused = "token.reused",
        /// One access token is refused from now on.
        TokenRevoked = "token.revoked",
        /// A code was shown by the wrong one, or wrongly, and is good for nothing any more.
        CodeMisused = "code.misused",
        /// A key that signs tokens was added.
        SigningKeyAdded = "signing_key.added",
        /// Nothing that a key signed is believed from now on.
        SigningKeyRevoked = "signing_key.revoked",
        /// Replacing a secret of the cluster has begun.
        RotationBegun = "rotation.begun",
        /// A rotation goes on without some nodes.
        RotationLeftBehind = "rotation.left_behind",
        /// A secret of the cluster was replaced.
        RotationEnded = "rotation.ended",
        /// A token that lets a node in was made.
        JoinTokenMade = "join_token.made",
        /// A node was let in.
        MemberJoined = "member.joined",
        /// A node that could not follow a rotation was let in again.
        MemberRenewed = "member.renewed",
        /// A node takes no part any more.
        MemberRemoved = "member.removed",
        /// A node votes from now on.
        MemberPromoted = "member.promoted",
        /// A node only follows from now on.
        MemberDemoted = "member.demoted",
        /// What every node has to be able to read was raised.
        ClusterUpgraded = "cluster.upgraded",
        /// A copy of everything that is agreed was handed out.
        BackupTaken = "backup.taken",
        /// A library is shown to others, or not any more.
        LibraryShown = "library.shown",
        /// A library belongs to another account.
        LibraryMoved = "library.moved",
        /// A library is gone.
        LibraryRemoved = "library.removed",
        /// One version of a library is gone.
        VersionRemoved = "version.removed",
        /// A code was about to be sent to the phone of somebody.
        CodeSent = "second_factor.code_sent",
        /// Somebody did not allow a client what it asked for.
        ConsentDenied = "consent.denied",
        /// Somebody allowed a program on another device what it asked for.
        DeviceAllowed = "device.allowed",
        /// Somebody did not.
        DeviceDenied = "device.denied",
        /// A client was given its first token of what somebody allowed it.
        GrantMade = "grant.made",
        /// A link to another password was asked for.
        ResetRequested = "password.reset_requested",
        /// A link to another e-mail address was asked for.
        EmailChangeRequested = "email.change_requested",
        /// A client showed wrongly who it is; so many times.
        ClientRefused = "client.refused",
        /// A key that opens a library's webhook was made, in place of the one before.
        WebhookKeyMade = "webhook_key.made",
        /// A library has no webhook any more.
        WebhookKeyRemoved = "webhook_key.removed",
        /// Second factors were wrong, shown by who knows the password or has a passkey's name.
        FactorFailed = "second_factor.failed",
        /// No second factor is taken for a while because too many were wrong.
        FactorLocked = "second_factor.locked",
    }
}

impl Action {
    /// The action with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == name)
    }

    /// Whether anybody can cause it at will, of whomever they like, without being let in.
    pub(super) const fn is_for_strangers(self) -> bool {
        matches!(
            self,
            Self::SignInFailed
                | Self::SignInLocked
                | Self::AccountInvited
                | Self::ResetRequested
                | Self::ClientRegistered
                | Self::ClientChanged
                | Self::ClientCredentialsReplaced
                | Self::ClientRemoved
                | Self::ClientRefused
        )
    }
}

names! {
    /// What something happened to. Variants are only ever added at the end: their numbers are on disk.
    Kind {
        /// An account.
        Account = "account",
        /// An account that several people act for.
        Team = "team",
        /// A session of somebody.
        Session = "session",
        /// What somebody typed for an e-mail that nobody has: a hash of it.
        Name = "name",
        /// An IPv4 address, or a /64 of IPv6.
        Network = "network",
        /// A key of an account.
        ApiKey = "api_key",
        /// A program that asks people for access, or acts for itself.
        Client = "client",
        /// What was allowed to a client once.
        Grant = "grant",
        /// One token.
        Token = "token",
        /// A code that a client was sent.
        Code = "code",
        /// A key that signs tokens.
        SigningKey = "signing_key",
        /// A secret of the cluster.
        Secret = "secret",
        /// A token that lets a node in.
        JoinToken = "join_token",
        /// A node.
        Member = "member",
        /// A library.
        Library = "library",
        /// The cluster.
        Cluster = "cluster",
        /// Many things of one account, or of anybody, that are told together.
        Many = "many",
    }
}

names! {
    /// How it ended.
    EventOutcome {
        /// It was done.
        Done = "done",
        /// It was tried, and refused.
        Refused = "refused",
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// Somebody who showed nothing.
    Nobody,
    /// Somebody who is signed in.
    Person(AccountId),
    /// Whoever has a key.
    Key {
        /// Which.
        id: ApiKeyId,
        /// Whose.
        account: AccountId,
    },
    /// A client, by a token or by its own credentials.
    Client {
        /// Which.
        id: String,
        /// In whose name.
        account: Option<AccountId>,
    },
    /// A node by itself, or whoever sits at it.
    Node(u64),
}

impl Actor {
    /// In whose name; absent for who showed nothing, and for a node.
    pub(super) fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Person(account) | Self::Key { account, .. } => Some(account),
            Self::Client { account, .. } => account.as_ref(),
            Self::Nobody | Self::Node(_) => None,
        }
    }
}

/// Who is behind a command, and where they came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// From where; absent for a node itself.
    pub address: Option<IpAddr>,
    /// By which request, as its answer, the log and the trace name it; absent for a node itself.
    pub request: Option<String>,
}

/// One event, as the noun notes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub(super) action: Action,
    pub(super) outcome: EventOutcome,
    pub(super) kind: Kind,
    pub(super) object: String,
    pub(super) account: Option<AccountId>,
    pub(super) actor: Option<Actor>,
    pub(super) count: Option<u64>,
    pub(super) detail: BTreeMap<String, String>,
}

impl Event {
    /// The account that it is about.
    pub(super) fn about(&self) -> Option<AccountId> {
        match self.kind {
            Kind::Account => self.object.parse().ok(),
            _ => self.account.clone(),
        }
    }

    /// `action` was done to `object`, whose text is an id and never a secret.
    pub fn new(action: Action, kind: Kind, object: impl ToString) -> Self {
        Self {
            action,
            outcome: EventOutcome::Done,
            kind,
            object: cut(object.to_string()),
            account: None,
            actor: None,
            count: None,
            detail: BTreeMap::new(),
        }
    }

    /// The object belongs to this account, or is about it.
    #[must_use]
    pub fn of(mut self, account: &AccountId) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// It was this one, whoever sent the command: somebody who was not known before it, as at a sign-in.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// It was tried, and refused.
    #[must_use]
    pub fn refused(mut self) -> Self {
        self.outcome = EventOutcome::Refused;
        self
    }

    /// It stands for so many.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Something more that has to be known; never a secret.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.detail.insert(name.to_owned(), cut(value.to_string()));
        self
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
