//! Which links have a queueing discipline for what comes in: Open vSwitch gives one to each port of a datapath when it offloads.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use netlink_packet_route::tc::{TcAttribute, TcMessage};

use super::{Error, Netlink};

impl Netlink {
    /// The indices of the links that have an ingress or clsact qdisc.
    pub async fn links_with_ingress(&self) -> Result<BTreeSet<u32>, Error> {
        let all: Vec<TcMessage> = self
            .ask(
                || "list queueing disciplines".to_owned(),
                self.route()?.qdisc().get().execute().try_collect(),
            )
            .await?;
        let is_ingress = |message: &&TcMessage| {
            message
                .attributes
                .iter()
                .any(|attribute| matches!(attribute, TcAttribute::Kind(kind) if kind == "ingress" || kind == "clsact"))
        };
        let indices = all.iter().filter(is_ingress).map(|message| message.header.index);
        Ok(indices.filter_map(|index| u32::try_from(index).ok()).collect())
    }
}
