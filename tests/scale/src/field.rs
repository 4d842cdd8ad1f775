//! Where the agents run: threads of their own, as in life they have machines of their own. On those of the engines and
//! the API a leader would wait behind a thousand agents before it could go on with the answer to a transaction.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// The threads, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Field(Option<Runtime>);

impl Field {
    /// As many threads as the host has processors.
    ///
    /// # Errors
    /// If there are none to be had.
    pub(crate) fn new() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        Ok(Self(Some(builder.thread_name("agents").enable_all().build()?)))
    }

    /// To have something run there.
    pub(crate) fn handle(&self) -> Handle {
        self.0
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // A runtime that is simply dropped waits for its threads, which a task must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
