//! Detectors: what can be found, by which package and head, and how scores become evidence.

mod catalog;
mod probe;
mod scan;

pub use catalog::{Catalog, CatalogError, Detector, LoadedPackage, PackageSource};
pub use probe::ProbeError;
pub use scan::{Coverage, Evidence, SegmentScan};
