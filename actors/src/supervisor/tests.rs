use std::sync::atomic::{AtomicUsize, Ordering};

use ractor::RpcReplyPort;

use super::*;
use crate::slot::{REPLY_DEADLINE, Unanswered, answer};

/// Counts what it was told, and panics when told to.
struct Fragile;

enum Told {
    Count(RpcReplyPort<usize>),
    Panic(RpcReplyPort<usize>),
}

impl Actor for Fragile {
    type Msg = Told;
    type State = usize;
    type Arguments = usize;

    async fn pre_start(&self, _: ActorRef<Told>, start: usize) -> Result<usize, ActorProcessingErr> {
        Ok(start)
    }

    async fn handle(
        &self,
        _: ActorRef<Told>,
        told: Told,
        count: &mut usize,
    ) -> Result<(), ActorProcessingErr> {
        *count += 1;
        match told {
            Told::Count(reply) => answer(reply, *count),
            Told::Panic(_reply) => panic!("told to"),
        }
        Ok(())
    }
}

fn quick() -> SupervisionConfig {
    SupervisionConfig {
        restarts_max: 3,
        window: Duration::from_millis(300),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(40),
    }
}

async fn supervised(name: &str) -> (Supervisor, Slot<Told>, Arc<AtomicUsize>) {
    let starts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&starts);
    let (child, slot) = Child::new("fragile", name, move || {
        counter.fetch_add(1, Ordering::SeqCst);
        (Fragile, 0)
    });
    let supervisor = Supervisor::start(format!("{name}/supervisor"), vec![child], quick()).await.unwrap();
    (supervisor, slot, starts)
}

fn state_of(supervisor: &Supervisor) -> ActorState {
    supervisor.health()[0].state
}

async fn eventually(supervisor: &Supervisor, wanted: ActorState) {
    let reached = async {
        while state_of(supervisor) != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the state is reached");
}

#[tokio::test]
async fn an_actor_that_panics_is_started_again_and_its_caller_gets_an_error_at_once() {
    let (supervisor, slot, starts) = supervised("panics-once").await;
    assert_eq!(slot.call(REPLY_DEADLINE, Told::Count).await, Ok(1));
    assert_eq!(slot.call(REPLY_DEADLINE, Told::Panic).await, Err(Unanswered::Interrupted));
    // The next caller waits for the new actor, which starts from the beginning.
    assert_eq!(slot.call(REPLY_DEADLINE, Told::Count).await, Ok(1));
    assert_eq!(starts.load(Ordering::SeqCst), 2);
    eventually(&supervisor, ActorState::Running).await;
    assert_eq!(supervisor.health()[0].restarts, 1);
}

#[tokio::test]
async fn a_crash_loop_makes_the_actor_failed_until_it_lives_for_a_whole_window() {
    let (supervisor, slot, _) = supervised("crash-loop").await;
    for _ in 0..4 {
        let _ = slot.call(REPLY_DEADLINE, Told::Panic).await;
    }
    eventually(&supervisor, ActorState::Failed).await;
    assert_eq!(slot.call(REPLY_DEADLINE, Told::Count).await, Ok(1));
    assert_eq!(state_of(&supervisor), ActorState::Failed);
    eventually(&supervisor, ActorState::Running).await;
}

#[tokio::test]
async fn a_call_to_an_actor_that_stays_away_ends_at_its_deadline() {
    let (writer, slot) = Slot::<Told>::new();
    let answered = slot.call(Duration::from_millis(10), Told::Count).await;
    assert_eq!(answered, Err(Unanswered::Deadline));
    drop(writer);
    assert_eq!(slot.call(REPLY_DEADLINE, Told::Count).await, Err(Unanswered::Interrupted));
}

#[tokio::test]
async fn a_stopped_supervisor_takes_its_actors_with_it_and_starts_none_again() {
    let (supervisor, slot, starts) = supervised("stopped").await;
    supervisor.stop(Duration::from_secs(10)).await;
    assert!(slot.call(Duration::from_millis(50), Told::Count).await.is_err());
    assert_eq!(starts.load(Ordering::SeqCst), 1);
}
