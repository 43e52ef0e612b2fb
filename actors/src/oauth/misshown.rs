//! Clients that somebody shows themselves as, wrongly: told by the audit log at once, and then as a number each minute, so that guessing
//! costs no write a guess.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use twinmcp_storage::audit::{Action, Actor, Event, Kind};
use twinmcp_storage::oauth::client::{Client, Owner};

use crate::audit::Audit;

/// Clients that are counted at once; of more nothing is told.
const COUNTED_MAX: usize = 1_000;
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How often each client was refused since that was told.
#[derive(Debug, Clone)]
pub(super) struct Misshown {
    untold: Arc<Mutex<HashMap<String, u64>>>,
    tell_every: Duration,
}

impl Default for Misshown {
    fn default() -> Self {
        Self { untold: Arc::default(), tell_every: TELL_EVERY }
    }
}

impl Misshown {
    /// Counts that `client` was shown wrongly.
    pub(super) fn note(&self, client: &Client, audit: &Audit) {
        if !self.is_first(&client.id) {
            return;
        }
        audit.note_later(refused(client, 1));
        let (client, audit, misshown) = (client.clone(), audit.clone(), self.clone());
        tokio::spawn(async move {
            tokio::time::sleep(misshown.tell_every).await;
            let more = misshown.take(&client.id);
            if more > 0 {
                // They came from many places, and have the budget of strangers, as the first one had.
                audit.note_done(refused(&client, more).by(Actor::Nobody)).await;
            }
        });
    }

    /// Whether nothing was told of this client for a while; if not, it is counted.
    fn is_first(&self, id: &str) -> bool {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = untold.get_mut(id) {
            *count += 1;
            return false;
        }
        let has_room = untold.len() < COUNTED_MAX;
        if has_room {
            untold.insert(id.to_owned(), 0);
        }
        has_room
    }

    fn take(&self, id: &str) -> u64 {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).remove(id).unwrap_or_default()
    }
}

fn refused(client: &Client, count: u64) -> Event {
    let event = Event::new(Action::ClientRefused, Kind::Client, &client.id).refused().times(count);
    match &client.owner {
        Owner::Account(account) => event.of(account),
        _ => event,
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::audit::{Entry, Filter};

    use super::super::clients::ctx7;
    use super::*;
    use crate::tests::World;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_is_told_at_once_and_the_others_together() {
        let world = World::new().await;
        let audit = &world.actors.audit;
        let misshown = Misshown { tell_every: Duration::from_millis(300), ..Misshown::default() };
        let client = ctx7();
        (0..5).for_each(|_| misshown.note(&client, audit));
        let told = || {
            let filter = Filter { action: Some("client.refused".to_owned()), ..Filter::default() };
            let page = audit.page(&filter, None, 10).unwrap();
            let of = |entry: &Entry| (entry.count.unwrap(), entry.actor.kind.clone());
            page.entries.iter().map(of).collect::<Vec<_>>()
        };
        let all = || told().iter().map(|(count, _)| count).sum::<u64>() == 5;
        world.until("all of them to be told", all).await;
        assert!(told().len() < 5, "not one by one: {:?}", told());
        let mut later = told();
        later.retain(|(count, _)| *count > 1);
        let is_nobodys = !later.is_empty() && later.iter().all(|(_, actor)| actor == "nobody");
        assert!(is_nobodys, "what is told by itself would have no budget: {:?}", told());
        assert!(misshown.is_first(&client.id), "it begins anew");
    }

    #[test]
    fn a_client_is_told_of_once_and_then_counted_until_that_is_told() {
        let misshown = Misshown::default();
        assert!(misshown.is_first("web"));
        assert!(!misshown.is_first("web") && !misshown.is_first("web"));
        assert!(misshown.is_first("other"));
        assert_eq!([misshown.take("web"), misshown.take("other"), misshown.take("nobody")], [2, 0, 0]);
        assert!(misshown.is_first("web"), "what was told begins anew");
        for number in 0..2 * COUNTED_MAX {
            misshown.is_first(&number.to_string());
        }
        assert_eq!(misshown.untold.lock().unwrap().len(), COUNTED_MAX);
    }
}
