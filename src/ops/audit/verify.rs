//! Reading a trail to see whether it is whole.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::chain::{Keys, Line, Place};
use super::files::{MAX_LINE, open_all};
use crate::ops::file::FileError;

/// What a trail that is whole holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// How many records, those before `after` left out.
    pub records: u64,
    /// The code of the last one.
    pub last: String,
    /// Whether there is a beginning of another one, as while a server writes it.
    pub unfinished: bool,
}

/// Reads a trail from its first record to the last, in the files put aside and then the newest, and fails at the
/// first line that was changed, is missing or should not be there. With `after`, a code that is known from
/// before, the trail may begin anywhere up to that record, as where older files were taken away, and must hold it
/// or follow it.
pub fn verify(
    file: &Path,
    key_file: Option<&Path>,
    after: Option<&str>,
) -> Result<Whole, FileError> {
    let after = after.map(str::to_ascii_lowercase);
    let after = after.as_deref();
    if let Some(code) = after
        && !(code.len() == 64 && code.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        let problem = format!("{code:?} is no code of a record: 64 hexadecimal digits");
        return Err(FileError::new(file, problem));
    }
    let key = Keys::read(key_file)?.lines;
    let error = |path: &Path, e: &dyn std::fmt::Display| FileError::new(path, e);
    let files = open_all(file).map_err(|e| error(file, &e))?;
    // Once it is known.
    let mut expected = after.is_none().then(Place::default);
    let mut whole = Whole {
        records: 0,
        last: after.unwrap_or_default().to_owned(),
        unfinished: false,
    };
    let newest = files.len();
    let mut found = after.is_none();
    for (place, (path, file)) in files.into_iter().enumerate() {
        let mut lines = BufReader::new(file);
        for number in 1u64.. {
            let at =
                |problem: &dyn std::fmt::Display| error(&path, &format!("line {number} {problem}"));
            let mut line = String::new();
            let read = lines.by_ref().take(MAX_LINE).read_line(&mut line);
            if read.map_err(|e| at(&e))? == 0 {
                break;
            }
            let Some(line) = line.strip_suffix('\n') else {
                if line.len() as u64 == MAX_LINE {
                    return Err(at(&format!("is longer than {MAX_LINE} bytes")));
                }
                if place + 1 < newest {
                    return Err(at(&"was not written to its end"));
                }
                whole.unfinished = true;
                break;
            };
            let read = Line::read(line, &key).map_err(|e| at(&e))?;
            if let Some(place) = expected.filter(|place| *place != read.place) {
                let (seq, here) = (place.seq, read.place.seq);
                return Err(at(&format!("is record {here}; {seq} should be here")));
            }
            found |= after == Some(read.place.previous.as_str());
            if found {
                whole.records += 1;
                whole.last.clone_from(&read.mac);
            }
            expected = Some(read.next());
        }
    }
    // The record itself may be the last one.
    let ends_with = expected.is_some_and(|place| after == Some(place.previous.as_str()));
    match found || ends_with {
        true => Ok(whole),
        false => Err(error(
            file,
            &"holds no record of that code, and does not follow it",
        )),
    }
}
