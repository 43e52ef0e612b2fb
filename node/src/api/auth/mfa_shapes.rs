//! What people send to show, add and remove second factors, and what they are told.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use twinmcp_actors::accounts::{Challenge, Factor, FactorsView, PasskeyView, SmsView, TotpOffer};

/// A kind of second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub(crate) enum FactorKind {
    /// The code of an authenticator app.
    Totp,
    /// A backup code, which is good once.
    BackupCode,
    /// A passkey.
    Passkey,
    /// A code that `POST /api/auth/mfa/challenge/sms` sends to a phone.
    Sms,
}

impl From<Factor> for FactorKind {
    fn from(factor: Factor) -> Self {
        match factor {
            Factor::Totp => Self::Totp,
            Factor::BackupCode => Self::BackupCode,
            Factor::Passkey => Self::Passkey,
            Factor::Sms => Self::Sms,
        }
    }
}

/// A kind of second factor that is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub(crate) enum CodeKind {
    /// The code of an authenticator app.
    Totp,
    /// A backup code, which is good once.
    BackupCode,
    /// A code that was sent to a phone in this sign-in.
    Sms,
}

impl From<CodeKind> for Factor {
    fn from(kind: CodeKind) -> Self {
        match kind {
            CodeKind::Totp => Self::Totp,
            CodeKind::BackupCode => Self::BackupCode,
            CodeKind::Sms => Self::Sms,
        }
    }
}

/// What is asked of somebody whose password was right.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ChallengeRecord {
    /// What may be shown, the usual one first.
    factors: Vec<FactorKind>,
    /// How long there is, in seconds.
    expires_in: u64,
}

impl From<&Challenge> for ChallengeRecord {
    fn from(challenge: &Challenge) -> Self {
        Self {
            factors: challenge.factors.iter().copied().map(FactorKind::from).collect(),
            expires_in: challenge.life_s,
        }
    }
}

impl Example for ChallengeRecord {
    fn example() -> Self {
        Self { factors: vec![FactorKind::Totp, FactorKind::BackupCode], expires_in: 300 }
    }
}

/// A second factor, shown.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ChallengeBody {
    /// Of which kind.
    pub(super) factor: CodeKind,
    /// The code. Blanks do not matter, nor do capitals and dashes of a backup code.
    #[oai(validator(max_length = 64))]
    pub(super) code: String,
}

impl Example for ChallengeBody {
    fn example() -> Self {
        Self { factor: CodeKind::Totp, code: "123456".to_owned() }
    }
}

/// An authenticator app that may be added; shown once.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct TotpOfferRecord {
    /// The secret for people to type: base32 in groups of four.
    secret: String,
    /// The same for apps: an `otpauth` URI.
    uri: String,
    /// The URI as a QR code: an SVG picture.
    qr_svg: String,
    /// Goes back with the app's first code.
    ticket: String,
    /// How long it is good, in seconds.
    expires_in: u64,
}

impl TotpOfferRecord {
    pub(super) fn new(offer: TotpOffer, qr_svg: String) -> Self {
        let TotpOffer { secret, uri, ticket, life_s } = offer;
        Self { secret, uri, qr_svg, ticket, expires_in: life_s }
    }
}

impl Example for TotpOfferRecord {
    fn example() -> Self {
        Self {
            secret: "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ".to_owned(),
            uri: "otpauth://totp/TwinMCP:ada%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=TwinMCP"
                .to_owned(),
            qr_svg: "<svg …></svg>".to_owned(),
            ticket: "ticket".to_owned(),
            expires_in: 600,
        }
    }
}

/// The first code of an app that was offered.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ConfirmTotpBody {
    /// What came with the offer.
    #[oai(validator(max_length = 4096))]
    pub(super) ticket: String,
    /// The code that the app shows.
    #[oai(validator(max_length = 64))]
    pub(super) code: String,
}

