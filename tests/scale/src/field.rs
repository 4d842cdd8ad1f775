//! Where the agents run: threads of their own, as in life they have machines of their own. On those of the engines and
//! the API a leader would wait behind a thousand agents before it could go on with the answer to a transaction.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// The threads, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Field {
    handle: Handle,
    /// Here until it is dropped.
    runtime: Option<Runtime>,
}

impl Field {
    /// As many threads as the host has processors.
    ///
    /// # Errors
    /// If there are none to be had.
    pub(crate) fn new() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.thread_name("agents").enable_all().build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// To have something run there.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // A runtime that is simply dropped waits for its threads, which a task must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
