//! What is known of a node: read once, judged afterwards. Nothing here says what is good or bad.

mod kernel;
mod node;
mod place;

pub(super) use kernel::{Kernel, MODULES, Module};
pub(super) use node::{DAEMON, Node};
pub(super) use place::Place;

/// A fact, or why it could not be asked.
pub(super) type Asked<T> = Result<T, String>;

/// All facts.
pub(super) struct Facts {
    pub(super) kernel: Kernel,
    pub(super) node: Node,
}

/// Reads them all.
pub(super) async fn gather(place: &Place) -> Facts {
    Facts {
        kernel: kernel::gather(place),
        node: node::gather(place).await,
    }
}
