//! Second factors as the log decides them.

use super::*;

impl World {
    fn factors(&self, number: u8) -> Factors {
        factors(&self.engine, &account(number)).unwrap()
    }

    fn generation(&self, number: u8) -> u32 {
        self.person(number).map_or(0, |person| person.generation)
    }

    fn factor(&mut self, command: FactorCommand) -> Outcome {
        self.apply(&Command::Factor(command))
    }

    fn add_totp(&mut self, number: u8, session: &str, secret: &str, step: u64) -> Outcome {
        let add = FactorCommand::AddTotp {
            account: account(number),
            generation: self.generation(number),
            sealed: vec![1, 2, 3],
            step,
            renewal: Renewal { session: session_id(session), secret_hash: SecretHash::of(secret) },
            backup_codes: vec![SecretHash::of("one"), SecretHash::of("two")],
        };
        self.factor(add)
    }

    fn begin_with(&mut self, secret: &str, proof: Option<Proof>) -> Outcome {
        self.begin_as(1, secret, |sign_in| sign_in.proof = proof)
    }

    fn remove_totp(&mut self, generation: u32) -> Outcome {
        self.factor(FactorCommand::Remove { account: account(1), generation, which: WhichFactor::Totp })
    }
}

impl World {
    fn add_passkey(&mut self, number: u8, id: &str, session: &str, secret: &str) -> Outcome {
        let add = FactorCommand::AddPasskey {
            account: account(number),
            generation: self.generation(number),
            id: id.as_bytes().to_vec(),
            name: "laptop".to_owned(),
            credential: vec![1],
            counter: 5,
            renewal: Renewal { session: session_id(session), secret_hash: SecretHash::of(secret) },
            backup_codes: vec![SecretHash::of("one")],
        };
        self.factor(add)
    }

    fn signed(&self, id: &str, challenge: &str, counter: u32) -> Option<Proof> {
        Some(Proof::Passkey(Assertion {
            id: id.as_bytes().to_vec(),
            counter,
            challenge: SecretHash::of(challenge),
            expires_at: self.at.plus_millis(1_000),
        }))
    }
}

#[test]
fn case_108_a_challenge_is_answered_once_and_a_counter_never_goes_back() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.begin(1, "a");
    assert_eq!(world.add_passkey(1, "key", "a", "b"), Outcome::Done);
    assert_eq!(by_passkey(&world.engine, b"key").unwrap(), Some(account(1)));
    assert_eq!(world.begin_with("c", None), Outcome::Burnt);
    let signed = world.signed("key", "one", 6);
    assert_eq!(world.begin_with("c", signed), Outcome::Done);
    // What was signed once, a count that stands still or goes back, another key.
    for (id, challenge, counter) in
        [("key", "one", 7), ("key", "two", 6), ("key", "two", 5), ("other", "two", 9)]
    {
        let signed = world.signed(id, challenge, counter);
        assert_eq!(world.begin_with("d", signed), Outcome::Burnt, "{id} {challenge} {counter}");
    }
    let late = world.signed("key", "two", 7);
    world.at = world.at.plus_millis(1_000);
    assert_eq!(world.begin_with("d", late), Outcome::Burnt, "too old");
    let signed = world.signed("key", "two", 7);
    assert_eq!(world.begin_with("d", signed), Outcome::Done);
    assert_eq!(world.factors(1).answered.len(), 1, "what has expired is forgotten");
    assert_eq!(world.factors(1).passkeys[0].counter, 7);
}

#[test]
fn a_device_that_does_not_count_is_taken_and_too_many_answers_at_once_are_not() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.begin(1, "a");
    assert_eq!(world.add_passkey(1, "key", "a", "b"), Outcome::Done);
    let mut passkeys = world.factors(1).passkeys;
    passkeys[0].counter = 0;
    let mut answered = Vec::new();
    for number in 0..=ANSWERED_MAX {
        let Some(Proof::Passkey(assertion)) = world.signed("key", &number.to_string(), 0) else { panic!() };
        let is_good = passkeys::spend(&mut passkeys, &mut answered, world.at, &assertion);
        assert_eq!(is_good, number < ANSWERED_MAX, "{number}");
    }
}

