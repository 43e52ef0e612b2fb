//! On whose behalf a task works, for the audit log.
//!
//! The front says once for each request who sent it ([`Behalf::scope`]); whatever is proposed within carries it
//! ([`Cluster::propose`](crate::Cluster::propose)), so no handle and no endpoint has to pass it on, and none can forget to. What
//! is proposed outside of any request, a node does by itself.
//!
//! A task that is spawned, and a message that waits in a mailbox, leave the request: they take [`Behalf::current`] along.

use std::future::Future;
use std::net::IpAddr;

use twinmcp_storage::audit::{Actor, By};

tokio::task_local! {
    static CURRENT: Behalf;
}

/// Who is behind what a task does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behalf(Option<By>);

impl Behalf {
    /// `actor`, who came from `address` with the request that is called `request`.
    pub fn of(actor: Actor, address: IpAddr, request: &str) -> Self {
        Self(Some(By { actor, address: Some(address), request: Some(request.to_owned()) }))
    }

    /// Who is behind this task; the node itself outside of any request.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// The same request, of which more is known now: `actor` has shown who they are within it.
    #[must_use]
    pub fn shown_to_be(self, actor: Actor) -> Self {
        let (address, request) = self.0.map_or((None, None), |by| (by.address, by.request));
        Self(Some(By { actor, address, request }))
    }

    /// Where whoever it is came from; nothing outside of any request.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.as_ref().and_then(|by| by.address)
    }

    /// Does `work` on behalf of this one.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// As it is written down by node `node`.
    pub(crate) fn by(self, node: u64) -> By {
        self.0.unwrap_or(By { actor: Actor::Node(node), address: None, request: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_works_for_whoever_asked_and_a_node_for_itself() {
        assert_eq!(Behalf::current().by(3), By { actor: Actor::Node(3), address: None, request: None });
        let address = IpAddr::from([192, 0, 2, 1]);
        let behalf = Behalf::of(Actor::Nobody, address, "0af7");
        behalf
            .clone()
            .scope(async {
                assert_eq!((Behalf::current(), behalf.address()), (behalf.clone(), Some(address)));
                let taken = Behalf::current();
                let client = Actor::Client { id: "web".to_owned(), account: None };
                let shown = taken.clone().shown_to_be(client.clone()).by(3);
                assert_eq!(
                    (shown.actor, shown.address, shown.request.as_deref()),
                    (client, Some(address), Some("0af7"))
                );
                let spawned = tokio::spawn(async { Behalf::current() }).await.unwrap();
                assert_eq!(spawned, Behalf::default(), "a task that is spawned takes it along itself");
                let spawned = tokio::spawn(taken.scope(async { Behalf::current() })).await.unwrap();
                assert_eq!(spawned, behalf);
            })
            .await;
        assert_eq!(Behalf::current(), Behalf::default());
    }
}
