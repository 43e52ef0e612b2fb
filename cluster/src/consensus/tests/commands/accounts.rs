//! Random changes of accounts, people, their sessions, second factors and identities elsewhere.

use proptest::prelude::*;
use twinmcp_storage::accounts::{
    Command, FactorCommand, Method, PersonAdded, PersonCommand, Proof, Renewal, SessionCommand, SignIn,
    Subject, TextCommand, TextsAllowed, Tried, TryCommand, UpstreamCommand, UpstreamSession, Which,
    WhichFactor, Who, Whose,
};
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::SessionId;

use super::{account, text};

pub(super) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => (account(), text()).prop_map(|(id, name)| Command::Create { id, name }),
        6 => person_command().prop_map(Command::Person),
        4 => session_command().prop_map(Command::Session),
        2 => factor_command().prop_map(Command::Factor),
        3 => upstream_command().prop_map(Command::Upstream),
        2 => text_command().prop_map(Command::Text),
        1 => (1..4_u32).prop_map(|count| Command::Try(TryCommand::Failed {
            who: Who::network("192.0.2.1"),
            tried: Tried::Nobody,
            count,
            lock_after: 5,
            lock_ms: 10,
            lock_ms_max: 100,
        })),
    ]
}

fn generation() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 2 => Just(1), 1 => Just(2)]
}

fn added() -> impl Strategy<Value = PersonAdded> {
    (0..3_u8, text(), any::<bool>(), any::<bool>()).prop_map(|(number, name, is_verified, is_operator)| {
        PersonAdded {
            account: format!("acct_{number:026}").parse().unwrap(),
            name,
            email: format!("{number}@example.org").parse().unwrap(),
            password: None,
            is_operator,
            is_verified,
        }
    })
}

fn person_command() -> impl Strategy<Value = PersonCommand> {
    prop_oneof![
        3 => added().prop_map(PersonCommand::Add),
        1 => (account(), proptest::option::of(any::<bool>()), proptest::option::of(any::<bool>())).prop_map(
            |(account, is_disabled, is_operator)| PersonCommand::Manage { account, is_disabled, is_operator }
        ),
        1 => (account(), generation())
            .prop_map(|(account, generation)| PersonCommand::Remove { account, generation }),
    ]
}

fn session() -> impl Strategy<Value = (SessionId, SecretHash)> {
    (0..4_u8).prop_map(|number| {
        (format!("ses_{number:026}").parse().unwrap(), SecretHash::of(&format!("session {number}")))
    })
}

fn subject() -> impl Strategy<Value = Subject> {
    (0..3_u8).prop_map(|number| Subject { issuer: "https://id.example".into(), subject: number.to_string() })
}

fn session_command() -> impl Strategy<Value = SessionCommand> {
    let upstream =
        proptest::option::of((subject(), proptest::option::of(0..2_u8)).prop_map(|(subject, session)| {
            UpstreamSession { subject, session: session.map(|number| format!("there {number}")) }
        }));
    let which = prop_oneof![
        session().prop_map(|(id, _)| Which::One(id)),
        session().prop_map(|(id, _)| Which::AllBut(id)),
        Just(Which::All),
    ];
    prop_oneof![
        4 => (account(), generation(), session(), upstream, sent_code()).prop_map(
            |(account, generation, (id, secret_hash), upstream, proof)| {
                SessionCommand::Begin(Box::new(SignIn {
                    account,
                    generation,
                    id,
                    secret_hash,
                    methods: vec![Method::Password],
                    idle_ms: 100,
                    life_ms: 400,
                    client: "x".into(),
                    address: "192.0.2.1".into(),
                    replaces: None,
                    who: Who::network("192.0.2.1"),
                    rehashed: None,
                    proof,
                    upstream,
                }))
            }
        ),
        1 => session().prop_map(|(_, secret_hash)| SessionCommand::Seen { secret_hash }),
        1 => (account(), which).prop_map(|(account, which)| SessionCommand::End { account, which }),
    ]
}

/// What was sent to a phone, if anything was.
fn sent_code() -> impl Strategy<Value = Option<Proof>> {
    proptest::option::weighted(
        0.3,
        (0..4_u8, 0..400_u64).prop_map(|(number, expires_at)| Proof::Sms {
            number: SecretHash::of(&format!("sent {number}")),
            expires_at: Timestamp::from_millis(expires_at),
        }),
    )
}

fn text_command() -> impl Strategy<Value = TextCommand> {
    let whose = || {
        prop_oneof![
            account().prop_map(|account| Whose::account(&account)),
            (0..2_u8).prop_map(|number| Whose::number([number; 32])),
            Just(Whose::network("192.0.2.1")),
        ]
    };
    let allowed = (whose(), 0..4_u32).prop_map(|(whose, texts_max)| TextsAllowed { whose, texts_max });
    prop_oneof![
        3 => (account(), proptest::collection::vec(allowed, 1..4)).prop_map(|(account, allowed)| {
            TextCommand::Send { account, allowed, window_ms: 50 }
        }),
        1 => proptest::collection::vec(whose(), 1..4).prop_map(|whose| TextCommand::NotSent { whose }),
    ]
}

fn factor_command() -> impl Strategy<Value = FactorCommand> {
    prop_oneof![
        2 => (account(), generation(), 1..4_u64, session()).prop_map(
            |(account, generation, step, (session, secret_hash))| FactorCommand::AddTotp {
                account,
                generation,
                sealed: vec![1],
                step,
                renewal: Renewal { session, secret_hash },
                backup_codes: vec![SecretHash::of("code")],
            }
        ),
        2 => (account(), generation(), session()).prop_map(
            |(account, generation, (session, secret_hash))| FactorCommand::AddSms {
                account,
                generation,
                sealed: vec![2],
                renewal: Renewal { session, secret_hash },
                backup_codes: vec![SecretHash::of("code")],
            }
        ),
        1 => (account(), generation(), prop_oneof![Just(WhichFactor::Totp), Just(WhichFactor::Sms)]).prop_map(
            |(account, generation, which)| FactorCommand::Remove { account, generation, which }
        ),
        1 => account().prop_map(|account| FactorCommand::Reset { account }),
    ]
}

fn upstream_command() -> impl Strategy<Value = UpstreamCommand> {
    prop_oneof![
        2 => (subject(), text(), account(), generation()).prop_map(|(subject, name, account, generation)| {
            UpstreamCommand::Link { subject, name, account, generation }
        }),
        1 => (subject(), text(), added())
            .prop_map(|(subject, name, added)| UpstreamCommand::Join { subject, name, added }),
        1 => (account(), subject())
            .prop_map(|(account, subject)| UpstreamCommand::Unlink { account, id: subject.id() }),
        1 => (0..6_u8, proptest::option::of(0..3_u8), proptest::option::of(0..2_u8)).prop_map(
            |(token, subject, session)| UpstreamCommand::LogOut {
                issuer: "https://id.example".into(),
                token: token.to_string(),
                subject: subject.map(|number| number.to_string()),
                session: session.map(|number| format!("there {number}")),
            }
        ),
    ]
}
