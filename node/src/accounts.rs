//! What the configuration says about people, letters and text messages, with secrets read from where they are kept.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use twinmcp_actors::accounts::{
    AccountsConfig, CarrierSecret, MailConfig, MfaConfig, Required, SignUp, SmsConfig, SmtpPassword, SmtpTls,
};

use crate::config::{self, Config, MailTls, MfaRequired, SignUpMode};
use crate::outside_key::{self, KeyError};
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
pub(crate) fn config(
    config: &Config,
    address: SocketAddr,
    sms: Option<SmsConfig>,
) -> Result<AccountsConfig, PasswordFileError> {
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
            sms,
        },
    })
}

/// How codes are sent to phones; `None` where no carrier is named. The configuration was checked.
pub(crate) fn sms(
    config: &config::SmsConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<SmsConfig>, KeyError> {
    if config.url.is_empty() {
        return Ok(None);
    }
    let (file, name) = (&config.secret_file, &config.secret_variable);
    let secret = outside_key::read("sms.secret", file, name, variable, CarrierSecret::new)?;
    let secret = secret.ok_or_else(|| KeyError::Empty { place: "`sms.secret_file`".to_owned() })?;
    Ok(Some(SmsConfig {
        url: config.url.clone(),
        secret,
        text: config.text.clone(),
        texts_max: config.per_hour,
        network_texts_max: config.network_per_hour,
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_a_carrier_comes_from_a_file_or_a_variable_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret\n").unwrap();
        let url = || "https://sms.example/send".to_owned();
        let variable = |name: &str| (name == "SMS_SECRET").then(|| "s3cret".to_owned());
        let from_file = config::SmsConfig { url: url(), secret_file: file, ..Default::default() };
        let named = |name: &str| config::SmsConfig {
            url: url(),
            secret_variable: name.to_owned(),
            ..Default::default()
        };
        for config in [&from_file, &named("SMS_SECRET")] {
            let sms = sms(config, variable).unwrap().unwrap();
            assert!(!format!("{sms:?}").contains("s3cret"), "{sms:?}");
            assert_eq!((sms.texts_max, sms.network_texts_max), (5, 20));
        }
        let unset = sms(&named("UNSET"), variable).unwrap_err().to_string();
        assert!(unset.contains("the variable `UNSET` (`sms.secret_variable`)"), "{unset}");
        assert!(sms(&config::SmsConfig::default(), variable).unwrap().is_none(), "off");
    }
}
