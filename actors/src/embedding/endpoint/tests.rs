//! The client against a service on loopback.

use std::time::Duration;

use twinmcp_storage::clock::SystemClock;

use super::*;
use crate::tests::embedding_service::{Behaviour, DIMENSIONS, EmbeddingService, KEY, MODEL};

/// A client of `service` that never waits long.
pub(crate) fn config(service: &EmbeddingService) -> EndpointConfig {
    EndpointConfig {
        url: service.url().to_owned(),
        model: MODEL.to_owned(),
        dimensions: DIMENSIONS,
        key: EndpointKey::new(KEY),
        items_max: 4,
        tokens_max: 10_000,
        attempts_max: 3,
        retry_pause: Duration::from_millis(1),
        timeout: Duration::from_secs(20),
        query_timeout: Duration::from_secs(10),
        fusion_weight: 0.6,
    }
}

fn client(config: EndpointConfig) -> Result<Arc<Endpoint>, EndpointError> {
    Endpoint::new(config, Arc::new(SystemClock))
}

fn document(text: &str) -> DocumentText {
    DocumentText { heading_path: vec!["Guide".into()], text: text.to_owned() }
}

/// As the thread of an upgrade calls it.
async fn embed(
    endpoint: &Arc<Endpoint>,
    documents: Vec<DocumentText>,
) -> Result<Vec<Option<Vec<f32>>>, EmbedError> {
    let endpoint = Arc::clone(endpoint);
    tokio::task::spawn_blocking(move || endpoint.embed(&documents)).await.unwrap()
}

fn refuse(status: u16) -> Behaviour {
    Behaviour::Refuse(status, None)
}

fn refuse_for(status: u16, wait: &str) -> Behaviour {
    Behaviour::Refuse(status, Some(wait.to_owned()))
}

