//! Codes that are sent to phones, as the log decides them, and how many are.

use super::*;

const WINDOW_MS: u64 = 3_600_000;

impl World {
    fn add_sms(&mut self, session: &str, secret: &str) -> Outcome {
        let add = FactorCommand::AddSms {
            account: account(1),
            generation: self.person(1).map_or(0, |person| person.generation),
            sealed: vec![6],
            renewal: Renewal { session: session_id(session), secret_hash: SecretHash::of(secret) },
            backup_codes: vec![SecretHash::of("one")],
        };
        self.apply(&Command::Factor(add))
    }

    /// Begins a session with the code that has this number.
    fn begin_with_sms(&mut self, secret: &str, code: &str) -> Outcome {
        let expires_at = self.at.plus_millis(1_000);
        let proof = Proof::Sms { number: SecretHash::of(code), expires_at };
        self.begin_as(1, secret, |sign_in| sign_in.proof = Some(proof))
    }

    fn remove_sms(&mut self) -> Outcome {
        let generation = self.person(1).map_or(0, |person| person.generation);
        let remove = FactorCommand::Remove { account: account(1), generation, which: WhichFactor::Sms };
        self.apply(&Command::Factor(remove))
    }

    fn send(&mut self, allowed: &[(Whose, u32)]) -> Outcome {
        let allowed =
            allowed.iter().map(|(whose, texts_max)| TextsAllowed { whose: *whose, texts_max: *texts_max });
        let send =
            TextCommand::Send { account: account(1), allowed: allowed.collect(), window_ms: WINDOW_MS };
        self.apply(&Command::Text(send))
    }

    fn sent(&self, whose: Whose) -> usize {
        texts(&self.engine, &whose).unwrap().map_or(0, |texts| texts.sent.len())
    }
}

fn with_sms() -> World {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.begin(1, "a");
    assert_eq!(world.add_sms("a", "b"), Outcome::Done);
    world
}

#[test]
fn a_code_that_was_sent_is_taken_once_and_in_time() {
    let mut world = with_sms();
    assert_eq!(world.session("b").unwrap().methods, [Method::Password, Method::Sms]);
    assert_eq!(world.add_sms("a", "c"), Outcome::AlreadyExists);
    assert_eq!(world.begin_as(1, "c", |_| {}), Outcome::Burnt, "the password alone");
    world.at = world.at.plus_millis(10);
    assert_eq!(world.begin_with_sms("c", "first"), Outcome::Done);
    assert_eq!(world.begin_with_sms("d", "first"), Outcome::Burnt);
    assert_eq!(factors(&world.engine, &account(1)).unwrap().sms.unwrap().used_at, world.at);
    let late = Proof::Sms { number: SecretHash::of("second"), expires_at: world.at };
    assert_eq!(world.begin_as(1, "d", |sign_in| sign_in.proof = Some(late)), Outcome::Burnt);
    assert_eq!(world.begin_with_sms("d", "second"), Outcome::Done);
}

#[test]
fn with_the_phone_go_its_codes() {
    let mut world = with_sms();
    let generation = world.person(1).unwrap().generation;
    assert_eq!(world.remove_sms(), Outcome::Done);
    assert_eq!(world.remove_sms(), Outcome::NotFound);
    assert_eq!(factors(&world.engine, &account(1)).unwrap(), Factors::default());
    assert_eq!(world.begin_with_sms("c", "sent before"), Outcome::Burnt);
    assert_eq!(world.add_sms("a", "d"), Outcome::Done);
    // Decided for the phone before.
    let proof = Proof::Sms { number: SecretHash::of("sent before"), expires_at: world.at.plus_millis(1_000) };
    let before = |sign_in: &mut SignIn| (sign_in.generation, sign_in.proof) = (generation, Some(proof));
    assert_eq!(world.begin_as(1, "e", before), Outcome::Stale);
    assert_eq!(world.apply(&Command::Factor(FactorCommand::Reset { account: account(1) })), Outcome::Done);
    assert_eq!(world.begin_as(1, "e", |_| {}), Outcome::Done);
}

#[test]
fn messages_are_counted_for_all_or_for_none() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    let (ada, phone, home) =
        (Whose::account(&account(1)), Whose::number([7; 32]), Whose::network("192.0.2.1"));
    for _ in 0..2 {
        assert_eq!(world.send(&[(ada, 2), (phone, 2), (home, 3)]), Outcome::Done);
        world.at = world.at.plus_millis(1_000);
    }
    assert_eq!(world.send(&[(ada, 2), (phone, 2), (home, 3)]), Outcome::LimitReached);
    assert_eq!(
        world.send(&[(home, 3), (phone, 2)]),
        Outcome::LimitReached,
        "the same phone for somebody else"
    );
    assert_eq!(world.sent(home), 2, "what was refused counts for nobody");
    let eve = Whose::account(&account(2));
    assert_eq!(world.send(&[(eve, 2), (home, 3)]), Outcome::Done);
    assert_eq!(world.send(&[(Whose::account(&account(3)), 2), (home, 3)]), Outcome::LimitReached);
    assert_eq!(world.send(&[(eve, 0)]), Outcome::LimitReached, "none at all");

    let full = texts(&world.engine, &ada).unwrap().unwrap();
    assert_eq!(full.full_for_ms(world.at, 2, WINDOW_MS), WINDOW_MS - 2_000);
    assert_eq!(full.full_for_ms(world.at, 3, WINDOW_MS), 0);
    world.at = Timestamp::from_millis(1_000_000 + WINDOW_MS);
    assert_eq!(world.send(&[(ada, 2)]), Outcome::Done, "the first is an hour old");
    assert_eq!(world.send(&[(ada, 2)]), Outcome::LimitReached, "the second is not");
    assert_eq!(world.sent(ada), 2, "no more are remembered than count");
}

#[test]
fn a_message_that_did_not_leave_is_given_back() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    let (ada, phone) = (Whose::account(&account(1)), Whose::number([7; 32]));
    let not_sent = Command::Text(TextCommand::NotSent { whose: vec![ada, phone] });
    assert_eq!(world.apply(&not_sent), Outcome::NotFound);
    for _ in 0..5 {
        assert_eq!(world.send(&[(ada, 1), (phone, 1)]), Outcome::Done);
        assert_eq!(world.apply(&not_sent), Outcome::Done);
    }
    assert_eq!((world.sent(ada), world.sent(phone)), (0, 0));
}
