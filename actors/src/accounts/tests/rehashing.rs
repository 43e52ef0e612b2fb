//! A password that is kept with less than passwords are kept with today.

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use twinmcp_storage::accounts::{PasswordHash, Person, PersonCommand, person};

use super::*;

const EMAIL: &str = "ada@example.org";

fn kept(world: &World, account: &AccountId) -> Person {
    person(world.cluster.reader(), account).unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_100_who_signs_in_with_a_password_that_is_kept_weakly_has_it_kept_as_others_are() {
    let world = World::new().await;
    let account = world.add(EMAIL).await.person.account;
    let usual = "$argon2id$v=19$m=19456,t=2,p=1$";
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8_192, 1, 1, None).unwrap());
    let weak = PasswordHash::new(hasher.hash_password(PASSWORD.as_bytes()).unwrap().to_string());
    let set = PersonCommand::SetPassword {
        account: account.clone(),
        generation: kept(&world, &account).generation,
        password: weak.clone(),
        keep: None,
    };
    let set = Command::Accounts(accounts::Command::Person(set));
    assert_eq!(world.cluster.propose(set).await.unwrap().outcome, Outcome::Done);
    let before = kept(&world, &account);
    assert_eq!(before.password, Some(weak.clone()));

    assert!(world.sign_in(EMAIL, "wrong horse battery").await.is_err());
    assert_eq!(kept(&world, &account).password, Some(weak.clone()), "who does not know it changes nothing");
    let first = world.sign_in(EMAIL, PASSWORD).await.unwrap();
    let strong = kept(&world, &account);
    let hash = strong.password.clone().unwrap();
    assert!(hash != weak && hash.as_str().starts_with(usual), "{}", hash.as_str());
    // It is the same password: nothing ends, and no day of its change is told.
    assert_eq!(Person { password: before.password.clone(), ..strong }, before);

    let second = world.sign_in(EMAIL, PASSWORD).await.unwrap();
    assert_eq!(kept(&world, &account).password, Some(hash), "once is enough");
    assert!(world.signed_in(&first).is_some() && world.signed_in(&second).is_some());
}