#[tokio::test]
async fn documents_get_the_vectors_of_the_service_in_their_order() {
    let service = EmbeddingService::start().await;
    let endpoint = client(config(&service)).unwrap();
    assert_eq!((endpoint.id(), endpoint.dimensions()), ("endpoint/test-embed/64", DIMENSIONS));
    let empty = DocumentText { heading_path: Vec::new(), text: " ".into() };
    let documents = vec![document("polish"), empty.clone(), document("store"), document("polish")];
    let vectors = embed(&endpoint, documents).await.unwrap();
    assert_eq!((vectors.len(), &vectors[1], &vectors[0]), (4, &None, &vectors[3]));
    assert_ne!(vectors[0], vectors[2]);
    assert_eq!(service.asked(), [["Guide\npolish", "Guide\nstore", "Guide\npolish"]]);
    let length: f32 = vectors[0].as_ref().unwrap().iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5);
    assert_eq!(embed(&endpoint, vec![empty]).await.unwrap(), [None]);
    assert_eq!(service.asked().len(), 1, "nothing is asked about nothing");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_told() {
    let service = EmbeddingService::start().await;
    let endpoint = client(config(&service)).unwrap();
    let long_ago = "Wed, 21 Oct 2015 07:28:00 GMT";
    let far_off = "Fri, 21 Oct 2089 07:28:00 GMT";
    for (script, expected, requests) in [
        (vec![refuse_for(429, "0"), refuse(503)], Ok(()), 3),
        (vec![refuse_for(429, long_ago)], Ok(()), 2),
        (vec![Behaviour::HangUp], Ok(()), 2),
        (vec![refuse(500); 3], Err("answered 500"), 3),
        (vec![refuse_for(429, "3600")], Err("answered 429"), 1),
        (vec![refuse_for(429, far_off)], Err("answered 429"), 1),
        (vec![refuse(401)], Err("answered 401 Unauthorized: check its key"), 1),
        (vec![refuse(404)], Err("answered 404 Not Found: check `embeddings.url` and `embeddings.model`"), 1),
        (vec![refuse(307)], Err("redirects are not followed"), 1),
        (vec![Behaviour::Dimensions(3)], Err("3 dimensions, `embeddings.dimensions` says 64"), 1),
        (vec![Behaviour::Short], Err("0 vectors for 1 texts"), 1),
        (vec![Behaviour::Says("<html>busy</html>")], Err("cannot be read"), 1),
        (vec![Behaviour::Says(r#"{"data":[{"embedding":[NaN"#)], Err("cannot be read"), 1),
        (vec![Behaviour::Says("")], Err("cannot be read"), 1),
        (vec![Behaviour::Large(1 << 20)], Err("has more than"), 1),
    ] {
        service.does(&script, Behaviour::Well);
        let before = service.requests().len();
        let made = embed(&endpoint, vec![document("polish")]).await;
        match expected {
            Ok(()) => assert!(made.is_ok(), "{script:?}: {made:?}"),
            Err(reason) => {
                let error = made.unwrap_err();
                assert!(error.reason.contains(reason) && !error.reason.contains(KEY), "{script:?}: {error}");
                assert!(error.rest.is_some(), "{script:?} meets every text");
            }
        }
        assert_eq!(service.requests().len() - before, requests, "{script:?}");
    }
    service.does(&[refuse_for(429, "3600")], Behaviour::Well);
    let error = embed(&endpoint, vec![document("polish")]).await.unwrap_err();
    assert_eq!(error.rest, Some(Duration::from_secs(3_600)), "the service says for how long");
}

#[tokio::test]
async fn a_service_that_takes_less_at_once_gets_less() {
    let service = EmbeddingService::start().await;
    let endpoint = client(config(&service)).unwrap();
    let long = "é".repeat(2_000);
    let documents = ["polish", "store", &long, "clean"].map(document).to_vec();
    service.does(&[], Behaviour::AtMost(2, 1_000));
    let vectors = embed(&endpoint, documents).await.unwrap();
    assert!(vectors.iter().all(Option::is_some));
    assert!(service.requests().len() < 16, "{}", service.requests().len());

    service.does(&[], Behaviour::AtMost(2, 0));
    let error = embed(&endpoint, vec![document("polish"), document(&long)]).await.unwrap_err();
    assert!(error.reason.contains("answered 400") && error.rest.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_up_with_the_key_to_raise() {
    let service = EmbeddingService::start().await;
    let quick = Duration::from_millis(50);
    let endpoint = client(EndpointConfig { timeout: quick, attempts_max: 2, ..config(&service) }).unwrap();
    service.does(&[], Behaviour::Silent);
    let error = embed(&endpoint, vec![document("polish")]).await.unwrap_err();
    assert!(error.reason.contains("within 50 ms: raise `embeddings.timeout_ms`"), "{error}");
    assert_eq!(service.requests().len(), 2);
}

#[tokio::test]
async fn without_a_key_none_is_sent_and_the_refusal_is_told() {
    let service = EmbeddingService::start().await;
    let endpoint = client(EndpointConfig { key: None, ..config(&service) }).unwrap();
    let error = embed(&endpoint, vec![document("polish")]).await.unwrap_err();
    assert!(error.reason.contains("answered 401"), "{error}");
}

#[tokio::test]
async fn a_question_waits_no_longer_than_its_deadline_and_leaves_a_failing_service_alone() {
    let service = EmbeddingService::start().await;
    let config = EndpointConfig { query_timeout: Duration::from_millis(50), ..config(&service) };
    let endpoint = client(config).unwrap();
    service.does(&[], Behaviour::Silent);
    assert_eq!(endpoint.query("how do I polish").await, None);
    let trouble = endpoint.health().trouble.unwrap();
    assert!(trouble.contains("did not answer a question within 50 ms"), "{trouble}");
    service.does(&[], Behaviour::Well);
    assert_eq!(endpoint.query("another question").await, None, "it is resting");
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn a_question_is_embedded_once_and_remembered() {
    let service = EmbeddingService::start().await;
    let endpoint = client(config(&service)).unwrap();
    let first = endpoint.query("how do I polish").await.unwrap();
    assert_eq!(endpoint.query(" how do I polish ").await.unwrap(), first);
    assert_eq!((service.requests().len(), endpoint.health().trouble), (1, None));
}

#[tokio::test]
async fn what_a_service_says_of_a_question_is_not_shown() {
    let service = EmbeddingService::start().await;
    let endpoint = client(config(&service)).unwrap();
    service.does(&[], Behaviour::Refuse(422, None));
    assert_eq!(endpoint.query("how do I polish").await, None);
    let trouble = endpoint.health().trouble.unwrap();
    assert_eq!(trouble, "the embedding endpoint answered 422 Unprocessable Entity");
}

#[tokio::test]
async fn a_bad_url_is_refused_and_no_secret_is_shown() {
    let service = EmbeddingService::start().await;
    for url in ["ftp://example.com/v1", "not a url", "http://user:secret@127.0.0.1/v1"] {
        let error = client(EndpointConfig { url: url.into(), ..config(&service) }).err();
        let error = crate::upgrade::sentence(&error.expect("the URL is refused"));
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(!format!("{:?}", config(&service)).contains(KEY));
    assert!(EndpointKey::new(" \n").is_none() && EndpointKey::new("a b").is_none());
}

#[tokio::test]
async fn only_the_host_that_the_operator_named_may_be_private() {
    let service = EmbeddingService::start().await;
    let endpoint = client(config(&service)).unwrap();
    let guard = endpoint.outbound.guard();
    assert!(guard.addresses("127.0.0.1").await.is_ok());
    for other in ["127.0.0.2", "10.0.0.1", "169.254.169.254", "[::1]"] {
        assert!(guard.addresses(other).await.is_err(), "{other}");
    }
}

#[test]
fn a_long_text_is_cut_in_whole_characters() {
    let text = "é".repeat(TEXT_BYTES_MAX);
    assert_eq!(cut(&text, TEXT_BYTES_MAX).len(), TEXT_BYTES_MAX);
    assert_eq!(cut(&text, TEXT_BYTES_MAX + 1).len(), TEXT_BYTES_MAX);
    assert_eq!(cut("short", TEXT_BYTES_MAX), "short");
}