impl Example for ConfirmTotpBody {
    fn example() -> Self {
        Self { ticket: "ticket".to_owned(), code: "123456".to_owned() }
    }
}

/// Backup codes; shown once.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct BackupCodesRecord {
    /// Ten codes, each good once; absent when there were some already.
    #[oai(skip_serializing_if_is_none)]
    pub(super) backup_codes: Option<Vec<String>>,
}

impl Example for BackupCodesRecord {
    fn example() -> Self {
        Self { backup_codes: Some(vec!["k3zt-9m41-70qa".to_owned()]) }
    }
}

/// An authenticator app.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct TotpRecord {
    /// When it was added, RFC 3339.
    added_at: String,
    /// When a code of it was last taken, RFC 3339.
    used_at: String,
}

impl Example for TotpRecord {
    fn example() -> Self {
        let at = "2026-11-23T12:46:10.123Z".to_owned();
        Self { added_at: at.clone(), used_at: at }
    }
}

/// A passkey.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct PasskeyRecord {
    /// Its id.
    id: String,
    /// What you call it.
    name: String,
    /// When it was added, RFC 3339.
    added_at: String,
    /// When it was last used, RFC 3339.
    used_at: String,
}

impl From<&PasskeyView> for PasskeyRecord {
    fn from(view: &PasskeyView) -> Self {
        let PasskeyView { id, name, added_at, used_at } = view;
        let (added_at, used_at) = (added_at.to_string(), used_at.to_string());
        Self { id: id.clone(), name: name.clone(), added_at, used_at }
    }
}

impl Example for PasskeyRecord {
    fn example() -> Self {
        let at = "2026-11-23T12:46:10.123Z".to_owned();
        let (id, name) = ("0f1e2d3c4b5a6978".to_owned(), "laptop".to_owned());
        Self { id, name, added_at: at.clone(), used_at: at }
    }
}

/// A phone that codes are sent to.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct SmsRecord {
    /// The last two digits of its number.
    to: String,
    /// When it was added, RFC 3339.
    added_at: String,
    /// When a code was last taken, RFC 3339.
    used_at: String,
}

impl From<&SmsView> for SmsRecord {
    fn from(view: &SmsView) -> Self {
        let SmsView { to, added_at, used_at } = view;
        Self { to: to.clone(), added_at: added_at.to_string(), used_at: used_at.to_string() }
    }
}

impl Example for SmsRecord {
    fn example() -> Self {
        let at = "2026-11-23T12:46:10.123Z".to_owned();
        Self { to: "…67".to_owned(), added_at: at.clone(), used_at: at }
    }
}

/// Your second factors.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct FactorsRecord {
    /// Whether this service asks you to have one.
    required: bool,
    /// The authenticator app.
    #[oai(skip_serializing_if_is_none)]
    totp: Option<TotpRecord>,
    /// Your passkeys, oldest first.
    passkeys: Vec<PasskeyRecord>,
    /// The phone that codes are sent to.
    #[oai(skip_serializing_if_is_none)]
    sms: Option<SmsRecord>,
    /// Backup codes that are left.
    backup_codes_left: usize,
}

impl From<&FactorsView> for FactorsRecord {
    fn from(view: &FactorsView) -> Self {
        let totp = view.totp.map(|(added_at, used_at)| TotpRecord {
            added_at: added_at.to_string(),
            used_at: used_at.to_string(),
        });
        let passkeys = view.passkeys.iter().map(PasskeyRecord::from).collect();
        let (required, sms) = (view.is_required, view.sms.as_ref().map(SmsRecord::from));
        Self { required, totp, passkeys, sms, backup_codes_left: view.backup_codes_left }
    }
}

impl Example for FactorsRecord {
    fn example() -> Self {
        let (totp, passkeys) = (Some(TotpRecord::example()), vec![PasskeyRecord::example()]);
        Self { required: false, totp, passkeys, sms: Some(SmsRecord::example()), backup_codes_left: 9 }
    }
}
