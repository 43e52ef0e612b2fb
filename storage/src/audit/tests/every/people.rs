//! People: invitations, passwords, sessions, second factors, identities at providers.

use super::*;
use crate::accounts::{
    FactorCommand, Proof, Renewal, Subject as Elsewhere, TextCommand, TextsAllowed, UpstreamCommand,
    UpstreamSession, Which, WhichFactor, Whose,
};
use crate::oauth::client;

pub(super) const STORIES: &[Story] =
    &[invitations, people, sessions, wrong_passwords, second_factors, identities];

fn invitations(log: &mut Log) {
    let make = |secret: &str, purpose: Purpose| {
        let secret_hash = SecretHash::of(secret);
        Change::Accounts(accounts::Command::Link(LinkCommand::Make { secret_hash, purpose, life_ms: 1_000 }))
    };
    let open = |secret: &str, number: u8| {
        let (secret_hash, account) = (SecretHash::of(secret), account(number));
        let (name, password) = ("Ada".into(), Some(password()));
        Change::Accounts(accounts::Command::Link(LinkCommand::Use { secret_hash, account, name, password }))
    };
    let sign_up =
        |number, is_operator| Purpose::SignUp { name: "Ada".into(), email: email(number), is_operator };
    let (nobody, who) = (Actor::Nobody, |number| Who::email(&email(number)).to_string());
    let invited = format!("account.invited by nobody: name {}; email=p***@example.org", who(1));
    log.tells(&nobody, make("one", sign_up(1, false)), &[&invited]);
    let invited =
        format!("account.invited by person acct_9: name {}; email=p***@example.org; operator=true", who(2));
    log.tells(&person(OPERATOR), make("two", sign_up(2, true)), &[&invited]);
    log.refuses(&nobody, make("two", sign_up(3, true)), Outcome::AlreadyExists);
    log.tells(&nobody, open("one", 1), &["account.made by nobody: account acct_1"]);
    let made = ["account.made by nobody: account acct_2", "operator.made by nobody: account acct_2"];
    log.tells(&nobody, open("two", 2), &made);
    log.refuses(&nobody, open("two", 3), Outcome::NotFound);

    log.begun(1, 1);
    let reset = |number| Purpose::Reset { account: account(number) };
    log.tells(&nobody, make("reset", reset(1)), &["password.reset_requested by nobody: account acct_1"]);
    log.refuses(&nobody, make("none", reset(7)), Outcome::NotFound);
    let told =
        ["password.reset by nobody: account acct_1", "session.ended by nobody: session ses_1 of acct_1"];
    log.tells(&nobody, open("reset", 7), &told);
    let change = |number| Purpose::Email { account: account(1), email: email(number) };
    let asked = "email.change_requested by person acct_1: account acct_1; email=p***@example.org";
    log.tells(&person(1), make("taken", change(2)), &[asked]);
    log.refuses(&nobody, open("taken", 7), Outcome::AlreadyExists);
    log.tells(&person(1), make("free", change(4)), &[asked]);
    log.tells(&nobody, open("free", 7), &["email.changed by nobody: account acct_1"]);
}

fn people(log: &mut Log) {
    let (operator, node) = (person(OPERATOR), Actor::Node(3));
    let create = || Change::Accounts(accounts::Command::Create { id: account(7), name: "machine".into() });
    log.tells(&operator, create(), &["account.made by person acct_9: account acct_7"]);
    log.refuses(&operator, create(), Outcome::AlreadyExists);
    let made = ["account.made by node 3: account acct_1", "operator.made by node 3: account acct_1"];
    log.tells(&node, add(1, true), &made);
    log.tells(&operator, add(2, false), &["account.made by person acct_9: account acct_2"]);

    let manage = |is_disabled, is_operator| {
        of_person(PersonCommand::Manage { account: account(2), is_disabled, is_operator })
    };
    log.begun(2, 1);
    let disabled = [
        "account.disabled by person acct_9: account acct_2",
        "session.ended by person acct_9: session ses_1 of acct_2",
    ];
    log.tells(&operator, manage(Some(true), None), &disabled);
    log.tells(&operator, manage(Some(true), Some(false)), &[]);
    log.tells(&operator, manage(Some(false), None), &["account.enabled by person acct_9: account acct_2"]);
    log.tells(&operator, manage(None, Some(true)), &["operator.made by person acct_9: account acct_2"]);
    log.tells(&operator, manage(None, Some(false)), &["operator.unmade by person acct_9: account acct_2"]);

    [2, 3].into_iter().for_each(|session| log.begun(2, session));
    let set = |generation| {
        let (account, password, keep) = (account(2), password(), Some(session_id(2)));
        of_person(PersonCommand::SetPassword { account, generation, password, keep })
    };
    let changed = [
        "password.changed by person acct_2: account acct_2",
        "session.ended by person acct_2: session ses_3 of acct_2",
    ];
    log.tells(&person(2), set(log.generation(2)), &changed);
    log.refuses(&person(2), set(0), Outcome::Stale);

    let theirs = oauth::tests::client("theirs", account(2));
    log.given(&Change::Oauth(oauth::Command::Client(client::Command::Create(theirs))));
    let remove = |generation| of_person(PersonCommand::Remove { account: account(2), generation });
    let deleted = [
        "session.ended by person acct_2: session ses_2 of acct_2",
        "client.removed by person acct_2: client theirs of acct_2; name=x",
        "account.deleted by person acct_2: account acct_2",
    ];
    log.refuses(&person(2), remove(0), Outcome::Stale);
    log.tells(&person(2), remove(log.generation(2)), &deleted);
}

