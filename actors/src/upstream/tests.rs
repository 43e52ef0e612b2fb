//! Connecting an identity on one node: what time does to it, which no test from outside can wait for.

use twinmcp_storage::clock::{SystemEntropy, Timestamp};
use twinmcp_storage::ids::SessionId;

use super::*;
use crate::accounts::{NewPerson, PersonMade};
use crate::tests::World;

#[tokio::test]
async fn an_identity_is_connected_by_who_signed_in_as_late_as_a_change_of_factors_takes() {
    let world = World::new().await;
    let upstream = &world.actors.upstream;
    let ada = NewPerson {
        email: "ada@example.org",
        name: "Ada",
        password: Some("correct horse battery"),
        is_operator: false,
        send: false,
    };
    let PersonMade::Person(ada) = world.actors.accounts.add_person(ada).await.unwrap() else {
        panic!("a person with a password is made at once")
    };
    let now = upstream.0.clock.now();
    let fresh_ms = upstream.0.accounts.config().mfa.fresh_ms;
    let mut person = SignedIn {
        session: SessionId::random(now, &SystemEntropy).unwrap(),
        account: ada.person.account,
        signed_in_at: Timestamp::from_millis(now.as_millis() - fresh_ms - 1_000),
        methods: Vec::new(),
        lacks_factor: false,
        is_operator: false,
    };
    let subject = Subject { issuer: "https://id.example".to_owned(), subject: "ada-17".to_owned() };
    let arrived = Arrived {
        provider: "corp".to_owned(),
        subject: subject.clone(),
        name: "Ada at Corp".to_owned(),
        email: None,
        session: None,
        return_to: "/libraries".to_owned(),
        expires_at: now.plus_millis(TRIP_SECONDS * 1_000),
    };
    let cookie = upstream.seal(&Trip::Arrived(arrived)).unwrap();
    let refused = upstream.link(Some(&cookie), &person).await.unwrap_err();
    assert!(
        matches!(refused, UpstreamError::Accounts(AccountsError::NotFresh { max_age_s: 600 })),
        "{refused:?}"
    );
    assert!(upstream.0.accounts.identity(&subject).unwrap().is_none());
    person.signed_in_at = now;
    assert_eq!(upstream.link(Some(&cookie), &person).await.unwrap(), "/libraries");
    assert!(upstream.0.accounts.identity(&subject).unwrap().is_some());
}
