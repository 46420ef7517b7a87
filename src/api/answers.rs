//! The answers on a stream, and the error that it ends with, which comes behind them however late they are read.

use std::future::ready;
use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// What gRPC reads of them.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where answers go, where the error goes, if there is one, and both as they are read. A reader that is slow has no
/// queue of answers.
pub(super) fn answers<T: Send + 'static>() -> (Sender<T>, oneshot::Sender<Status>, Answers<T>) {
    let (answers, receiver) = mpsc::channel(1);
    let (end, ended) = oneshot::channel();
    let last = stream::once(ended).filter_map(|end| ready(end.ok().map(Err)));
    let all = ReceiverStream::new(receiver).map(Ok).chain(last);
    (answers, end, Box::pin(all))
}
