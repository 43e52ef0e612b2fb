//! Where work that blocks is done: on threads; or, in a simulation, in place and in the order its seed decides.

use std::future::Future;
use std::io;

use tokio::sync::mpsc;

/// Where a node does what blocks.
#[derive(Clone, Default)]
pub(crate) enum Work {
    /// On threads for blocking work.
    #[default]
    Threads,
    /// In place, between two awaits; writes of the log take as long as this disk says.
    #[cfg(test)]
    Simulated(std::sync::Arc<dyn Disk>),
}

/// How long a simulated disk takes.
#[cfg(test)]
pub(crate) trait Disk: Send + Sync {
    /// For the next synced write.
    fn delay(&self) -> std::time::Duration;
}

impl Work {
    /// Runs `work`; an error says that it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
            #[cfg(test)]
            Self::Simulated(_) => Ok(work()),
        }
    }

    /// Sends what `produce` hands out, which goes on as long as it is told `true`: somebody still listens.
    pub(super) fn produce<T: Send + 'static>(
        &self,
        sender: mpsc::Sender<T>,
        produce: impl FnOnce(&mut dyn FnMut(T) -> bool) + Send + 'static,
    ) {
        match self {
            Self::Threads => {
                tokio::task::spawn_blocking(move || produce(&mut |item| sender.blocking_send(item).is_ok()));
            }
            #[cfg(test)]
            Self::Simulated(_) => {
                let mut items = Vec::new();
                produce(&mut |item| {
                    items.push(item);
                    true
                });
                tokio::spawn(async move {
                    for item in items {
                        if sender.send(item).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    }

    /// Runs `consume` on what comes in.
    pub(super) fn consume<T: Send + 'static, R: Send + 'static>(
        &self,
        mut receiver: mpsc::Receiver<T>,
        consume: impl FnOnce(&mut dyn FnMut() -> Option<T>) -> R + Send + 'static,
    ) -> impl Future<Output = io::Result<R>> + Send {
        let work = self.clone();
        async move {
            match work {
                Self::Threads => work.run(move || consume(&mut || receiver.blocking_recv())).await,
                #[cfg(test)]
                Self::Simulated(_) => {
                    let mut items = std::collections::VecDeque::new();
                    while let Some(item) = receiver.recv().await {
                        items.push_back(item);
                    }
                    Ok(consume(&mut || items.pop_front()))
                }
            }
        }
    }
}
