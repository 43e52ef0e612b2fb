//! Notices about what changed, for readers that keep copies in memory.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast::{self, error::RecvError};
use twinmcp_storage::transaction::Change;

/// A subscription to changes of the agreed state, from the moment it was made.
///
/// A notice comes after its change can be read. A subscriber that reads too slowly is told
/// [`Change::Everything`] once in place of what it missed.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Arc<[Change]>>,
}

impl Changes {
    /// What one entry changed, or `None` once no further change can come because consensus stopped.
    ///
    /// Cancelling the future loses nothing.
    pub async fn next(&mut self) -> Option<Arc<[Change]>> {
        match self.receiver.recv().await {
            Ok(changes) => Some(changes),
            Err(RecvError::Lagged(_)) => Some(Arc::from([Change::Everything])),
            Err(RecvError::Closed) => None,
        }
    }
}

type Sender = broadcast::Sender<Arc<[Change]>>;

/// Where notices are sent from; clones send to the same subscribers.
#[derive(Debug, Clone)]
pub(crate) struct ChangeFeed {
    /// `None` once nothing will change any more.
    sender: Arc<Mutex<Option<Sender>>>,
}

impl ChangeFeed {
    pub(crate) fn new(unread_max: usize) -> Self {
        Self { sender: Arc::new(Mutex::new(Some(broadcast::channel(unread_max).0))) }
    }

    pub(crate) fn subscribe(&self) -> Changes {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = match &*sender {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1,
        };
        Changes { receiver }
    }

    pub(crate) fn send(&self, changes: Vec<Change>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let (false, Some(sender)) = (changes.is_empty(), &*sender) {
            // Nobody listening is no error.
            let _ = sender.send(changes.into());
        }
    }

    /// Ends every subscription once it has read what was sent.
    pub(crate) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinmcp_storage::ids::LibraryId;

    fn change(name: &str) -> Change {
        Change::Library(name.parse::<LibraryId>().unwrap())
    }

    #[tokio::test]
    async fn a_subscriber_that_lags_is_told_that_everything_changed() {
        let feed = ChangeFeed::new(2);
        let mut changes = feed.subscribe();
        for name in ["/a/1", "/a/2", "/a/3"] {
            feed.send(vec![change(name)]);
        }
        assert_eq!(*changes.next().await.unwrap(), [Change::Everything]);
        assert_eq!(*changes.next().await.unwrap(), [change("/a/2")]);
        assert_eq!(*changes.next().await.unwrap(), [change("/a/3")]);
    }

    #[tokio::test]
    async fn a_subscription_ends_when_the_feed_closes_after_what_was_sent_is_read() {
        let feed = ChangeFeed::new(2);
        let mut changes = feed.subscribe();
        feed.send(vec![change("/a/1")]);
        feed.close();
        assert!(changes.next().await.is_some());
        assert!(changes.next().await.is_none());
        assert!(feed.subscribe().next().await.is_none());
    }
}
