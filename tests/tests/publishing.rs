//! A version is published whole: while it is made again, every question is answered from what was there before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{TestClient, TestNode};

/// Kiln as of `edition` among enough made-up pages that a job takes many questions' time.
fn edition(edition: &str) -> Vec<u8> {
    let mut files = docs::kiln(edition);
    files.extend(docs::made_up(150, 8));
    docs::tar(&files)
}

/// Asks until told to stop; which edition answered each time.
async fn ask_on(client: TestClient, stop: Arc<AtomicBool>) -> Vec<bool> {
    let mut new = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = client.context("/acme/kiln/1.0", QUESTIONS[0].text, &[]).await.expect(200).text;
        let (first, second) = (answer.contains("since first"), answer.contains("since second"));
        assert!(first != second, "an answer is from one edition alone: {answer}");
        new.push(second);
    }
    new
}

#[tokio::test]
async fn while_a_version_is_indexed_again_every_question_is_answered_from_one_edition_or_the_other() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", edition("first")).await;

    let stop = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..4).map(|_| tokio::spawn(ask_on(client.clone(), Arc::clone(&stop)))).collect();
    client.index("/acme/kiln", "1.0", "docs.tar", edition("second")).await;
    // The job is done, so from here on only the new edition may answer.
    let after = client.context("/acme/kiln/1.0", QUESTIONS[0].text, &[]).await.expect(200).text;
    stop.store(true, Ordering::Relaxed);
    assert!(after.contains("since second"), "{after}");

    for asked in asking {
        let new = asked.await.expect("every question was answered");
        assert!(new.len() > 3, "too few questions to see anything: {}", new.len());
        assert!(!new[0], "the first question came before the new edition");
        assert!(new.is_sorted(), "an old edition answered after a new one");
    }
}
