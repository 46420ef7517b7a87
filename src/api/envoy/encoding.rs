//! Bodies that are compressed.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

/// How the bytes of a body are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are.
    Identity,
    /// gzip.
    Gzip,
    /// zlib, as HTTP's `deflate` is.
    Deflate,
}

impl Encoding {
    /// That of a `content-encoding` header; the header itself where it is none of these.
    pub(super) fn of_header(header: &str) -> Result<Self, &str> {
        let name = header.trim();
        match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            _ => Err(name),
        }
    }

    /// The bytes, up to `most` of them; none where there are more.
    pub(super) fn decode(self, bytes: &[u8], most: usize) -> io::Result<Option<Vec<u8>>> {
        let limit = most as u64 + 1;
        let mut out = Vec::new();
        match self {
            Self::Identity => bytes.take(limit).read_to_end(&mut out)?,
            Self::Gzip => MultiGzDecoder::new(bytes)
                .take(limit)
                .read_to_end(&mut out)?,
            Self::Deflate => ZlibDecoder::new(bytes).take(limit).read_to_end(&mut out)?,
        };
        Ok((out.len() <= most).then_some(out))
    }

    /// `bytes` in this encoding.
    pub(super) fn encode(self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(bytes),
            Self::Gzip => {
                let mut out = GzEncoder::new(Vec::new(), Compression::fast());
                out.write_all(&bytes)?;
                out.finish()
            }
            Self::Deflate => {
                let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
                out.write_all(&bytes)?;
                out.finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_bombs_are_not() {
        let zeros = vec![0; 1 << 20];
        for name in ["identity", "GZIP", "deflate"] {
            let encoding = Encoding::of_header(name).unwrap();
            let encoded = encoding.encode(zeros.clone()).unwrap();
            assert_eq!(
                encoding.decode(&encoded, 1 << 20).unwrap(),
                Some(zeros.clone())
            );
            assert_eq!(encoding.decode(&encoded, (1 << 20) - 1).unwrap(), None);
        }
        assert!(Encoding::Gzip.decode(b"no gzip", 100).is_err());
        assert_eq!(Encoding::of_header("br"), Err("br"));
    }
}
