//! What the configuration says about people and letters, with the relay's password read from where it is kept.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use twinmcp_actors::accounts::{
    AccountsConfig, MailConfig, MfaConfig, Required, SignUp, SmtpPassword, SmtpTls,
};

use crate::config::{Config, MailTls, MfaRequired, SignUpMode};
use crate::public_url;

/// Largest file of a password, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4 * 1024;

/// The relay's password cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the password of the mail relay in `{}` (`mail.password_file`)", path.display())]
pub struct PasswordFileError {
    /// Where it should be.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// How people sign up and in at the node that listens on `address`.
pub(crate) fn config(config: &Config, address: SocketAddr) -> Result<AccountsConfig, PasswordFileError> {
    let (accounts, mail) = (&config.accounts, &config.mail);
    Ok(AccountsConfig {
        sign_up: match accounts.sign_up {
            SignUpMode::Open => SignUp::Open,
            SignUpMode::Invite => SignUp::Invite,
            SignUpMode::Closed => SignUp::Closed,
        },
        public_url: public_url::of(&config.http.public_url, address),
        session_idle_ms: accounts.session_idle_seconds.saturating_mul(1_000),
        session_life_ms: accounts.session_life_seconds.saturating_mul(1_000),
        lock_after: accounts.lock_after,
        address_lock_after: accounts.address_lock_after,
        lock_ms: accounts.lock_seconds.saturating_mul(1_000),
        lock_ms_max: accounts.lock_seconds_max.saturating_mul(1_000),
        reset_life_ms: accounts.reset_life_seconds.saturating_mul(1_000),
        invite_life_ms: accounts.invite_life_seconds.saturating_mul(1_000),
        hash_threads: accounts.hash_threads,
        hashes_waiting_max: accounts.hashes_waiting_max,
        mail: MailConfig {
            host: mail.host.clone(),
            port: mail.port,
            tls: match mail.tls {
                MailTls::Implicit => SmtpTls::Implicit,
                MailTls::Starttls => SmtpTls::StartTls,
                MailTls::None => SmtpTls::None,
            },
            user: mail.user.clone(),
            password: password(&mail.password_file)?,
            from: mail.from.clone(),
            outbox: PathBuf::new(),
        },
        mfa: MfaConfig {
            required: match config.mfa.required {
                MfaRequired::Nobody => Required::Nobody,
                MfaRequired::Operators => Required::Operators,
                MfaRequired::Everybody => Required::Everybody,
            },
            issuer: config.mfa.issuer.clone(),
            fresh_ms: config.mfa.fresh_seconds.saturating_mul(1_000),
        },
    })
}

fn password(file: &Path) -> Result<SmtpPassword, PasswordFileError> {
    if file.as_os_str().is_empty() {
        return Ok(SmtpPassword::default());
    }
    let read = || {
        if std::fs::metadata(file)?.len() > PASSWORD_BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {PASSWORD_BYTES_MAX} bytes")));
        }
        std::fs::read_to_string(file)
    };
    let text = read().map_err(|source| PasswordFileError { path: file.to_owned(), source })?;
    Ok(SmtpPassword::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}
