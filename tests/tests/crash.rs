//! A node that is killed: what it acknowledged is there when it starts again, and jobs go on.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{Chance, TestClient, TestNode, eventually, variable};

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

/// What was acknowledged.
#[derive(Debug)]
enum Acknowledged {
    Key { id: String, secret: String },
    Job(String),
}

/// Makes keys, and now and then a job, until the node is gone.
async fn write_on(client: TestClient, writer: u64, tell: UnboundedSender<Acknowledged>) {
    for number in 0_u64.. {
        let acknowledged = match number % 8 {
            7 => make_job(&client, &format!("/acme/crash-{writer}-{number}")).await.map(Acknowledged::Job),
            _ => make_key(&client).await,
        };
        let Some(acknowledged) = acknowledged else { return };
        // Nobody listens any more once the test has failed.
        let _ = tell.send(acknowledged);
    }
}

async fn make_key(client: &TestClient) -> Option<Acknowledged> {
    let body = json!({ "name": "durable", "scopes": ["docs:read"] });
    let made = client.try_answer(client.request(Method::POST, "/api/keys").json(&body)).await.ok()?;
    let made = made.expect(201).json();
    let text = |value: &Value| value.as_str().expect("a new key has an id and a secret").to_owned();
    Some(Acknowledged::Key { id: text(&made["key"]["id"]), secret: text(&made["secret"]) })
}

async fn make_job(client: &TestClient, library: &str) -> Option<String> {
    let upload = client.request(Method::POST, "/api/jobs/uploads");
    let upload =
        upload.header("content-type", "application/octet-stream").body(format!("# {library}\n\nA page.\n"));
    let hash = client.try_answer(upload).await.ok()?.expect(201).json()["hash"].clone();
    let body = json!({ "library": library, "version": "1", "upload": { "hash": hash, "name": "page.md" } });
    let job = client.try_answer(client.request(Method::POST, "/api/jobs").json(&body)).await.ok()?;
    Some(job.expect(201).json()["id"].as_str().expect("a job has an id").to_owned())
}

/// All of it is there. Keys are revoked then, because an account has few in force: that must last too.
async fn check_and_revoke(client: &TestClient, acknowledged: &[Acknowledged]) {
    for one in acknowledged {
        match one {
            Acknowledged::Key { secret, id } => {
                client.with_key(secret).get("/api/libraries").await.expect(200);
                client.delete(&format!("/api/keys/{id}")).await.expect(204);
            }
            Acknowledged::Job(id) => {
                client.get(&format!("/api/jobs/{id}")).await.expect(200);
            }
        }
    }
}

/// Rounds: `TWINMCP_CRASH_ROUNDS`, 10 unless set; `TWINMCP_SEED` repeats when the node is killed.
#[tokio::test]
async fn every_change_that_was_acknowledged_before_a_kill_is_there_after_it() {
    let mut node = TestNode::empty().await;
    let (mut chance, mut acknowledged) = (Chance::new(), Vec::new());
    let rounds = variable("TWINMCP_CRASH_ROUNDS").unwrap_or(10);
    for round in 0..rounds {
        let (tell, mut told) = unbounded_channel();
        let writers =
            (0..4).map(|writer| tokio::spawn(write_on(node.client(), round * 4 + writer, tell.clone())));
        let writers: Vec<_> = writers.collect();
        drop(tell);
        let mut new = Vec::new();
        for _ in 0..1 + chance.below(40) {
            new.push(told.recv().await.expect("keys are being made"));
        }
        node.kill().await;
        while let Some(one) = told.recv().await {
            new.push(one);
        }
        for writer in writers {
            writer.await.expect("every change that was answered was made");
        }
        node.restart().await;
        check_and_revoke(&node.client(), &new).await;
        acknowledged.extend(new);
    }
    node.restart().await;
    let client = node.client();
    for one in &acknowledged {
        match one {
            Acknowledged::Key { secret, .. } => {
                client.with_key(secret).get("/api/libraries").await.expect(401);
            }
            Acknowledged::Job(id) => {
                let job = client.ended_job(id).await;
                assert_eq!(job["state"], "done", "{job}");
                let library = job["library"].as_str().expect("a job names its library").to_owned();
                client.get(&format!("/api/libraries{library}")).await.expect(200);
            }
        }
    }
    println!("{rounds} kills, {} changes were acknowledged, none lost", acknowledged.len());
}