fn sessions(log: &mut Log) {
    log.person(1);
    let begun = "session.begun by person acct_1: session ses_1 of acct_1; methods=pwd";
    log.tells(&Actor::Nobody, log.begin(1, 1, |_| {}), &[begun]);
    log.refuses(&Actor::Nobody, log.begin(1, 2, |sign_in| sign_in.generation = 7), Outcome::Stale);
    [2, 3].into_iter().for_each(|session| log.begun(1, session));
    let end = |which| of_session(SessionCommand::End { account: account(1), which });
    let one = "session.ended by person acct_1: session ses_1 of acct_1";
    log.tells(&person(1), end(Which::One(session_id(1))), &[one]);
    log.tells(&person(1), end(Which::All), &["session.ended x2 by person acct_1: account acct_1"]);
    log.refuses(&person(1), end(Which::All), Outcome::NotFound);
}

fn wrong_passwords(log: &mut Log) {
    let failed = |who, tried, lock_after| {
        let (count, lock_ms, lock_ms_max) = (2, 60_000, 60_000);
        let failed = TryCommand::Failed { who, tried, count, lock_after, lock_ms, lock_ms_max };
        Change::Accounts(accounts::Command::Try(failed))
    };
    let (who, tried) = (Who::email(&email(1)), || Tried::Account(account(1)));
    let factor = "second_factor.failed refused x2 by nobody: account acct_1";
    log.tells(&Actor::Nobody, failed(Who::factor(&account(1)), tried(), 100), &[factor]);
    let mut tells = |who, tried, told: &str| {
        let failed_told = format!("sign_in.failed refused x2 by nobody: {told}");
        log.tells(&Actor::Nobody, failed(who, tried, 100), &[&failed_told]);
    };
    tells(who, tried(), "account acct_1");
    tells(who, Tried::Nobody, &format!("name {who}"));
    tells(Who::network("192.0.2.1"), Tried::Network("192.0.2.1".into()), "network 192.0.2.1");
    let locked = "second_factor.locked refused by nobody: account acct_1; seconds=60";
    log.tells(&Actor::Nobody, failed(Who::factor(&account(1)), tried(), 2), &[factor, locked]);
    let failed_told = format!("sign_in.failed refused x2 by nobody: name {who}");
    let locked = format!("sign_in.locked refused by nobody: name {who}; seconds=60");
    log.tells(&Actor::Nobody, failed(who, Tried::Nobody, 2), &[&failed_told, &locked]);
}

