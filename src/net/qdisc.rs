//! Which links have a queueing discipline for what comes in: Open vSwitch gives one to each port of a datapath when it offloads.

use std::collections::BTreeSet;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcMessage};

use super::{Error, Netlink};

impl Netlink {
    /// The indices of the links that have an ingress or clsact qdisc.
    pub fn links_with_ingress(&self) -> Result<BTreeSet<u32>, Error> {
        let what = || "list queueing disciplines".to_owned();
        let all = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let all = self.session.dump(what, &all)?;
        let all: Vec<&TcMessage> = (all.iter())
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Some(qdisc),
                _ => None,
            })
            .collect();
        let is_ingress = |message: &&&TcMessage| {
            message
                .attributes
                .iter()
                .any(|attribute| matches!(attribute, TcAttribute::Kind(kind) if kind == "ingress" || kind == "clsact"))
        };
        let indices = all.iter().filter(is_ingress).map(|message| message.header.index);
        Ok(indices.filter_map(|index| u32::try_from(index).ok()).collect())
    }
}
