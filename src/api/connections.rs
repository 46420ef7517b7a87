//! Connections: counted, and with TLS where it is configured. Above the limit they are closed on
//! arrival; those that do not finish the handshake, or say nothing after it, are closed after a while.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::{Connected, TcpIncoming};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a new connection may stay silent. Later silence is HTTP's own matter: pings, and the time
/// that a header may take.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes that end the silence: the length of HTTP/2's preface.
const PREFACE: usize = 24;
/// Until the next try where the system has no more sockets to give.
const PAUSE: Duration = Duration::from_millis(100);

/// At most `places` connections at once, with TLS where there is an acceptor. What goes wrong with one of
/// them does not end the others, nor does a want of file descriptors.
pub(super) fn accepted(
    incoming: TcpIncoming,
    places: usize,
    tls: Option<TlsAcceptor>,
) -> impl Stream<Item = io::Result<Connection>> {
    let door = Door {
        incoming,
        places: Arc::new(Semaphore::new(places)),
        tls,
        handshakes: JoinSet::new(),
        paused_until: None,
    };
    futures_util::stream::unfold(door, async |mut door| {
        let connection = door.next().await?;
        Some((Ok(connection), door))
    })
}

/// Where connections come in.
struct Door {
    incoming: TcpIncoming,
    places: Arc<Semaphore>,
    tls: Option<TlsAcceptor>,
    handshakes: JoinSet<io::Result<Connection>>,
    paused_until: Option<Instant>,
}

impl Door {
    /// The next connection that may speak; none once the listener is closed.
    async fn next(&mut self) -> Option<Connection> {
        loop {
            let paused = self.paused_until;
            tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(connection)) => return Some(connection),
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS with a caller"),
                    Err(_) => {}
                },
                () = sleep_until(paused.unwrap_or_else(Instant::now)), if paused.is_some() => {
                    self.paused_until = None;
                }
                arrived = self.incoming.next(), if paused.is_none() => match arrived? {
                    Ok(stream) => {
                        if let Some(connection) = self.admit(stream) {
                            return Some(connection);
                        }
                    }
                    Err(error) if is_the_callers(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections; trying again");
                        self.paused_until = Some(Instant::now() + PAUSE);
                    }
                },
            }
        }
    }

    /// Gives `stream` a place, and begins its handshake where there is to be one.
    fn admit(&mut self, stream: TcpStream) -> Option<Connection> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            metrics::counter!("portcullis_connections_refused_total").increment(1);
            return None;
        };
        let Some(acceptor) = self.tls.clone() else {
            return Some(Connection::new(Transport::Plain(stream), place));
        };
        self.handshakes.spawn(async move {
            let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
            Ok(Connection::new(Transport::Tls(Box::new(stream)), place))
        });
        None
    }
}

/// Whether only the connection that was to be accepted is lost.
fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionReset | K::BrokenPipe | K::Interrupted
    )
}

/// A connection that holds one of the places.
pub(super) struct Connection {
    transport: Transport,
    _place: OwnedSemaphorePermit,
    /// Until the first bytes have come: when they must have.
    silence: Option<Pin<Box<Sleep>>>,
    read: usize,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Who is at the other end, as far as the connection says; among each request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// The certificate that the caller has shown, verified.
    pub(super) certificate: Option<CertificateDer<'static>>,
}

impl Connection {
    fn new(transport: Transport, place: OwnedSemaphorePermit) -> Self {
        Self {
            transport,
            _place: place,
            silence: Some(Box::pin(tokio::time::sleep(SILENCE))),
            read: 0,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        let chain = match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.get_ref().1.peer_certificates(),
        };
        Peer {
            certificate: chain.and_then(<[_]>::first).cloned(),
        }
    }
}

/// Passes a call on to the stream inside.
macro_rules! either {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Plain($stream) => $call,
            Transport::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = either!(&mut self.transport, stream => Pin::new(stream).poll_read(cx, buffer));
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

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(&mut self.get_mut().transport, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut self.get_mut().transport, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.transport, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.get_mut().transport, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.get_mut().transport, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
