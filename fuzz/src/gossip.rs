//! What comes over the port of gossip.

pub(crate) fn datagram(data: &[u8]) {
    twinmcp_cluster::fuzzing::gossip_datagram(data);
}

pub(crate) fn member(data: &[u8]) {
    twinmcp_cluster::fuzzing::gossip_member(data);
}
