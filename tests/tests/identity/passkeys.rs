//! Passkeys at one node: row 108 of the negative cases, with a device that lies as it is told.

use serde_json::{Value, json};
use twinmcp_tests::{Answer, NodeSetup, TestNode};

use super::app::signed_in;
use super::device::Device;
use super::{Browser, PASSWORD, person};

/// A node that has a name, as a service on the web has.
async fn named() -> TestNode {
    NodeSetup::default().at_one_port_named().with("accounts", "lock_after", 100).start().await
}

fn device(node: &TestNode) -> Device {
    Device::new(&node.url().replace("127.0.0.1", "localhost"), "localhost")
}

async fn add(browser: &mut Browser, device: &mut Device) -> Answer {
    let offer = browser.post("/api/auth/passkeys/offer", &json!({})).await.expect(200).json();
    let credential = device.create(&offer["options"]);
    let made = json!({ "ticket": offer["ticket"], "name": "laptop", "credential": credential });
    browser.post("/api/auth/passkeys", &made).await
}

async fn question(browser: &mut Browser, second_step: bool) -> Value {
    let asked = json!({ "second_step": second_step });
    browser.post("/api/auth/passkeys/question", &asked).await.expect(200).json()
}

async fn show(browser: &mut Browser, ticket: &Value, credential: &Value) -> Answer {
    let shown = json!({ "ticket": ticket, "credential": credential });
    browser.post("/api/auth/passkeys/answer", &shown).await
}

