//! Second factors on one node: what time and tampering do to tickets, which no test from outside can wait for.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use twinmcp_storage::accounts::{Method, TextCommand, Who};

use super::challenge::{Pending, SIGN_INS};
use super::enrol::{OFFERS, Offer};
use super::number::Number;
use super::sms::{Code, Text};
use super::totp::Secret;
use super::*;
use crate::accounts::{CarrierSecret, ChallengeAnswer, NewSession, SignInStep, SignedIn};
use crate::tests::World;
use crate::upstream::Visit;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A node, and Ada's session at it.
struct Story {
    world: World,
    session: SignedIn,
}

impl Story {
    async fn begin() -> Self {
        let world = World::new().await;
        let session = world.person().await;
        Self { world, session }
    }

    fn people(&self) -> &Accounts {
        &self.world.actors.accounts
    }

    fn offer(&self, ticket: &str) -> Offer<Secret> {
        self.people().vault.read_ticket(OFFERS, ticket).unwrap().unwrap()
    }

    /// The code of the step that is `steps` after this one.
    fn code(&self, offer: &Offer<Secret>, steps: u64) -> String {
        offer.what.code_at(self.people().clock.now().plus_millis(steps * 30_000))
    }

    /// Adds an app with the code of this step.
    async fn enrol(&self) -> (Offer<Secret>, Vec<String>) {
        let people = self.people();
        let shown = people.offer_totp(&self.session).await.unwrap();
        let offer = self.offer(&shown.ticket);
        let code = self.code(&offer, 0);
        let added = people.confirm_totp(&self.session, &shown.ticket, &code, HERE).await.unwrap();
        (offer, added.backup_codes.unwrap())
    }

    async fn challenge(&self) -> String {
        match self.world.sign_in_again().await {
            SignInStep::Challenge(challenge) => challenge.ticket,
            SignInStep::Session(_) => panic!("a second factor was added"),
        }
    }

