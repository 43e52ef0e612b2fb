//! A node that is killed: what it acknowledged is there when it starts again, and jobs go on.

use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{TestNode, eventually};

#[tokio::test]
async fn a_job_goes_on_after_the_node_was_killed_and_everything_acknowledged_is_still_there() {
    let mut node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let (_, reader) = client.create_key(&["docs:read"]).await;
    let (revoked_id, revoked) = client.create_key(&["docs:read"]).await;
    client.delete(&format!("/api/keys/{revoked_id}")).await.expect(204);

    let running = client.start_job("/acme/big", "1", "docs.tar", docs::tar(&docs::made_up(1_500, 8))).await;
    let waiting = client.start_job("/acme/late", "1", "docs.zip", docs::tar(&docs::kiln("late"))).await;
    eventually("the job at work", async || {
        let job = client.get(&format!("/api/jobs/{running}")).await.expect(200).json();
        assert_ne!(job["state"], "done", "the job was over before the node could be killed");
        (job["progress"]["pages"].as_u64() > Some(0)).then_some(())
    })
    .await;
    node.restart().await;

    let client = node.client();
    let answer = client.with_key(&reader).context("/acme/kiln", QUESTIONS[0].text, &[]).await.expect(200);
    assert!(answer.text.contains(QUESTIONS[0].says), "{}", answer.text);
    client.with_key(&revoked).get("/api/libraries").await.expect(401);

    let job = client.ended_job(&running).await;
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(job["attempt"], 2, "{job}");
    client.context("/acme/big", "topic of the stream", &[]).await.expect(200);
    let job = client.ended_job(&waiting).await;
    assert_eq!(job["state"], "done", "{job}");
    client.context("/acme/late", QUESTIONS[0].text, &[]).await.expect(200);
}

#[tokio::test]
async fn every_change_that_was_acknowledged_before_a_kill_is_there_after_it() {
    let mut node = TestNode::empty().await;
    let mut acknowledged: Vec<String> = Vec::new();
    for _ in 0..3 {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (client, tell) = (node.client(), tell.clone());
                tokio::spawn(async move {
                    let body = serde_json::json!({ "name": "durable", "scopes": ["docs:read"] });
                    // Ends with the node.
                    while let Ok(answer) = client
                        .try_answer(client.request(reqwest::Method::POST, "/api/keys").json(&body))
                        .await
                    {
                        let made = answer.expect(201).json();
                        let _ =
                            tell.send(made["secret"].as_str().expect("a new key has a secret").to_owned());
                    }
                })
            })
            .collect();
        drop(tell);
        for _ in 0..8 {
            acknowledged.push(told.recv().await.expect("keys are being made"));
        }
        node.kill().await;
        while let Some(secret) = told.recv().await {
            acknowledged.push(secret);
        }
        for writer in writers {
            writer.await.expect("every key that was answered was made");
        }
        node.restart().await;
        for secret in &acknowledged {
            node.client().with_key(secret).get("/api/libraries").await.expect(200);
        }
    }
}