#[tokio::test]
async fn a_passkey_is_the_second_step_of_a_sign_in_or_the_only_one() {
    let node = named().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let mut device = device(&node);
    let added = add(&mut ada, &mut device).await.expect(200).json();
    assert_eq!(added["backup_codes"].as_array().expect("it is there").len(), 10);
    let listed = ada.get("/api/auth/mfa").await.expect(200).json();
    assert_eq!(listed["passkeys"][0]["name"], "laptop");
    assert!(ada.get("/mfa").await.expect(200).text.contains("laptop"));

    let mut browser = Browser::at(&node);
    let asked = browser.sign_in("ada@example.org", PASSWORD).await.expect(202).json();
    assert_eq!(asked["factors"], json!(["passkey", "backup_code"]));
    assert!(browser.get("/signin/factor").await.expect(200).text.contains("data-passkey=\"second-step\""));
    let asked = question(&mut browser, true).await;
    let began = show(&mut browser, &asked["ticket"], &device.get(&asked["options"])).await.expect(200).json();
    assert_eq!(began["session"]["methods"], json!(["pwd", "hwk", "mfa"]));

    let mut alone = Browser::at(&node);
    assert!(alone.get("/signin").await.expect(200).text.contains("data-passkey=\"sign-in\""));
    let asked = question(&mut alone, false).await;
    assert!(asked["options"]["allowCredentials"].as_array().is_none_or(Vec::is_empty), "it names nobody");
    let began = show(&mut alone, &asked["ticket"], &device.get(&asked["options"])).await.expect(200).json();
    assert_eq!(began["session"]["methods"], json!(["hwk", "mfa"]));
    assert_eq!(began["account"]["email"], "ada@example.org");

    // The one that is there is not added twice, and a device is removed by its id.
    assert_eq!(add(&mut ada, &mut device).await.expect(409).code(), "factor_exists");
    let id = listed["passkeys"][0]["id"].as_str().expect("it is there");
    let mut bob = signed_in(&node, "bob@example.org").await;
    let strange = bob.delete(&format!("/api/auth/passkeys/{id}")).await.expect(404);
    assert_eq!(strange.code(), "factor_not_found", "another's is as if it were not there");
    ada.delete(&format!("/api/auth/passkeys/{id}")).await.expect(204);
    assert_eq!(ada.delete(&format!("/api/auth/passkeys/{id}")).await.expect(404).code(), "factor_not_found");
    let asked = question(&mut alone, false).await;
    let gone = show(&mut alone, &asked["ticket"], &device.get(&asked["options"])).await;
    assert_eq!(gone.expect(403).code(), "wrong_passkey");
    Browser::at(&node).sign_in("ada@example.org", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn case_108_what_a_device_signs_is_taken_once_from_here_for_its_account() {
    let node = named().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let mut phone = device(&node);
    // Made at another place, or by nobody in particular.
    let mut stranger = Device::new("https://evil.example", "localhost");
    assert_eq!(add(&mut ada, &mut stranger).await.expect(403).code(), "wrong_passkey", "origin");
    let mut other = Device::new(&phone.origin, "evil.example");
    assert_eq!(add(&mut ada, &mut other).await.expect(403).code(), "wrong_passkey", "rpId");
    let mut unlocked = device(&node);
    unlocked.verifies = false;
    assert_eq!(add(&mut ada, &mut unlocked).await.expect(403).code(), "wrong_passkey", "not verified");
    add(&mut ada, &mut phone).await.expect(200);
    let mut eve = signed_in(&node, "eve@example.org").await;
    assert_eq!(add(&mut eve, &mut phone).await.expect(409).code(), "factor_exists", "somebody else's");
    let mut eves = device(&node);
    add(&mut eve, &mut eves).await.expect(200);
    // Eve's offer told it that it is a key of hers: it is Ada's again.
    phone = again(phone, &mut ada).await;

    for second_step in [false, true] {
        let mut browser = Browser::at(&node);
        if second_step {
            browser.sign_in("ada@example.org", PASSWORD).await.expect(202);
        }
        for lie in [
            "origin",
            "rpId",
            "not verified",
            "challenge",
            "signature",
            "authenticatorData",
            "key",
            "nothing",
        ] {
            let asked = question(&mut browser, second_step).await;
            let mut options = asked["options"].clone();
            let here = (phone.origin.clone(), phone.service.clone());
            match lie {
                "origin" => phone.origin = "https://evil.example".to_owned(),
                "rpId" => phone.service = "evil.example".to_owned(),
                "not verified" => phone.verifies = false,
                "challenge" => options = question(&mut browser, second_step).await["options"].clone(),
                _ => {}
            }
            let mut credential = match lie {
                "key" if second_step => eves.get(&options),
                _ => phone.get(&options),
            };
            (phone.origin, phone.service) = here;
            phone.verifies = true;
            match lie {
                // Of another answer to the same question, which counts one more.
                "signature" | "authenticatorData" => {
                    credential["response"][lie] = phone.get(&options)["response"][lie].clone();
                }
                "key" if !second_step => {
                    // Ada's key, said to be Eve's.
                    let handle = eves.get(&options)["response"]["userHandle"].clone();
                    credential["response"]["userHandle"] = handle;
                }
                "nothing" => credential = json!({}),
                _ => {}
            }
            let refused = show(&mut browser, &asked["ticket"], &credential).await;
            assert_eq!(refused.expect(403).code(), "wrong_passkey", "{lie}, second step: {second_step}");
            assert_eq!(browser.session(), None);
        }
    }

    // What was signed once, by a device that goes on counting, and by one that was copied.
    let mut browser = Browser::at(&node);
    let asked = question(&mut browser, false).await;
    let signed = phone.get(&asked["options"]);
    show(&mut browser, &asked["ticket"], &signed).await.expect(200);
    assert_eq!(
        show(&mut browser, &asked["ticket"], &signed).await.expect(403).code(),
        "wrong_passkey",
        "again"
    );
    let anew = phone.get(&asked["options"]);
    assert_eq!(
        show(&mut browser, &asked["ticket"], &anew).await.expect(403).code(),
        "wrong_passkey",
        "the same challenge"
    );
    let asked = question(&mut browser, false).await;
    phone.counter -= 3;
    let copied = phone.get(&asked["options"]);
    assert_eq!(
        show(&mut browser, &asked["ticket"], &copied).await.expect(403).code(),
        "wrong_passkey",
        "counter"
    );
    let other = show(&mut browser, &json!("x"), &copied).await;
    assert_eq!(other.expect(401).code(), "sign_in_expired");

    // The second step of another sign-in.
    let mut adas = Browser::at(&node);
    adas.sign_in("ada@example.org", PASSWORD).await.expect(202);
    let asked = question(&mut adas, true).await;
    phone.counter += 10;
    let signed = phone.get(&asked["options"]);
    let mut eves = Browser::at(&node);
    eves.sign_in("eve@example.org", PASSWORD).await.expect(202);
    assert_eq!(show(&mut eves, &asked["ticket"], &signed).await.expect(401).code(), "sign_in_expired");
    let mut nobody = Browser::at(&node);
    assert_eq!(show(&mut nobody, &asked["ticket"], &signed).await.expect(401).code(), "sign_in_expired");
    show(&mut adas, &asked["ticket"], &signed).await.expect(200);
}

/// The device as one of `browser`'s account again: an offer to somebody else had told it that it is a key of theirs.
async fn again(mut device: Device, browser: &mut Browser) -> Device {
    let offer = browser.post("/api/auth/passkeys/offer", &json!({})).await.expect(200).json();
    device.create(&offer["options"]);
    device
}

#[tokio::test]
async fn passkeys_are_offered_where_the_service_has_a_name_and_count_as_what_the_policy_asks() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let refused = ada.post("/api/auth/passkeys/offer", &json!({})).await;
    assert_eq!(refused.expect(409).code(), "passkeys_unavailable");
    assert!(!ada.get("/mfa").await.expect(200).text.contains("passkey"));
    assert!(!Browser::at(&node).get("/signin").await.expect(200).text.contains("passkey"));

    let setup = NodeSetup::default().at_one_port_named().with("mfa", "required", "everybody");
    let node = setup.start().await;
    person(&node.client(), "ada@example.org").await;
    let mut ada = Browser::at(&node);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    assert_eq!(ada.get("/api/auth/session").await.expect(403).code(), "second_factor_required");
    let mut device = device(&node);
    add(&mut ada, &mut device).await.expect(200);
    ada.get("/api/auth/session").await.expect(200);
    let id = ada.get("/api/auth/mfa").await.expect(200).json()["passkeys"][0]["id"].take();
    let path = format!("/api/auth/passkeys/{}", id.as_str().expect("it is there"));
    assert_eq!(ada.delete(&path).await.expect(409).code(), "factor_required", "it is the last");
    enrol_beside(&mut ada).await;
    ada.delete(&path).await.expect(204);
}

/// Adds an app to somebody who has backup codes already.
async fn enrol_beside(browser: &mut Browser) {
    let offer = browser.post("/api/auth/mfa/totp", &json!({})).await.expect(200).json();
    let app = super::authenticator::Authenticator::typed(offer["secret"].as_str().expect("it is there"));
    let added = super::authenticator::confirm(browser, &offer, &app.now()).await.expect(200).json();
    assert!(added["backup_codes"].is_null(), "those there are stay");
}
