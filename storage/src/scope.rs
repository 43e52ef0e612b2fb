//! Scopes: what a caller may do, whether it shows an API key or an access token (RFC 6749, 3.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a caller may do. Variants are only ever added at the end: their numbers are on disk.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Scope {
            $($(#[$doc])* $name,)*
        }

        impl Scope {
            /// Every scope.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The scope's public name, e.g. `docs:read`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl FromStr for Scope {
            type Err = UnknownScope;

            fn from_str(text: &str) -> Result<Self, UnknownScope> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(UnknownScope),
                }
            }
        }
    };
}

scopes! {
    /// Resolve libraries and read their documentation.
    DocsRead = "docs:read",
    /// Add, change and remove libraries.
    LibrariesWrite = "libraries:write",
    /// Start and cancel index jobs.
    JobsWrite = "jobs:write",
    /// Make, list and revoke API keys.
    KeysWrite = "keys:write",
    /// Read `/api/metrics` from any address.
    MetricsRead = "metrics:read",
    /// Everything, and what belongs to the node itself.
    Admin = "admin",
    /// Talk with the documentation.
    Chat = "chat",
    /// Read and change one's own account.
    Account = "account",
    /// Read how often libraries are asked.
    AnalyticsRead = "analytics:read",
    /// Go on while the person is away: a refresh token that outlives the session (OpenID Connect Core, 11).
    OfflineAccess = "offline_access",
    /// Learn who signed in (OpenID Connect Core, 3.1.2.1).
    OpenId = "openid",
    /// Learn the person's name (OpenID Connect Core, 5.4).
    Profile = "profile",
    /// Learn the person's e-mail address (OpenID Connect Core, 5.4).
    Email = "email",
}

impl Scope {
    /// Whether only operators have it, and give it to what acts for them.
    pub const fn is_for_operators(self) -> bool {
        matches!(self, Self::Admin | Self::MetricsRead)
    }

    /// Whether it says what a caller may do, and not what a client learns of a person: only these are given to API keys
    /// and to clients that act for themselves.
    pub const fn is_permission(self) -> bool {
        !matches!(self, Self::OfflineAccess | Self::OpenId | Self::Profile | Self::Email)
    }
}

/// Scopes as they are told together (RFC 6749, 3.3): `docs:read chat`.
pub fn join(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a scope of this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownScope;

impl fmt::Display for UnknownScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown scope; known are ")?;
        for (position, scope) in Scope::ALL.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{scope}")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownScope {}
