//! Text: from a string to tokens and windows, and from label scores back to exact spans.
//!
//! A leaf: it knows no model, no device and no request. Positions are bytes of the original text
//! unless a name says otherwise.

mod decode;
mod format;
pub mod normalise;
mod pool;
mod position;
mod tokenize;
mod window;

pub use decode::{EntitySpan, TagScheme, TagSet, TagSetError};
pub use pool::{TokenizePool, TokenizePoolError};
pub use position::{Position, PositionIndex};
pub use tokenize::{TextTokenizer, TokenizedText, TokenizerError, least_tokens};
pub use window::{WindowPlan, WindowPlanError};
