//! Load on a server, from the client's side: as many requests as are answered ([`closed`]), arrivals at
//! a rate whatever the answers ([`open`]), and the highest rate that keeps a bound ([`highest_rate`]).
//! After MLPerf's LoadGen (arXiv:1911.02549), scenarios Offline and Server.
//!
//! Speaks the API and knows nothing of how it is served. A request's time counts from when it was due,
//! not from when it was sent: a slow server cannot hide its latency by slowing the client down
//! (coordinated omission).

mod drive;
mod record;
mod search;
mod sender;

pub use drive::{closed, open};
pub use record::{Latency, Recorder, Report};
pub use search::{Search, highest_rate};
pub use sender::{Fate, Sender};