#[test]
fn a_passkey_belongs_to_one_account_until_it_is_removed() {
    let mut world = World::new();
    for (number, email, session) in [(1, "ada@example.org", "a"), (2, "eve@example.org", "e")] {
        world.add(number, email);
        world.begin(number, session);
    }
    assert_eq!(world.add_passkey(1, "key", "a", "b"), Outcome::Done);
    assert_eq!(world.add_passkey(1, "key", "a", "c"), Outcome::AlreadyExists);
    assert_eq!(world.add_passkey(2, "key", "e", "f"), Outcome::AlreadyExists, "somebody else's");
    for number in 1..PASSKEYS_PER_ACCOUNT_MAX {
        assert_eq!(world.add_passkey(1, &format!("key{number}"), "a", &format!("b{number}")), Outcome::Done);
    }
    assert_eq!(world.add_passkey(1, "one more", "a", "z"), Outcome::LimitReached);
    assert_eq!(
        world.session(&format!("b{}", PASSKEYS_PER_ACCOUNT_MAX - 1)).unwrap().methods,
        [Method::Password, Method::HardwareKey]
    );
    let which = WhichFactor::Passkey { id: b"key".to_vec() };
    let not_hers =
        FactorCommand::Remove { account: account(2), generation: world.generation(2), which: which.clone() };
    assert_eq!(world.factor(not_hers), Outcome::NotFound);
    assert_eq!(by_passkey(&world.engine, b"key").unwrap(), Some(account(1)));
    let remove = |generation, which: &WhichFactor| FactorCommand::Remove {
        account: account(1),
        generation,
        which: which.clone(),
    };
    assert_eq!(world.factor(remove(world.generation(1), &which)), Outcome::Done);
    assert_eq!(world.factor(remove(world.generation(1), &which)), Outcome::NotFound);
    assert_eq!(world.add_passkey(2, "key", "e", "f"), Outcome::Done);
    assert_eq!(world.factor(FactorCommand::Reset { account: account(1) }), Outcome::Done);
    assert_eq!(by_passkey(&world.engine, b"key1").unwrap(), None);
    assert_eq!(by_passkey(&world.engine, b"key").unwrap(), Some(account(2)));
}

fn code_of(step: u64) -> Option<Proof> {
    Some(Proof::Totp { step })
}

fn backup_code(code: &str) -> Option<Proof> {
    Some(Proof::BackupCode { hash: SecretHash::of(code) })
}

/// Ada, with a session `a`, and an app whose code of step 10 was taken.
fn with_totp() -> World {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.begin(1, "a");
    assert_eq!(world.add_totp(1, "a", "b", 10), Outcome::Done);
    world
}

#[test]
fn case_101_and_102_a_step_is_taken_once_and_none_before_it() {
    let mut world = with_totp();
    assert_eq!(world.begin_with("c", code_of(10)), Outcome::Burnt, "it confirmed the app");
    assert_eq!(world.begin_with("c", code_of(12)), Outcome::Done);
    for step in [12, 11, 10, 0] {
        assert_eq!(world.begin_with("d", code_of(step)), Outcome::Burnt, "step {step}");
    }
    assert_eq!(world.begin_with("d", code_of(13)), Outcome::Done);
    assert_eq!(world.factors(1).totp.unwrap().last_step, 13);
}

#[test]
fn case_105_no_session_begins_with_a_password_alone_once_there_is_a_factor() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.begin(1, "a");
    world.begin(1, "other");
    // Decided before, applied after.
    let generation = world.generation(1);
    assert_eq!(world.add_totp(1, "a", "b", 10), Outcome::Done);
    assert_eq!(world.begin_as(1, "late", |sign_in| sign_in.generation = generation), Outcome::Stale);
    assert_eq!(world.begin_with("c", None), Outcome::Burnt);
    assert_eq!(world.open_sessions(1), [session_id("a")], "the other began with less");
    let renewed = world.session("b").unwrap();
    assert_eq!(renewed.methods, [Method::Password, Method::OneTimeCode]);
    assert_eq!(world.session("a"), None, "its secret is another");
}