    async fn answer(&self, ticket: &str, factor: Factor, code: &str) -> Result<NewSession, AccountsError> {
        let answer =
            ChallengeAnswer { ticket, factor, code, address: HERE, client: "test/1", replaces: None };
        self.people().answer_challenge(answer).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_104_an_offer_is_good_for_who_asked_in_time_once_and_needs_a_fresh_sign_in() {
    let story = Story::begin().await;
    let people = story.people();
    let long_ago = Timestamp::from_millis(story.session.signed_in_at.as_millis() - 600_001);
    let stale = SignedIn { signed_in_at: long_ago, ..story.session.clone() };
    assert!(matches!(people.offer_totp(&stale).await, Err(AccountsError::NotFresh { max_age_s: 600 })));

    let shown = people.offer_totp(&story.session).await.unwrap();
    let offer = story.offer(&shown.ticket);
    let code = story.code(&offer, 0);
    let resealed = |change: &dyn Fn(&mut Offer<Secret>)| {
        let mut changed = story.offer(&shown.ticket);
        change(&mut changed);
        people.vault.ticket(OFFERS, &changed, &*people.entropy).unwrap()
    };
    let (late, other) = (
        resealed(&|offer| offer.expires_at = people.clock.now()),
        resealed(&|offer| offer.session = "ses_00000000000000000000000000".parse().unwrap()),
    );
    let challenge = people.vault.ticket(SIGN_INS, &offer, &*people.entropy).unwrap();
    for ticket in ["", "x", &shown.ticket[1..], &late, &other, &challenge] {
        let refused = people.confirm_totp(&story.session, ticket, &code, HERE).await;
        assert!(matches!(refused, Err(AccountsError::OfferRefused)), "{ticket}");
    }
    let wrong = people.confirm_totp(&story.session, &shown.ticket, &story.code(&offer, 5), HERE).await;
    assert!(matches!(wrong, Err(AccountsError::WrongCode)));
    assert!(people.factors(&story.session.account).unwrap().totp.is_none(), "nothing was confirmed");
    people.confirm_totp(&story.session, &shown.ticket, &code, HERE).await.unwrap();
    let again = people.confirm_totp(&story.session, &shown.ticket, &story.code(&offer, 1), HERE).await;
    assert!(matches!(again, Err(AccountsError::Changed)), "the offer was made before");
    assert!(matches!(people.offer_totp(&story.session).await, Err(AccountsError::FactorThere)));
    assert!(matches!(people.remove_totp(&stale).await, Err(AccountsError::NotFresh { .. })));
    assert!(matches!(people.make_backup_codes(&stale).await, Err(AccountsError::NotFresh { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_106_a_ticket_is_good_for_its_person_as_they_were_and_in_time() {
    let story = Story::begin().await;
    let people = story.people();
    let (offer, codes) = story.enrol().await;
    let ticket = story.challenge().await;
    let resealed = |change: &dyn Fn(&mut Pending)| {
        let mut pending: Pending = people.vault.read_ticket(SIGN_INS, &ticket).unwrap().unwrap();
        change(&mut pending);
        people.vault.ticket(SIGN_INS, &pending, &*people.entropy).unwrap()
    };
    let late = resealed(&|pending| pending.expires_at = people.clock.now());
    let changed = resealed(&|pending| pending.generation -= 1);
    let offered = people.vault.ticket(OFFERS, &offer, &*people.entropy).unwrap();
    for ticket in ["", "x", &ticket[1..], &late, &changed, &offered] {
        let refused = story.answer(ticket, Factor::Totp, &story.code(&offer, 1)).await;
        assert!(matches!(refused, Err(AccountsError::SignInExpired)), "{ticket}");
    }
    assert_eq!(people.challenged(&ticket).unwrap(), [Factor::Totp, Factor::BackupCode]);
    let new = story.answer(&ticket, Factor::Totp, &story.code(&offer, 1)).await.unwrap();
    assert_eq!(new.session.methods, [Method::Password, Method::OneTimeCode]);
    let again = story.answer(&ticket, Factor::Totp, &story.code(&offer, 1)).await;
    assert!(matches!(again, Err(AccountsError::WrongCode)), "the step was used");
    story.answer(&ticket, Factor::BackupCode, &codes[7].to_uppercase()).await.unwrap();
    let again = story.answer(&ticket, Factor::BackupCode, &codes[7]).await;
    assert!(matches!(again, Err(AccountsError::WrongCode)), "the code was used");
    assert_eq!(people.factors(&story.session.account).unwrap().backup_codes_left, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_103_after_ten_wrong_codes_the_right_one_is_refused_too() {
    let story = Story::begin().await;
    let (offer, codes) = story.enrol().await;
    let ticket = story.challenge().await;
    for wrong in 0..10 {
        let factor = if wrong % 2 == 0 { Factor::Totp } else { Factor::BackupCode };
        let refused = story.answer(&ticket, factor, &story.code(&offer, 100)).await;
        assert!(matches!(refused, Err(AccountsError::WrongCode)), "{wrong}");
    }
    for (factor, code) in [(Factor::Totp, story.code(&offer, 1)), (Factor::BackupCode, codes[0].clone())] {
        let locked = story.answer(&ticket, factor, &code).await;
        assert!(matches!(locked, Err(AccountsError::Locked { .. })), "{factor:?}");
    }
    let who = Who::factor(&story.session.account);
    let agreed = accounts::tries(story.people().cluster.reader(), &who).unwrap().unwrap();
    assert_eq!(agreed.count, 10, "every node knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_asks_nobody_operators_or_everybody_for_a_second_factor() {
    let story = Story::begin().await;
    let account = &story.session.account;
    for (required, asks) in
        [(Required::Nobody, false), (Required::Operators, false), (Required::Everybody, true)]
    {
        let policy = policy::FactorPolicy::new(story.world.cluster.clone(), required);
        assert_eq!(policy.asks(account).unwrap(), asks, "{required:?}");
    }
    story.people().manage_person(account, None, Some(true)).await.unwrap();
    let policy = policy::FactorPolicy::new(story.world.cluster.clone(), Required::Operators);
    assert!(policy.asks(account).unwrap(), "an operator now");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_ends_every_session_where_a_factor_is_to_be_shown_and_leads_on_to_it() {
    let story = Story::begin().await;
    let people = story.people();
    let (offer, _) = story.enrol().await;
    let visit = Visit { address: HERE, client: "test/1", replaces: None };
    let (current, new) = ("correct horse battery", "an even better one");
    let step = people.change_password(&story.session, current, new, visit).await.unwrap();
    let SignInStep::Challenge(challenge) = step else { panic!("a second factor was added") };
    assert!(people.sessions(&story.session.account).unwrap().is_empty(), "no cookie is worth anything");
    let began = story.answer(&challenge.ticket, Factor::Totp, &story.code(&offer, 1)).await.unwrap();
    assert_eq!(began.session.methods, [Method::Password, Method::OneTimeCode]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_from_a_network_lock_no_passkey_there() {
    let story = Story::begin().await;
    let (people, account) = (story.people(), &story.session.account);
    for number in 0..people.config().address_lock_after {
        let email = format!("{number}@example.org").parse().unwrap();
        let attempts = people.admit(&email, HERE).unwrap();
        people.failed(&attempts, None, HERE).await.unwrap();
    }
    let password = people.admit_factor(account, HERE);
    assert!(matches!(password, Err(AccountsError::Locked { .. })));
    // They are work all the same: so many at once, and no more.
    let admitted: Vec<_> = (0..20).map(|_| people.admit_passkey(account, HERE)).collect();
    assert_eq!(admitted.iter().filter(|admitted| admitted.is_ok()).count(), 10);
    drop(admitted);
    // Half a day later half of it is forgiven, before anybody is wrong again: they sign in beside each other.
    story.world.clock.advance(Duration::from_secs(12 * 3600));
    let admitted: Vec<_> =
        (0..20).map(|number| people.admit(&format!("{number}@example.com").parse().unwrap(), HERE)).collect();
    assert_eq!(admitted.iter().filter(|admitted| admitted.is_ok()).count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_of_somebodys_number_keep_no_code_from_them() {
    let story = Story::begin().await;
    let people = story.people();
    people.vault.ready().await.unwrap();
    let (to, code) = (Number::parse("+43 660 1234567").unwrap(), Code::random(&*people.entropy).unwrap());
    let config = SmsConfig {
        url: String::new(),
        secret: CarrierSecret::new("secret").unwrap(),
        text: String::new(),
        texts_max: 5,
        network_texts_max: 20,
    };
    let send = async |account: &AccountId, text: Text<'_>, address: [u8; 4]| {
        let allowed = people.allowed(account, text, address.into(), &config).unwrap().to_vec();
        let send = TextCommand::Send { account: account.clone(), allowed, window_ms: 3_600_000 };
        people.change(accounts::Command::Text(send)).await.unwrap()
    };
    let (offer, code) = (Text::Offer { to: &to, code: &code }, Text::SignIn { to: &to, code: &code });
    let (eve, ada) = (&story.world.account.id, &story.session.account);
    for number in 0..6 {
        let wanted = if number < 5 { Outcome::Done } else { Outcome::LimitReached };
        assert_eq!(send(eve, offer, [198, 51, 100, 7]).await, wanted, "{number}");
    }
    assert_eq!(send(ada, code, [192, 0, 2, 1]).await, Outcome::Done);
    // Nor do many accounts offer it without end.
    let other = people.create("another").await.unwrap().id;
    assert_eq!(send(&other, offer, [203, 0, 113, 9]).await, Outcome::LimitReached);
}
