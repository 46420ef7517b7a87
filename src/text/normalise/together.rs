//! Further readings read as one where there are more of them than may be, as the lines of one text.

use super::Derived;
use super::map::MapBuilder;

/// Bytes of texts that are always read as one.
const LEAST: usize = 1024;

/// `derived`, by place, as about `most` texts: neighbours for which the same was undone are one.
pub(super) fn read(mut derived: Vec<Derived>, most: usize) -> Vec<Derived> {
    let bytes: usize = derived.iter().map(|d| d.text.len() + 1).sum();
    // Of two texts that follow one another, neither fits into the other's.
    let size = LEAST.max(bytes * 2 / most.max(1) + 1);
    derived.sort_by(|a, b| {
        (&a.transformations, a.range.start, a.range.end).cmp(&(
            &b.transformations,
            b.range.start,
            b.range.end,
        ))
    });
    let mut all: Vec<Derived> = Vec::new();
    let mut group: Vec<Derived> = Vec::new();
    let mut held = 0;
    for next in derived {
        let fits = held + next.text.len() < size;
        let alike = group
            .first()
            .is_none_or(|first| first.transformations == next.transformations);
        if !(fits && alike) {
            all.extend(one(std::mem::take(&mut group)));
            held = 0;
        }
        held += next.text.len() + 1;
        group.push(next);
    }
    all.extend(one(group));
    all
}

/// The texts of `group` as one, a line each.
fn one(group: Vec<Derived>) -> Option<Derived> {
    let mut rest = group.into_iter();
    let mut all = rest.next()?;
    let mut map = MapBuilder::default();
    map.appended(&all.map);
    let mut any = false;
    for next in rest {
        any = true;
        all.text.push('\n');
        map.changed(next.range.clone(), 1);
        all.text.push_str(&next.text);
        map.appended(&next.map);
        all.range.end = all.range.end.max(next.range.end);
    }
    if any {
        all.map = map.finish(all.range.end);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::super::Transformation::{Base64, Hex};
    use super::*;

    #[test]
    fn neighbours_are_one_and_each_keeps_its_place() {
        let derived = |at: usize, by| {
            let mut map = MapBuilder::default();
            map.changed(at..at + 8, 5);
            Derived {
                text: format!("text{}", at / 10),
                range: at..at + 8,
                map: map.finish_here(),
                transformations: vec![by],
            }
        };
        let found = vec![derived(30, Base64), derived(10, Base64), derived(20, Hex)];
        let read = read(found, 2);
        let texts: Vec<&str> = read.iter().map(|d| &*d.text).collect();
        assert_eq!(texts, ["text1\ntext3", "text2"]);
        assert_eq!(read[0].range, 10..38);
        assert_eq!(read[0].map.original(0..5), 10..18);
        assert_eq!(read[0].map.original(6..9), 30..38);
        assert_eq!(read[1].map.original(0..5), 20..28);
    }
}
