//! Lines, each of which carries the code of the one before it and its own.

use std::path::Path;
use std::time::SystemTime;

use ring::hmac;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::record::Record;
use crate::ops::file::{FileError, secret};
use crate::package::hex;

/// What stands before a line's code.
const MAC: &str = ",\"mac\":\"";

/// A key for lines and one for texts: a text's digest must be no line's code, or whoever chooses a text could have
/// a line signed.
pub(super) struct Keys {
    pub(super) lines: hmac::Key,
    pub(super) texts: hmac::Key,
}

impl Keys {
    pub(super) fn read(file: Option<&Path>) -> Result<Self, FileError> {
        let secret = match file {
            None => b"portcullis".to_vec(),
            Some(file) => secret(file)?,
        };
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let of = |purpose: &[u8]| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, purpose).as_ref())
        };
        Ok(Self {
            lines: of(b"portcullis audit lines"),
            texts: of(b"portcullis audit texts"),
        })
    }
}

/// Where the next line goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// From 0.
    pub(super) seq: u64,
    /// The code of the line before; empty for the first.
    pub(super) previous: String,
}

impl Place {
    /// What its line begins with, and no other file does.
    pub(super) fn begin(&self) -> String {
        let (seq, previous) = (self.seq, &self.previous);
        format!("{{\"seq\":{seq},\"previous\":\"{previous}\",\"time\":\"")
    }

    /// Appends a record to `out` as the line of this place; gives the next one.
    pub(super) fn write(self, record: &Record, key: &hmac::Key, out: &mut Vec<u8>) -> Self {
        let time = prost_types::Timestamp::from(SystemTime::now());
        let body = format!("{}{time}\",{}", self.begin(), record.fields());
        let mac = hex(hmac::sign(key, body.as_bytes()).as_ref());
        out.extend_from_slice(body.as_bytes());
        out.extend_from_slice(format!("{MAC}{mac}\"}}\n").as_bytes());
        Self {
            seq: self.seq + 1,
            previous: mac,
        }
    }
}

/// A line that was read back, and whose code is right.
pub(super) struct Line {
    /// Where it says that it stands.
    pub(super) place: Place,
    pub(super) mac: String,
}

impl Line {
    pub(super) fn read(line: &str, key: &hmac::Key) -> Result<Self, &'static str> {
        let (body, rest) = line.rsplit_once(MAC).ok_or("is no record")?;
        let mac = rest.strip_suffix("\"}").ok_or("is no record")?;
        let code = hex(hmac::sign(key, body.as_bytes()).as_ref());
        if !bool::from(code.as_bytes().ct_eq(mac.as_bytes())) {
            return Err("was changed, or written with another key (is the key file the server's?)");
        }
        let read: Value = serde_json::from_str(&format!("{body}}}")).map_err(|_| "is no record")?;
        let place = Place {
            seq: read["seq"].as_u64().ok_or("is no record")?,
            previous: read["previous"].as_str().ok_or("is no record")?.to_owned(),
        };
        Ok(Self {
            place,
            mac: mac.to_owned(),
        })
    }

    /// Where the next one goes.
    pub(super) fn next(self) -> Place {
        Place {
            seq: self.place.seq + 1,
            previous: self.mac,
        }
    }
}