fn second_factors(log: &mut Log) {
    log.person(1);
    [1, 2].into_iter().for_each(|session| log.begun(1, session));
    let factor = |command| Change::Accounts(accounts::Command::Factor(command));
    let renewal =
        |session, secret: &str| Renewal { session: session_id(session), secret_hash: SecretHash::of(secret) };
    let codes = || vec![SecretHash::of("on paper")];
    let totp = |session, generation| {
        let (sealed, step, renewal) = (vec![1], 1, renewal(session, "a"));
        let (account, backup_codes) = (account(1), codes());
        factor(FactorCommand::AddTotp { account, generation, sealed, step, renewal, backup_codes })
    };
    let me = person(1);
    let first = [
        "second_factor.added by person acct_1: account acct_1; factor=totp",
        "session.ended by person acct_1: session ses_2 of acct_1",
    ];
    log.refuses(&me, totp(7, log.generation(1)), Outcome::Stale);
    log.tells(&me, totp(1, log.generation(1)), &first);
    log.refuses(&me, totp(1, log.generation(1)), Outcome::AlreadyExists);
    let passkey = FactorCommand::AddPasskey {
        account: account(1),
        generation: log.generation(1),
        id: vec![1],
        name: "laptop".into(),
        credential: vec![1],
        counter: 0,
        renewal: renewal(1, "b"),
        backup_codes: Vec::new(),
    };
    let told = "second_factor.added by person acct_1: account acct_1; factor=passkey; name=laptop";
    log.tells(&me, factor(passkey), &[told]);
    let sms = FactorCommand::AddSms {
        account: account(1),
        generation: log.generation(1),
        sealed: vec![1],
        renewal: renewal(1, "c"),
        backup_codes: Vec::new(),
    };
    log.tells(&me, factor(sms), &["second_factor.added by person acct_1: account acct_1; factor=sms"]);
    let (account_of, generation) = (account(1), log.generation(1));
    let make = FactorCommand::MakeBackupCodes { account: account_of, generation, backup_codes: codes() };
    log.tells(&me, factor(make), &["backup_code.made by person acct_1: account acct_1"]);

    let whose = Whose::account(&account(1));
    let text = |command| Change::Accounts(accounts::Command::Text(command));
    let send = |texts_max| {
        let allowed = vec![TextsAllowed { whose, texts_max }];
        text(TextCommand::Send { account: account(1), allowed, window_ms: 1_000 })
    };
    log.tells(&Actor::Nobody, send(1), &["second_factor.code_sent by nobody: account acct_1"]);
    log.refuses(&Actor::Nobody, send(1), Outcome::LimitReached);
    log.tells(&Actor::Nobody, text(TextCommand::NotSent { whose: vec![whose] }), &[]);

    let by_code = |log: &Log, session, code: &str| {
        let proof = Some(Proof::BackupCode { hash: SecretHash::of(code) });
        log.begin(1, session, |sign_in| sign_in.proof = proof)
    };
    log.refuses(&Actor::Nobody, by_code(log, 3, "guessed"), Outcome::Burnt);
    log.refuses(&Actor::Nobody, log.begin(1, 3, |_| {}), Outcome::Burnt);
    let used = [
        "backup_code.used by person acct_1: account acct_1",
        "session.begun by person acct_1: session ses_3 of acct_1; methods=pwd",
    ];
    log.tells(&Actor::Nobody, by_code(log, 3, "on paper"), &used);
    log.refuses(&Actor::Nobody, by_code(log, 4, "on paper"), Outcome::Burnt);

    let passkey = WhichFactor::Passkey { id: vec![1] };
    for (which, name) in [(passkey, "passkey"), (WhichFactor::Sms, "sms")] {
        let remove = || FactorCommand::Remove { account: account(1), generation: 0, which: which.clone() };
        log.refuses(&me, factor(remove()), Outcome::Stale);
        let (account, generation) = (account(1), log.generation(1));
        let told = format!("second_factor.removed by person acct_1: account acct_1; factor={name}");
        log.tells(&me, factor(FactorCommand::Remove { account, generation, which }), &[&told]);
    }
    let reset = [
        "session.ended x2 by person acct_9: account acct_1",
        "second_factor.reset by person acct_9: account acct_1",
    ];
    let command = || factor(FactorCommand::Reset { account: account(1) });
    log.tells(&person(OPERATOR), command(), &reset);
    log.refuses(&person(OPERATOR), command(), Outcome::NotFound);
}

fn identities(log: &mut Log) {
    log.person(1);
    let upstream = |command| Change::Accounts(accounts::Command::Upstream(command));
    let subject = |name: &str| Elsewhere { issuer: "https://id.example".into(), subject: name.into() };
    let told = |what: &str, name: &str, more: &str| format!("{what}; identity={}{more}", subject(name).id());
    let link = |account| {
        let (subject, name, generation) = (subject("ada"), "ada".into(), 0);
        upstream(UpstreamCommand::Link { subject, name, account, generation })
    };
    let provider = "; provider=https://id.example";
    let linked = told("identity.linked by person acct_1: account acct_1", "ada", provider);
    log.tells(&person(1), link(account(1)), &[&linked]);
    log.refuses(&person(1), link(account(1)), Outcome::AlreadyExists);
    let unlink = |account, name: &str| upstream(UpstreamCommand::Unlink { account, id: subject(name).id() });
    let unlinked = told("identity.unlinked by person acct_1: account acct_1", "ada", "");
    log.tells(&person(1), unlink(account(1), "ada"), &[&unlinked]);

    let added = PersonAdded { password: None, ..added(2, false) };
    let join = UpstreamCommand::Join { subject: subject("bob"), name: "bob".into(), added };
    let joined = told("identity.linked by nobody: account acct_2", "bob", provider);
    log.tells(&Actor::Nobody, upstream(join), &["account.made by nobody: account acct_2", &joined]);
    log.refuses(&person(2), unlink(account(2), "bob"), Outcome::Stale);
    let there = UpstreamSession { subject: subject("bob"), session: Some("there".into()) };
    let begin = log.begin(2, 1, |sign_in| {
        (sign_in.methods, sign_in.upstream) = (vec![Method::Upstream], Some(there));
    });
    let begun = "session.begun by person acct_2: session ses_1 of acct_2; methods=fed";
    log.tells(&Actor::Nobody, begin, &[begun]);
    let log_out = || {
        let (issuer, token) = ("https://id.example".into(), "token".into());
        upstream(UpstreamCommand::LogOut { issuer, token, subject: Some("bob".into()), session: None })
    };
    log.tells(&Actor::Nobody, log_out(), &["session.ended by nobody: session ses_1 of acct_2"]);
    log.refuses(&Actor::Nobody, log_out(), Outcome::AlreadyExists);
}
