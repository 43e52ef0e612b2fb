//! What a dispatcher promises whoever sends jobs, and whoever follows them.

use twinmcp_storage::clock::{Clock, SystemClock, SystemEntropy};
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::jobs::JobState;

use super::*;
use crate::Owner;
use crate::accounts::{NewPerson, PersonMade};
use crate::tests::World;

const PAGE: (&str, &str) = ("a.md", "# Widget\n\nPolish the widget with a soft dry cloth until it shines.");

/// A job of this node that was begun so often, and never said how it ended.
async fn begun(world: &World, source: Source, begun: u32) -> JobId {
    let node = world.cluster.status().node_id.0;
    let id = JobId::random(SystemClock.now(), &SystemEntropy).unwrap();
    let submission = world.submission("/acme/widget", "1.0", source);
    let mut commands = vec![
        jobs::Command::Submit {
            id: id.clone(),
            account: submission.account,
            library: submission.library,
            version: submission.version,
            source: submission.source,
            base_url: None,
        },
        jobs::Command::Claim { id: id.clone(), node },
    ];
    commands.extend((1..=begun).map(|attempt| jobs::Command::Start { id: id.clone(), attempt }));
    for command in commands {
        let applied = world.cluster.propose(Command::Jobs(command)).await.unwrap();
        assert_eq!(applied.outcome, Outcome::Done);
    }
    id
}

