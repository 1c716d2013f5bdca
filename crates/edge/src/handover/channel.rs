//! Messages between two processes of a hand-over, each with at most one descriptor: a pair of
//! sequenced-packet sockets, which keep messages apart and tell when the other end is gone.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream as StdStream,
    },
    time::Duration,
};

use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg,
        socketpair,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

/// The largest message, in bytes.
const MAX_MESSAGE: usize = 8 << 10;
/// What a longer text is cut to, in bytes, so that it fits into a message even where each is escaped.
pub(super) const MAX_TEXT: usize = 1 << 10;

/// One end of the pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// A message and what came with it.
pub(crate) struct Received<T> {
    pub(crate) message: T,
    pub(crate) descriptor: Option<OwnedFd>,
}

impl Channel {
    /// Two that are connected.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(one), Self(other)))
    }

    /// From a descriptor that another process gave.
    pub(crate) fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// To be given to another process.
    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// How long [`Self::receive`] waits for a message.
    pub(crate) fn set_limit(&self, limit: Duration) -> io::Result<()> {
        Ok(set_socket_timeout(&self.0, Timeout::Recv, Some(limit))?)
    }

    /// Sends a message without waiting for room. Few are sent, and room is for hundreds.
    pub(crate) fn send(
        &self,
        message: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        send(self.0.as_fd(), message, descriptor)
    }

    /// Waits for a message, within the limit. `None`: the other end is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        receive(self.0.as_fd(), RecvFlags::empty())
    }

    /// Whether the other end is gone.
    pub(crate) fn is_over(&self) -> bool {
        let mut byte = [0; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        // Nothing to read yet is an error, and a sign of life.
        matches!(recv(&self.0, &mut byte, flags), Ok((0, _)))
    }

    /// For a task. To be called within a runtime.
    pub(crate) fn watched(self) -> io::Result<Watched> {
        // The type is a stream's, and only what is called by way of it matters.
        let stream = StdStream::from(self.0);
        stream.set_nonblocking(true)?;
        Ok(Watched(UnixStream::from_std(stream)?))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A [`Channel`] whose messages a task waits for.
#[derive(Debug)]
pub(crate) struct Watched(UnixStream);

impl Watched {
    /// As [`Channel::send`].
    pub(crate) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        send(self.0.as_fd(), message, None)
    }

    /// The next message. `None`: the other end is gone.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let receive = || receive(self.0.as_fd(), RecvFlags::DONTWAIT);
        let received = self.0.async_io(Interest::READABLE, receive).await?;
        Ok(received.map(|received| received.message))
    }

    /// No task waits any more.
    pub(crate) fn into_channel(self) -> io::Result<Channel> {
        Ok(Channel(self.0.into_std()?.into()))
    }
}

fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors {
        // There is space for one.
        let _ = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, flags)?;
    Ok(())
}

fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    flags: RecvFlags,
) -> io::Result<Option<Received<T>>> {
    let mut bytes = [0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
    let mut descriptor = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptor = descriptors.into_iter().last();
        }
    }
    let bytes = bytes.get(..got.bytes).unwrap_or_default();
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Received { message: serde_json::from_slice(bytes)?, descriptor }))
}

/// As much of the text as fits into a message.
pub(super) fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::handover::ToPredecessor;

    #[tokio::test]
    async fn messages_stay_apart_and_a_descriptor_stays_with_its_message() {
        let (one, other) = Channel::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        one.send(&ToPredecessor::Hello { pid: 7 }, None).unwrap();
        one.send(&ToPredecessor::Serving, Some(listener.as_fd())).unwrap();
        let first = other.receive::<ToPredecessor>().unwrap().unwrap();
        assert_eq!(first.message, ToPredecessor::Hello { pid: 7 });
        assert!(first.descriptor.is_none());
        let second = other.receive::<ToPredecessor>().unwrap().unwrap();
        let copy = TcpListener::from(second.descriptor.unwrap());
        assert_eq!(copy.local_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[tokio::test]
    async fn the_end_of_the_other_end_is_told_from_silence_and_from_a_message() {
        let (one, other) = Channel::pair().unwrap();
        assert!(!other.is_over());
        one.send(&ToPredecessor::End, None).unwrap();
        assert!(!other.is_over());
        let other = other.watched().unwrap();
        assert_eq!(other.receive().await.unwrap(), Some(ToPredecessor::End));
        drop(one);
        assert_eq!(other.receive::<ToPredecessor>().await.unwrap(), None);
        assert!(other.into_channel().unwrap().is_over());
    }

    #[test]
    fn the_longest_reason_fits_into_a_message() {
        let (one, other) = Channel::pair().unwrap();
        let reason = cut(&"\u{1}é".repeat(MAX_TEXT));
        one.send(&ToPredecessor::Refused { reason: reason.clone() }, None).unwrap();
        let received = other.receive::<ToPredecessor>().unwrap().unwrap();
        assert_eq!(received.message, ToPredecessor::Refused { reason });
    }

    #[test]
    fn a_receiver_waits_no_longer_than_its_limit() {
        let (_one, other) = Channel::pair().unwrap();
        other.set_limit(Duration::from_millis(20)).unwrap();
        assert!(other.receive::<ToPredecessor>().is_err());
    }
}
