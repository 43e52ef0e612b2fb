//! The way of letters: handed to a relay by SMTP, or written to files where there is none.
//!
//! Nobody waits for a letter: whoever asked is answered before it is made, the same whether one is sent or not.
//! A letter holds a secret, so it is never logged.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::sync::Semaphore;
use twinmcp_storage::accounts::Email;
use twinmcp_storage::clock::{Clock, Entropy};

use super::config::{MailConfig, SmtpTls};
use super::letters::Letter;
use super::metrics::Metrics;
use super::token::Token;

/// Letters on their way at once that somebody asked for; beyond that nobody is let in who would want one. As many more that tell people
/// what was done to their accounts.
const LETTERS_MAX: usize = 256;
/// Letters kept in the outbox; then it has to be emptied.
const OUTBOX_FILES_MAX: usize = 1_000;
/// Time one handing over may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Pauses between tries of one letter.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// Mail cannot be sent as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// No address.
    #[error("`mail.from` is no address such as `TwinMCP <no-reply@example.org>`")]
    From(#[source] lettre::address::AddressError),
    /// No such host, or no certificates.
    #[error("the mail relay in `mail.host` cannot be used")]
    Relay(#[source] lettre::transport::smtp::Error),
}

/// Why one letter did not leave.
#[derive(Debug, thiserror::Error)]
enum LetterError {
    #[error("the letter could not be written")]
    Message(#[from] lettre::error::Error),
    #[error("the address cannot be written to")]
    Address(#[from] lettre::address::AddressError),
    #[error("the relay did not take the letter")]
    Smtp(#[from] lettre::transport::smtp::Error),
    #[error("the outbox could not be written")]
    Outbox(#[from] std::io::Error),
    #[error("the outbox has {OUTBOX_FILES_MAX} letters; remove some, or set `mail.host`")]
    Full,
    #[error("no random bytes for its name")]
    Entropy(#[from] twinmcp_storage::clock::EntropyError),
    #[error("writing was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl LetterError {
    /// Whether it is worth trying again.
    fn passes(&self) -> bool {
        matches!(self, Self::Smtp(error) if !error.is_permanent())
    }
}

enum Way {
    Relay(AsyncSmtpTransport<Tokio1Executor>),
    Outbox(PathBuf),
}

/// Sends letters.
#[derive(Clone)]
pub(super) struct Post {
    inner: Arc<Inner>,
    /// Of letters that anybody may ask for.
    pub(super) places: Arc<Semaphore>,
    /// Of letters about what was done, which others cannot be in the way of.
    pub(super) notices: Arc<Semaphore>,
}

struct Inner {
    way: Way,
    from: Mailbox,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Metrics,
}

impl Post {
    /// # Errors
    /// When mail can never be sent as it is configured.
    pub(super) fn new(
        config: &MailConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
    ) -> Result<Self, MailError> {
        let from = if config.from.is_empty() { "TwinMCP <no-reply@localhost>" } else { &config.from };
        let from: Mailbox = from.parse().map_err(MailError::From)?;
        let way = if config.host.is_empty() {
            Way::Outbox(config.outbox.clone())
        } else {
            Way::Relay(relay(config).map_err(MailError::Relay)?)
        };
        let inner = Arc::new(Inner { way, from, clock, entropy, metrics });
        let places = || Arc::new(Semaphore::new(LETTERS_MAX));
        Ok(Self { inner, places: places(), notices: places() })
    }

    /// Sends a letter, and tries again for a while.
    pub(super) async fn send(&self, to: &Email, letter: Letter) {
        let mut pauses = PAUSES.iter();
        let mut sent = self.inner.send(to, &letter).await;
        while let (Err(error), Some(pause)) = (&sent, pauses.next()) {
            if !error.passes() {
                break;
            }
            tokio::time::sleep(*pause).await;
            sent = self.inner.send(to, &letter).await;
        }
        self.inner.metrics.letter(sent.is_ok());
        if let Err(error) = sent {
            // What the relay said is the cause, which is not told: it may name the address.
            tracing::error!(subject = letter.subject, error = %error, "a letter was not sent");
        }
    }
}

impl Inner {
    async fn send(&self, to: &Email, letter: &Letter) -> Result<(), LetterError> {
        let name = Token::random(&*self.entropy)?;
        let domain = self.from.email.domain();
        let message = Message::builder()
            .from(self.from.clone())
            .to(to.as_str().parse()?)
            .subject(letter.subject)
            .message_id(Some(format!("<{}@{domain}>", &name.reveal()[..32])))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())?;
        match &self.way {
            Way::Relay(relay) => {
                relay.send(message).await?;
                Ok(())
            }
            Way::Outbox(folder) => {
                let file = format!("{}-{}.eml", self.clock.now().as_millis(), &name.reveal()[..8]);
                let (folder, bytes) = (folder.clone(), message.formatted());
                tokio::task::spawn_blocking(move || write(&folder, &file, &bytes)).await?
            }
        }
    }
}

fn relay(config: &MailConfig) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let mut builder = match config.tls {
        SmtpTls::Implicit => AsyncSmtpTransport::<Tokio1Executor>::relay(&config.host)?,
        SmtpTls::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(&config.host)?,
        SmtpTls::None => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host),
    };
    if config.port != 0 {
        builder = builder.port(config.port);
    }
    if !config.user.is_empty() {
        let password = config.password.reveal().to_owned();
        builder = builder.credentials(Credentials::new(config.user.clone(), password));
    }
    Ok(builder.timeout(Some(TIMEOUT)).build())
}

/// Writes a letter where only the node's own user can read it; whole, or not at all.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LetterError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::read_dir(folder)?.count() >= OUTBOX_FILES_MAX {
        return Err(LetterError::Full);
    }
    let begun = folder.join(format!(".{name}"));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&begun)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(begun, folder.join(name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;
    use twinmcp_storage::clock::{SystemClock, SystemEntropy};

    use super::*;

    fn post(config: &MailConfig) -> Result<Post, MailError> {
        Post::new(config, Arc::new(SystemClock), Arc::new(SystemEntropy), Metrics::new())
    }

    /// Takes one letter as a relay does (RFC 5321): what it was told, line by line.
    async fn relay(listener: TcpListener) -> Vec<String> {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let (mut lines, mut told, mut in_letter) = (BufReader::new(read).lines(), Vec::new(), false);
        write.write_all(b"220 relay.example ESMTP\r\n").await.unwrap();
        while let Some(line) = lines.next_line().await.unwrap() {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let answer: &[u8] = match (in_letter, verb.as_str()) {
                (true, _) if line == "." => b"250 taken\r\n",
                (true, _) => b"",
                (false, "EHLO") => b"250-relay.example\r\n250 8BITMIME\r\n",
                (false, "DATA") => b"354 go on\r\n",
                (false, "QUIT") => b"221 bye\r\n",
                (false, _) => b"250 ok\r\n",
            };
            in_letter = verb == "DATA" && !in_letter || in_letter && line != ".";
            told.push(line);
            write.write_all(answer).await.unwrap();
        }
        told
    }

    #[tokio::test]
    async fn a_letter_is_handed_to_the_relay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = tokio::spawn(relay(listener));
        let config = MailConfig {
            host: "127.0.0.1".to_owned(),
            port,
            tls: SmtpTls::None,
            from: "TwinMCP <no-reply@example.org>".to_owned(),
            ..MailConfig::default()
        };
        let to = "ada@example.org".parse().unwrap();
        let letter = Letter { subject: "Hello", text: "Hello,\r\n.\r\nthe end\r\n".to_owned() };
        {
            post(&config).unwrap().send(&to, letter).await;
        }
        let told = tokio::time::timeout(TIMEOUT, taken).await.unwrap().unwrap();
        let has = |wanted: &str| told.iter().any(|line| line.contains(wanted));
        for wanted in
            ["MAIL FROM:<no-reply@example.org>", "RCPT TO:<ada@example.org>", "Subject: Hello", "the end"]
        {
            assert!(has(wanted), "{wanted}: {told:?}");
        }
    }

    #[test]
    fn without_a_relay_letters_are_files_for_the_nodes_user_alone_and_not_without_end() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let outbox = folder.path().join("outbox");
        write(&outbox, "1.eml", b"a letter").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&outbox), mode(&outbox.join("1.eml"))), (0o700, 0o600));
        for number in 2..=OUTBOX_FILES_MAX {
            fs::write(outbox.join(format!("{number}.eml")), "").unwrap();
        }
        assert!(matches!(write(&outbox, "more.eml", b""), Err(LetterError::Full)));
    }

    #[test]
    fn mail_that_can_never_be_sent_is_told_at_the_start() {
        let from = |from: &str| post(&MailConfig { from: from.to_owned(), ..MailConfig::default() }).is_ok();
        assert!(from("") && from("TwinMCP <no-reply@example.org>") && from("no-reply@example.org"));
        assert!(!from("TwinMCP") && !from("<>"));
    }
}
