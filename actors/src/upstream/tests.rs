//! Connecting an identity on one node: what time does to it, which no test from outside can wait for.

use twinmcp_storage::clock::{SystemEntropy, Timestamp};
use twinmcp_storage::ids::SessionId;

use super::*;
use crate::accounts::{NewPerson, PersonMade};
use crate::tests::World;

/// Somebody with an account, who signed in then.
async fn person(world: &World, email: &str, signed_in_at: Timestamp) -> SignedIn {
    let password = Some("correct horse battery");
    let new = NewPerson { email, name: "", password, is_operator: false, send: false };
    let PersonMade::Person(made) = world.actors.accounts.add_person(new).await.unwrap() else {
        panic!("a person with a password is made at once")
    };
    SignedIn {
        session: SessionId::random(signed_in_at, &SystemEntropy).unwrap(),
        account: made.person.account,
        signed_in_at,
        methods: Vec::new(),
        lacks_factor: false,
        is_operator: false,
    }
}

/// An identity with Ada's address, and the cookie in which it waits for her.
fn offered(upstream: &Upstream) -> (Subject, String) {
    let subject = Subject { issuer: "https://id.example".to_owned(), subject: "ada-17".to_owned() };
    let arrived = Arrived {
        provider: "corp".to_owned(),
        subject: subject.clone(),
        name: "Ada at Corp".to_owned(),
        email: Some("ada@example.org".parse().unwrap()),
        session: None,
        return_to: "/libraries".to_owned(),
        expires_at: upstream.0.clock.now().plus_millis(TRIP_SECONDS * 1_000),
    };
    (subject, upstream.seal(&Trip::Arrived(arrived)).unwrap())
}

#[tokio::test]
async fn an_identity_is_connected_by_who_signed_in_as_late_as_a_change_of_factors_takes() {
    let world = World::new().await;
    let upstream = &world.actors.upstream;
    let now = upstream.0.clock.now();
    let fresh_ms = upstream.0.accounts.config().mfa.fresh_ms;
    let long_ago = Timestamp::from_millis(now.as_millis() - fresh_ms - 1_000);
    let mut person = person(&world, "ada@example.org", long_ago).await;
    let (subject, cookie) = offered(upstream);
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

#[tokio::test]
async fn an_identity_that_was_offered_to_who_has_its_address_is_connected_with_nobody_elses_account() {
    let world = World::new().await;
    let upstream = &world.actors.upstream;
    let now = upstream.0.clock.now();
    let (ada, bob) =
        (person(&world, "ada@example.org", now).await, person(&world, "bob@example.org", now).await);
    let (subject, cookie) = offered(upstream);
    let asked = upstream.waiting(Some(&cookie), &bob).unwrap_err();
    let refused = upstream.link(Some(&cookie), &bob).await.unwrap_err();
    for error in [asked, refused] {
        assert!(
            matches!(&error, UpstreamError::OtherAddress(email) if email.as_str() == "ada@example.org"),
            "{error:?}"
        );
    }
    assert!(upstream.0.accounts.identity(&subject).unwrap().is_none());
    upstream.link(Some(&cookie), &ada).await.unwrap();
    assert_eq!(upstream.0.accounts.identity(&subject).unwrap().unwrap().account, ada.account);
}