async fn ended(world: &World, id: &JobId) -> Job {
    let job = || jobs::get(world.cluster.reader(), id).unwrap().unwrap();
    world.until("the job ends", || job().state.is_ended()).await;
    job()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_its_node_is_given_up_when_it_is_taken_up_again_and_no_other() {
    let world = World::new().await;
    let poison = begun(&world, world.source("docs", &[PAGE]), STARTS_MAX).await;
    let unlucky = begun(&world, world.source("more", &[PAGE]), STARTS_MAX - 1).await;
    let world = world.crash_and_restart().await;
    let job = ended(&world, &poison).await;
    let JobState::Failed { message } = &job.state else { panic!("{:?}", job.state) };
    assert!(message.starts_with("gave up after it was begun 20 times"), "{message}");
    assert_eq!(job.attempt, STARTS_MAX, "it is not begun again");
    let job = ended(&world, &unlucky).await;
    assert!(!matches!(job.state, JobState::Failed { .. }), "{:?}", job.state);
    assert_eq!(job.attempt, STARTS_MAX);
}

/// A job that was agreed on, and that no node has taken up.
async fn agreed_on(world: &World, account: &AccountId, library: &str) -> JobId {
    let id = JobId::random(SystemClock.now(), &SystemEntropy).unwrap();
    let submit = jobs::Command::Submit {
        id: id.clone(),
        account: account.clone(),
        library: library.parse().unwrap(),
        version: "1.0".parse().unwrap(),
        source: Source::Web { url: "https://docs.example.org/".to_owned() },
        base_url: None,
    };
    assert_eq!(propose(world, submit).await, Outcome::Done);
    id
}

async fn propose(world: &World, command: jobs::Command) -> Outcome {
    world.cluster.propose(Command::Jobs(command)).await.unwrap().outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_jobs_open_and_operators_as_many_as_there_are_places() {
    let world = World::new().await;
    let person = world.person().await.account;
    let team = world.actors.teams.make(&person, "Kilns").await.unwrap().team.id;
    let new = NewPerson {
        email: "root@example.org",
        name: "",
        password: Some("correct horse battery"),
        is_operator: true,
        send: false,
    };
    let made = world.actors.accounts.add_person(new).await.unwrap();
    let PersonMade::Person(operator) = made else { panic!("{made:?}") };
    let (machine, operator) = (world.account.id.clone(), operator.person.account);
    let source = world.source("docs", &[PAGE]);
    let accounts =
        [(&person, "/person/a"), (&team, "/team/a"), (&machine, "/machine/a"), (&operator, "/operator/a")];
    let submit = |(account, library): (&AccountId, &str)| {
        let submission = world.submission(library, "1.0", source.clone());
        world.actors.jobs.submit(Submission { account: account.clone(), ..submission })
    };

    // Of a node that works on them for as long as the test may take.
    let elsewhere = async |account: &AccountId, library: &str| {
        let id = agreed_on(&world, account, library).await;
        let claim = jobs::Command::Claim { id: id.clone(), node: 7 };
        assert_eq!(propose(&world, claim).await, Outcome::Done);
        id
    };
    propose(&world, jobs::Command::Renew { node: 7, for_ms: jobs::LEASE_MS_MAX }).await;

    let mut last = None;
    for place in 0..OPEN_JOBS_EACH_MAX {
        if place + 1 == OPEN_JOBS_EACH_MAX {
            // What ended takes no place.
            let job = submit(accounts[0]).await.unwrap().job.id;
            ended(&world, &job).await;
        }
        last = Some(elsewhere(&person, "/person/many").await);
    }
    let refused = submit(accounts[0]).await.unwrap_err();
    assert!(matches!(refused, JobsError::AccountLimitReached), "{refused}");
    let sentence = "90 jobs of this account wait or run, as many as it may have; try again when some have ended, or \
                    cancel some";
    assert_eq!(refused.to_string(), sentence);
    submit(accounts[1]).await.expect("a team has places of its own");
    let who = Owner::Account(person.clone());
    world.actors.jobs.cancel(&who, &last.unwrap()).await.unwrap();
    submit(accounts[0]).await.expect("one is free again");

    for (account, library) in &accounts[1..] {
        for _ in 0..OPEN_JOBS_EACH_MAX {
            elsewhere(account, &library.replace("/a", "/many")).await;
        }
    }
    let refused = submit(accounts[1]).await.unwrap_err();
    assert!(matches!(refused, JobsError::AccountLimitReached), "anybody can make a team: {refused}");
    for exempt in &accounts[2..] {
        submit(*exempt).await.expect("whoever runs the service has no such limit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_a_job_before_its_node_has_taken_it_up_sees_it_to_its_end() {
    let world = World::new().await;
    let jobs = &world.actors.jobs;
    let job = agreed_on(&world, &world.account.id, "/acme/widget").await;
    world.until("the dispatcher has heard of it", || jobs.board.get(&job).is_some()).await;
    // As it is until then.
    let agreed = jobs::get(world.cluster.reader(), &job).unwrap().unwrap();
    jobs.board.show(Job { state: JobState::Done, ..agreed }, None);
    jobs.board.forget(&job);
    assert!(jobs.board.get(&job).is_none());
    let mut follower = jobs.watch(&Owner::Operator, &job).unwrap();
    assert_eq!(follower.borrow_and_update().job.state, JobState::Queued);
    for node in [7, 8] {
        let claim = jobs::Command::Claim { id: job.clone(), node };
        assert_eq!(propose(&world, claim).await, Outcome::Done);
        follower.wait_for(|view| view.node == Some(node)).await.expect("it moves to another node");
    }
    jobs.cancel(&Owner::Operator, &job).await.unwrap();
    let last = follower.wait_for(|view| view.job.state.is_ended()).await.expect("it ends");
    assert_eq!(last.job.state, JobState::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_dispatcher_was_not_told_of_is_seen_all_the_same() {
    let world = World::new().await;
    let jobs = &world.actors.jobs;
    let job = agreed_on(&world, &world.account.id, "/acme/widget").await;
    let open = jobs::get(world.cluster.reader(), &job).unwrap().unwrap();
    jobs.cancel(&Owner::Operator, &job).await.unwrap();
    // Nothing that was agreed on about it is on its way to the dispatcher any more.
    let later = agreed_on(&world, &world.account.id, "/acme/later").await;
    world.until("the dispatcher has heard of all", || jobs.board.get(&later).is_some()).await;
    let sees_the_end = async |tell: &dyn Fn()| {
        jobs.board.show(open.clone(), None);
        let mut follower = jobs.watch(&Owner::Operator, &job).unwrap();
        assert_eq!(follower.borrow_and_update().job.state, JobState::Queued);
        jobs.board.forget(&job);
        tell();
        let ended = follower.wait_for(|view| view.job.state.is_ended());
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("its end is shown").unwrap();
    };
    let dispatcher = ractor::registry::where_is(format!("{}/jobs", world.node)).unwrap();
    let everything = told(&[Change::Job(later.clone()), Change::Everything]).unwrap();
    let everything = std::sync::Mutex::new(Some(everything));
    sees_the_end(&|| {
        let message = everything.lock().unwrap().take().unwrap();
        assert!(dispatcher.send_message::<Message>(message).is_ok());
    })
    .await;
    sees_the_end(&|| world.kill("jobs")).await;
}

#[test]
fn the_dispatcher_is_told_of_jobs_and_of_what_could_not_be_told() {
    let job: JobId = format!("job_{:026}", 1).parse().unwrap();
    let library: LibraryId = "/acme/widget".parse().unwrap();
    assert!(told(&[Change::Library(library.clone())]).is_none());
    let changes = [Change::Library(library), Change::Job(job.clone())];
    assert!(matches!(told(&changes), Some(Message::Changed(jobs)) if jobs == [job.clone()]));
    assert!(matches!(told(&[Change::Everything]), Some(Message::Everything)));
}
