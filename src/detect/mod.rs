//! Detectors: what can be found, by a head of a package, by patterns or by what normalisation undid,
//! and how scores become evidence.

mod catalog;
pub mod patterns;
mod probe;
mod scan;

pub use catalog::{
    Catalog, CatalogError, Detector, LoadedPackage, OBFUSCATION, PackageSource, Source,
};
pub use probe::ProbeError;
pub use scan::{Coverage, Evidence, SegmentScan};
