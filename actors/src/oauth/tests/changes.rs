//! Clients that are changed by several at the same moment: nothing that one of them has done is lost.

use std::cell::Cell;

use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::oauth::client::{Authentication, Client};

use super::*;
use crate::accounts::Owner;

impl Server {
    /// Whether `secret` opens the client for machines called `id`.
    async fn opens(&self, id: &str, secret: &str) -> bool {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        self.token(&form).await.is_ok()
    }

    fn kept(&self, id: &str) -> Client {
        self.oauth.kept(id).unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_new_name_and_a_new_secret_of_one_moment_both_hold() {
    let server = Server::public().await;
    let account = &server.world.account.id;
    let (who, may) = (Owner::Account(account.clone()), [Scope::DocsRead]);
    let metadata =
        json!({ "client_name": "Tool", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let renamed = json!({ "client_name": "Renamed" });
    for is_replaced_first in [true, false] {
        let made = server.oauth.make_client(account, &metadata, &may).await.unwrap();
        let (id, first) = (made.client.id, made.secret.unwrap());
        // Both read the client before either is agreed on.
        let change = server.oauth.change_client(&who, &id, &renamed, &may);
        let replace = server.oauth.replace_secret(&who, &id, &may);
        let (changed, replaced) = if is_replaced_first {
            let (replaced, changed) = tokio::join!(replace, change);
            (changed, replaced)
        } else {
            tokio::join!(change, replace)
        };
        assert_eq!(changed.unwrap().unwrap().client.name, "Renamed");
        let second = replaced.unwrap().unwrap().secret.unwrap();
        assert_eq!(server.kept(&id).name, "Renamed");
        assert!(server.opens(&id, &second).await && !server.opens(&id, &first).await);
    }
}

#[tokio::test]
async fn a_client_that_changes_itself_brings_no_secret_back() {
    let server = Server::public().await;
    let metadata = json!({ "client_name": "Web", "redirect_uris": ["https://app.example/cb"] });
    for is_replaced_first in [true, false] {
        let made = server.oauth.register(&metadata).await.unwrap();
        let (id, token) = (made.client.id, made.registration_token.unwrap());
        let mut renamed = metadata.clone();
        renamed["client_id"] = json!(id);
        renamed["client_name"] = json!("Renamed");
        let change = server.oauth.change_registration(&id, &token, &renamed);
        let replace = server.oauth.replace_secret(&Owner::Operator, &id, Scope::ALL);
        let (changed, replaced) = if is_replaced_first {
            let (replaced, changed) = tokio::join!(replace, change);
            (changed, replaced)
        } else {
            tokio::join!(change, replace)
        };
        let changed = changed.unwrap();
        assert_eq!((&*changed.client.name, changed.registration_token), ("Renamed", Some(token)));
        assert_eq!(changed.client.created_at, made.client.created_at);
        let secret = replaced.unwrap().unwrap().secret.unwrap();
        let kept = server.kept(&id);
        assert_eq!(kept.name, "Renamed");
        assert_eq!(kept.authentication, Authentication::Secret(SecretHash::of(&secret)));
    }
}

#[tokio::test]
async fn a_change_that_comes_too_late_each_time_is_given_up_and_says_so() {
    let server = Server::public().await;
    let was = server.kept(&server.client);
    let renamed = Client { name: "Renamed".to_owned(), ..was.clone() };
    let changed = server.oauth.agree_on_change(|| Ok(Some((was.clone(), renamed.clone())))).await;
    assert_eq!(changed.unwrap().unwrap(), renamed);
    let asked = Cell::new(0);
    let late = || {
        asked.set(asked.get() + 1);
        Ok(Some((was.clone(), Client { name: "Late".to_owned(), ..was.clone() })))
    };
    assert!(matches!(server.oauth.agree_on_change(late).await, Err(OauthError::Changed)));
    assert_eq!(asked.get(), 3);
    assert_eq!(server.kept(&server.client), renamed);
    assert_eq!(server.oauth.agree_on_change(|| Ok(None)).await.unwrap(), None);
}
