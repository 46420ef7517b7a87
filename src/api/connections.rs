//! Connections, counted: above the limit they are closed on arrival, and those that say nothing are
//! closed after a while.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// A connection that holds one of the places.
pub(super) struct Counted {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    /// Until the first bytes have come: when they must have.
    silence: Option<Pin<Box<Sleep>>>,
    read: usize,
}

/// How long a new connection may stay silent. Later silence is HTTP/2's own pings' matter.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes that end the silence: the length of HTTP/2's preface.
const PREFACE: usize = 24;

/// At most `places` connections at once.
pub(super) fn bounded(
    incoming: TcpIncoming,
    places: usize,
) -> impl Stream<Item = io::Result<Counted>> {
    let places = Arc::new(Semaphore::new(places));
    incoming.filter_map(move |accepted| match accepted {
        Ok(stream) => match places.clone().try_acquire_owned() {
            Ok(place) => Some(Ok(Counted {
                stream,
                _place: place,
                silence: Some(Box::pin(tokio::time::sleep(SILENCE))),
                read: 0,
            })),
            Err(_) => {
                metrics::counter!("portcullis_connections_refused_total").increment(1);
                None
            }
        },
        Err(error) => Some(Err(error)),
    })
}

impl Connected for Counted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.read = self.read.saturating_add(buffer.filled().len() - before);
        if self.read >= PREFACE {
            self.silence = None;
        }
        if let (Poll::Pending, Some(silence)) = (&polled, &mut self.silence)
            && silence.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
