//! Measures of detection quality on labelled data: what `portcullis eval` prints. A leaf.

mod data;
mod measures;
mod spans;

pub use data::{DataError, Row, Task, Truth, read};
pub use measures::{Binary, Point, ThresholdRow};
pub use spans::{LabelCounts, Span, SpanCounts};
