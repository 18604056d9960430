//! Packets with descriptors over a Unix socket of type SOCK_SEQPACKET, which keeps their borders.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::message::{DESCRIPTORS_MAX, PACKET_BYTES_MAX};

/// Sends one packet. Never waits: a peer that does not take what it asked for is its own problem.
///
/// # Errors
/// Those of sendmsg(2); `WouldBlock` when the peer's queue is full.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if bytes.len() > PACKET_BYTES_MAX
        || (!descriptors.is_empty()
            && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)))
    {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "packet too large"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags)?;
    Ok(())
}

/// Receives one packet; `None` when the peer has closed. Never waits.
///
/// Every descriptor that comes along is owned from here on, so that none is left open.
///
/// # Errors
/// Those of recvmsg(2); `WouldBlock` when there is none; `InvalidData` when a packet is longer, or
/// has more descriptors, than any may.
pub fn receive(socket: impl AsFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    // The space is rounded up, so that one more may have fitted.
    let is_cut = received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    if is_cut || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "packet cut short"));
    }
    // No packet of ours is empty, so nothing at all is the end (recv(2)).
    if received.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, descriptors)))
}