#[test]
fn case_107_a_backup_code_is_taken_once_in_any_order_and_gone_with_new_ones() {
    let mut world = with_totp();
    assert_eq!(world.begin_with("c", backup_code("two")), Outcome::Done);
    assert_eq!(world.begin_with("d", backup_code("two")), Outcome::Burnt);
    assert_eq!(world.begin_with("d", backup_code("three")), Outcome::Burnt);
    let make = |generation| FactorCommand::MakeBackupCodes {
        account: account(1),
        generation,
        backup_codes: vec![SecretHash::of("three")],
    };
    assert_eq!(world.factor(make(0)), Outcome::Stale);
    assert_eq!(world.factor(make(world.generation(1))), Outcome::Done);
    assert_eq!(world.begin_with("d", backup_code("one")), Outcome::Burnt);
    assert_eq!(world.begin_with("d", backup_code("three")), Outcome::Done);
    assert!(world.factors(1).backup_codes.is_empty());
}

#[test]
fn a_factor_is_added_in_an_open_session_and_once() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.add(2, "eve@example.org");
    world.begin(1, "a");
    world.begin(2, "e");
    assert_eq!(world.add_totp(1, "e", "b", 1), Outcome::Stale, "somebody else's session");
    assert_eq!(world.add_totp(1, "a", "e", 1), Outcome::Stale, "a secret that is taken");
    assert_eq!(world.add_totp(9, "a", "b", 1), Outcome::NotFound);
    assert_eq!(world.add_totp(1, "a", "b", 1), Outcome::Done);
    assert_eq!(world.add_totp(1, "a", "c", 1), Outcome::AlreadyExists);
    assert_eq!(world.remove_totp(0), Outcome::Stale);
    assert_eq!(world.remove_totp(world.generation(1)), Outcome::Done);
    assert_eq!(world.remove_totp(world.generation(1)), Outcome::NotFound);
    assert_eq!(world.factors(1), Factors::default(), "no backup code outlives what it is for");
    let make =
        FactorCommand::MakeBackupCodes { account: account(1), generation: 2, backup_codes: Vec::new() };
    assert_eq!(world.factor(make), Outcome::NotFound);
    assert_eq!(world.begin_with("c", None), Outcome::Done);
    assert_eq!(world.begin_with("d", code_of(99)), Outcome::Burnt, "of an app that was removed");
}

#[test]
fn an_operator_takes_every_factor_and_session_away() {
    let mut world = with_totp();
    let reset = |number| FactorCommand::Reset { account: account(number) };
    assert_eq!(world.factor(reset(9)), Outcome::NotFound);
    assert_eq!(world.factor(reset(1)), Outcome::Done);
    assert_eq!(world.factor(reset(1)), Outcome::NotFound);
    assert!(world.open_sessions(1).is_empty());
    assert_eq!(world.begin_with("c", None), Outcome::Done);
    assert_eq!(world.add_totp(1, "c", "d", 20), Outcome::Done);
    let remove = PersonCommand::Remove { account: account(1), generation: world.generation(1) };
    assert_eq!(world.apply(&Command::Person(remove)), Outcome::Done);
    assert_eq!(world.factors(1), Factors::default());
}

#[test]
fn case_103_wrong_codes_lock_the_factor_and_a_right_one_forgets_them() {
    let mut world = with_totp();
    let failed = |world: &mut World, count| {
        let who = Who::factor(&account(1));
        let failed = TryCommand::Failed {
            who,
            tried: Tried::Nobody,
            count,
            lock_after: 10,
            lock_ms: 60_000,
            lock_ms_max: 200_000,
        };
        world.apply(&Command::Try(failed));
    };
    failed(&mut world, 9);
    assert_eq!(world.begin_with("c", code_of(11)), Outcome::Done);
    failed(&mut world, 10);
    assert_eq!(world.begin_with("d", code_of(12)), Outcome::Stale, "the right code too");
    world.at = world.at.plus_millis(60_000);
    assert_eq!(world.begin_with("d", code_of(12)), Outcome::Done);
}

#[test]
fn somebody_who_signs_in_again_in_the_same_browser_goes_on_in_their_session() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.begin(1, "a");
    world.at = world.at.plus_millis(500);
    let again = |sign_in: &mut SignIn| sign_in.replaces = Some(SecretHash::of("a"));
    assert_eq!(world.begin_as(1, "b", again), Outcome::Done);
    assert_eq!(world.session("a"), None, "the old secret is worth nothing");
    let session = world.session("b").unwrap();
    assert_eq!((session.id, session.signed_in_at), (session_id("a"), world.at));
    assert_eq!(world.open_sessions(1), [session_id("a")]);
}
