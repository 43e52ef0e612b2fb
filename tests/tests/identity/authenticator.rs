//! An authenticator app, as on somebody's phone: it shows codes of a secret that was typed in (RFC 6238).

use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};
use twinmcp_tests::Answer;

use super::Browser;
use super::signer::now;

/// Seconds of a step.
const STEP_S: u64 = 30;

/// An app that somebody has set up.
///
/// A code is taken in its step and the one on either side, once, and none before it. So the code of this step ([`Self::now`]) and then that of the
/// next ([`Self::next`]) are taken at any moment, and no third for a while: further sign-ins of a test use backup codes.
#[derive(Debug, Clone)]
pub(super) struct Authenticator {
    secret: Vec<u8>,
    /// The step of the moment in which it was set up; what is shown does not change while a test runs.
    step: u64,
}

impl Authenticator {
    /// Set up with the letters that a page shows.
    pub(super) fn typed(letters: &str) -> Self {
        Self { secret: base32(letters), step: now() / STEP_S }
    }

    pub(super) fn now(&self) -> String {
        self.code(self.step)
    }

    pub(super) fn next(&self) -> String {
        self.code(self.step + 1)
    }

    /// What it shows at this moment, which comes after another than that it was set up with.
    pub(super) async fn shown_later(&self) -> String {
        while now() / STEP_S == self.step {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.code(now() / STEP_S)
    }

    /// A code of none of the steps around.
    pub(super) fn wrong(&self) -> String {
        let near: Vec<_> = (self.step - 4..self.step + 10).map(|step| self.code(step)).collect();
        let code = (0..).map(|code: u32| format!("{code:06}")).find(|code| !near.contains(code));
        code.expect("most codes are wrong")
    }

    /// RFC 4226, 5.3.
    fn code(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let bytes = tag.as_ref();
        let at = usize::from(bytes[bytes.len() - 1] & 15);
        let number = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) & 0x7FFF_FFFF;
        format!("{:06}", number % 1_000_000)
    }
}

/// Waits until the step of the moment lasts for some seconds more.
pub(super) async fn not_at_the_end_of_a_step() {
    while now() % STEP_S > STEP_S / 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// RFC 4648, 6, without padding; blanks do not matter.
fn base32(letters: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in letters.bytes().filter(|letter| !letter.is_ascii_whitespace()) {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            other => panic!("{} is no letter of base32", char::from(other)),
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255) as u8);
        }
    }
    bytes
}

/// What somebody has who has set an app up.
#[derive(Debug, Clone)]
pub(super) struct Enrolled {
    pub(super) app: Authenticator,
    pub(super) backup_codes: Vec<String>,
}

/// Adds an app to the account that is signed in, with the code of this step.
pub(super) async fn enrol(browser: &mut Browser) -> Enrolled {
    let offer = browser.post("/api/auth/mfa/totp", &json!({})).await.expect(200).json();
    let app = Authenticator::typed(offer["secret"].as_str().expect("an offer has a secret"));
    let added = confirm(browser, &offer, &app.now()).await.expect(200).json();
    let codes = added["backup_codes"].as_array().expect("the first factor comes with codes");
    let backup_codes = codes.iter().filter_map(|code| code.as_str().map(str::to_owned)).collect();
    Enrolled { app, backup_codes }
}

pub(super) async fn confirm(browser: &mut Browser, offer: &Value, code: &str) -> Answer {
    browser.post("/api/auth/mfa/totp/confirm", &json!({ "ticket": offer["ticket"], "code": code })).await
}

/// The second step of a sign-in.
pub(super) async fn answer(browser: &mut Browser, factor: &str, code: &str) -> Answer {
    browser.post("/api/auth/mfa/challenge", &json!({ "factor": factor, "code": code })).await
}
