//! Limit of the number of connections that are served at a time.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// Pause after an error that may recur at once, such as a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener with its places; several may share them.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) room: Arc<Semaphore>,
}

impl Door {
    /// The next connection, with a place that is free again when it is dropped. Without a free
    /// place, others wait in the backlog. Nothing is lost when this is given up while it waits.
    ///
    /// # Errors
    /// There are no places any more.
    pub(crate) async fn next(&self) -> Result<(TcpStream, OwnedSemaphorePermit), AcquireError> {
        let place = Arc::clone(&self.room).acquire_owned().await?;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Ok((stream, place)),
                Err(error) => pause(&error).await,
            }
        }
    }
}

/// Waits before a socket that has failed is asked again.
pub(crate) async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a socket failed");
    sleep(PAUSE).await;
}
