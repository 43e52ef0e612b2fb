//! What letters say. Plain text: a link, what it is for, how long it is good, and what to do when nobody asked for it.

/// One letter, to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: &'static str,
    pub(super) text: String,
}

fn letter(subject: &'static str, service: &str, body: &str) -> Letter {
    Letter { subject, text: format!("Hello,\r\n\r\n{body}\r\n\r\n-- \r\nTwinMCP at {service}\r\n") }
}

fn good_for(life_ms: u64) -> String {
    match life_ms / 3_600_000 {
        0 => format!("{} minutes", (life_ms / 60_000).max(1)),
        1 => "an hour".to_owned(),
        hours @ 2..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

/// To somebody who wants an account.
pub(super) fn sign_up(service: &str, link: &str, life_ms: u64) -> Letter {
    let body = format!(
        "somebody, most likely you, wants an account with this address.\r\n\r\nTo choose a password and make it, open\r\n\
         {link}\r\n\r\nThe link can be used once, within {}. If it was not you, nothing happens without it.",
        good_for(life_ms)
    );
    letter("Confirm your e-mail address", service, &body)
}

/// To somebody who has an account and asked for another.
pub(super) fn has_account(service: &str) -> Letter {
    let body = format!(
        "somebody, most likely you, wanted a new account with this address, which has one already.\r\n\r\n\
         Sign in at {service}/signin\r\nA forgotten password is replaced at {service}/reset\r\n\r\n\
         If it was not you, there is nothing to do."
    );
    letter("You have an account already", service, &body)
}

/// To somebody whom an operator lets in.
pub(super) fn invite(service: &str, link: &str, life_ms: u64) -> Letter {
    let body = format!(
        "you are invited to an account with this address.\r\n\r\nTo choose a password and make it, open\r\n{link}\r\n\r\n\
         The link can be used once, within {}.",
        good_for(life_ms)
    );
    letter("You are invited", service, &body)
}

/// To somebody who forgot a password.
pub(super) fn reset(service: &str, link: &str, life_ms: u64) -> Letter {
    let body = format!(
        "somebody, most likely you, wants another password for this address.\r\n\r\nTo choose one, open\r\n{link}\r\n\r\n\
         The link can be used once, within {}; it ends every session. If it was not you, the password stays as it is.",
        good_for(life_ms)
    );
    letter("Choose another password", service, &body)
}

/// To a new address of somebody.
pub(super) fn email(service: &str, link: &str, life_ms: u64) -> Letter {
    let body = format!(
        "somebody, most likely you, wants to use this address for an account.\r\n\r\nTo confirm it, open\r\n{link}\r\n\r\n\
         The link can be used once, within {}. If it was not you, nothing happens without it.",
        good_for(life_ms)
    );
    letter("Confirm your e-mail address", service, &body)
}

/// To somebody whose password was changed.
pub(super) fn password_changed(service: &str) -> Letter {
    let body = format!(
        "the password of this address was changed, and every other session was ended.\r\n\r\n\
         If it was not you, choose another at {service}/reset"
    );
    letter("Your password was changed", service, &body)
}

/// To somebody whose password was replaced by the link of a letter.
pub(super) fn password_reset(service: &str) -> Letter {
    let body = format!(
        "the password of this address was replaced with the link of a letter, and every session was ended.\r\n\r\n\
         If it was not you, somebody else reads your mail: see to that first, then choose another password at {service}/reset\r\n\
         and tell whoever runs the service."
    );
    letter("Your password was replaced", service, &body)
}

/// To the address that somebody had before.
pub(super) fn email_changed(service: &str, masked: &str) -> Letter {
    let body = format!(
        "the account that had this address has another one from now on:\r\n{masked}\r\n\r\n\
         If it was not you, tell whoever runs the service: letters to this address open the account no more."
    );
    letter("Your e-mail address was changed", service, &body)
}

/// To somebody whose account another identity opens, or does not any more.
pub(super) fn identities_changed(service: &str) -> Letter {
    let body = format!(
        "how you sign in with another provider was changed: an identity was connected with your account, or disconnected.\r\n\r\n\
         If it was not you, look at {service}/settings, choose another password at {service}/reset\r\n\
         and tell whoever runs the service."
    );
    letter("Your other ways to sign in were changed", service, &body)
}

/// To somebody who has no account any more.
pub(super) fn account_deleted(service: &str) -> Letter {
    let body = "the account with this address was deleted, with its keys and sessions.\r\n\r\n\
                If it was not you, tell whoever runs the service.";
    letter("Your account was deleted", service, body)
}

/// To somebody whose second factors were changed.
pub(super) fn factors_changed(service: &str) -> Letter {
    let body = format!(
        "what is asked beside your password was changed: a second factor was added or removed, or backup codes were made.\r\n\r\n\
         If it was not you, choose another password at {service}/reset\r\nand tell whoever runs the service."
    );
    letter("Your second factors were changed", service, &body)
}

/// To somebody who is asked to join a team. Whoever asks chose its name: what could be read as a link is left out of it.
pub(super) fn team(service: &str, link: &str, name: &str, role: &str, life_ms: u64) -> Letter {
    let is_plain = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '\'' | '&');
    let name: String = name.chars().filter(is_plain).collect();
    let body = format!(
        "you are invited to the team \"{name}\" as {role}.\r\n\r\nTo see it, and join or not, open\r\n{link}\r\n\r\n\
         You need an account with this address. The link can be used once, within {}; nothing happens without it.",
        good_for(life_ms)
    );
    letter("You are invited to a team", service, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sends_links_of_their_own_by_the_name_of_a_team() {
        let name = "Win at https://evil.example/x?y <b>now</b> & \u{e9}t\u{e9}-1";
        let letter =
            team("https://docs.example", "https://docs.example/join?token=1", name, "admin", 3_600_000);
        let named = "\"Win at httpsevilexamplexy bnowb & \u{e9}t\u{e9}-1\" as admin";
        assert!(letter.text.contains(named), "{}", letter.text);
    }

    #[test]
    fn a_letter_says_how_long_its_link_is_good() {
        let hour = 3_600_000;
        for (ms, text) in [
            (0, "1 minutes"),
            (20 * 60_000, "20 minutes"),
            (hour, "an hour"),
            (3 * hour, "3 hours"),
            (72 * hour, "3 days"),
        ] {
            let letter = reset("https://docs.example", "https://docs.example/reset?token=1", ms);
            assert!(letter.text.contains(&format!("within {text};")), "{}", letter.text);
        }
    }
}
