//! Jobs that cannot go on where they are: is what they were to be made from lost?
//!
//! A node that no longer has the archive of a job of its own gets it back from whoever keeps a copy ([`Search::regain`]). Jobs that nobody
//! works on and nobody can take over are the business of the node that leads ([`Search::run`]).
//!
//! A node that is away may come back with it, so it is waited for, but not for ever; whoever started the job is then told to
//! start it again. Others are asked beside the dispatcher's mailbox.

use std::time::Duration;

use ractor::ActorRef;
use tokio::time::Instant;
use twinmcp_cluster::MemberStatus;
use twinmcp_storage::jobs::{Job, Source};

use super::copies::{Copies, Sought};
use super::dispatcher::Message;

/// Since when nobody works on a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// Who did.
    pub(super) owner: Option<u64>,
    /// How long it has not said that it does.
    pub(super) away: Duration,
}

/// A search for what jobs were to be made from.
pub(super) struct Search {
    pub(super) copies: Copies,
    pub(super) members: Vec<MemberStatus>,
    pub(super) lost_after: Duration,
}

impl Search {
    /// Tells the dispatcher of each job that cannot go on.
    pub(super) async fn run(self, jobs: Vec<(Job, Left)>, dispatcher: ActorRef<Message>) {
        for (job, left) in jobs {
            let found = match &job.source {
                Source::Upload { hash, .. } => self.copies.seek(&job.account, hash).await,
                Source::Folder { .. } if self.is_member(left.owner) => Sought::Unknown(1),
                Source::Folder { .. } => Sought::Nowhere,
                Source::Web { .. } | Source::Git { .. } => continue,
            };
            if let Some(message) = verdict(&job.source, found, left.away, self.lost_after)
                && dispatcher.send_message(Message::Lost(job.id, message)).is_err()
            {
                return;
            }
        }
    }

    /// Brings back the archives of this node's own jobs, and tells the dispatcher of each job that can go on or cannot. Nodes
    /// that do not answer are asked again after `pause`.
    pub(super) async fn regain(self, mut jobs: Vec<Job>, pause: Duration, dispatcher: ActorRef<Message>) {
        let since = Instant::now();
        loop {
            let mut open = Vec::new();
            for job in jobs {
                let Source::Upload { hash, .. } = &job.source else { continue };
                let found = self.copies.regain(&job.account, hash).await;
                let told = match verdict(&job.source, found, since.elapsed(), self.lost_after) {
                    Some(message) => dispatcher.send_message(Message::Lost(job.id, message)),
                    None if found == Sought::There => dispatcher.send_message(Message::TryAgain(job.id)),
                    None => {
                        open.push(job);
                        Ok(())
                    }
                };
                if told.is_err() {
                    return;
                }
            }
            if open.is_empty() {
                return;
            }
            jobs = open;
            tokio::time::sleep(pause).await;
        }
    }

    fn is_member(&self, node: Option<u64>) -> bool {
        self.members.iter().any(|member| Some(member.node_id.0) == node)
    }
}

/// Why the job fails, for the person who started it; nothing while its source may still be found.
fn verdict(source: &Source, found: Sought, away: Duration, lost_after: Duration) -> Option<String> {
    let what = if matches!(source, Source::Folder { .. }) { "folder" } else { "uploaded archive" };
    let is_over = away >= lost_after;
    match found {
        Sought::There => None,
        Sought::Nowhere => Some(format!("no node has the {what} any more; send it again")),
        Sought::Unknown(nodes) if is_over => Some(format!(
            "the {what} lies at most on {nodes} node(s) that have been away for {} s; send it again, or start them and \
             start the job anew",
            away.as_secs()
        )),
        Sought::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_lost_when_nobody_has_it_and_after_a_while_when_somebody_may_have_it() {
        let upload = Source::Upload { hash: String::new(), name: "a.tar".to_owned() };
        let hour = Duration::from_hours(1);
        let after = |found, away| verdict(&upload, found, away, hour);
        let lost = after(Sought::Nowhere, Duration::ZERO).unwrap();
        assert_eq!(lost, "no node has the uploaded archive any more; send it again");
        assert_eq!(after(Sought::There, hour * 2), None);
        assert_eq!(after(Sought::Unknown(1), hour - Duration::from_secs(1)), None);
        let away = after(Sought::Unknown(1), hour).unwrap();
        assert!(away.contains("1 node(s) that have been away for 3600 s; send it again"), "{away}");
    }
}
