//! Telephone numbers: the international plan (E.164) and the North American one.

use super::rule::{Shape, Site};

/// Calling codes of the first one or two digits; all others have three.
const ONE_DIGIT: [u32; 2] = [1, 7];
const TWO_DIGITS: [u32; 44] = [
    20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56,
    57, 58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
];
/// Codes of three digits that are not given out.
const UNUSED: [u32; 20] = [
    210, 214, 215, 217, 219, 259, 384, 693, 694, 695, 696, 697, 698, 699, 851, 854, 857, 858, 859,
    999,
];

/// A number in international form, its digits without the `+` or `00`: a calling code that is in use
/// and at most 15 digits in all.
pub(super) fn international(site: &Site<'_>) -> Shape {
    let digits = dialled(site);
    let digits = digits.strip_prefix(&[0, 0]).unwrap_or(&digits);
    let code = |n: usize| digits.iter().take(n).fold(0, |sum, d| 10 * sum + d);
    let known = ONE_DIGIT.contains(&code(1))
        || TWO_DIGITS.contains(&code(2))
        || (matches!(code(1), 2 | 3 | 4 | 5 | 6 | 8 | 9) && !UNUSED.contains(&code(3)));
    let north_american = code(1) != 1 || digits.len() == 11;
    let length = (8..=15).contains(&digits.len());
    let counted = site.is_decimal() || site.is_counted();
    Shape::plain_if(known && north_american && length && !counted && balanced(site) && ends(site))
}

/// Five pairs, which alone are no number where they stand in a row of more, or ascend as numbers do that are
/// counted or drawn.
pub(super) fn pairs(site: &Site<'_>) -> Shape {
    let last = site.text.get(site.text.len().saturating_sub(2)..);
    let drawn = site.ascends(false) && last.is_some_and(|last| last < "51");
    match !site.told
        && (site.row(2).iter().any(|side| !side.is_empty()) || site.ascends(true) || drawn)
    {
        true => Shape::Wrong,
        false => national(site),
    }
}

/// A North American number: proven if area and exchange may be given out and are not fictitious.
pub(super) fn north_american(site: &Site<'_>) -> Shape {
    let digits = dialled(site);
    let ten = match digits.as_slice() {
        [1, ten @ ..] if ten.len() == 10 => ten,
        ten => ten,
    };
    if ten.len() != 10 || !balanced(site) || !ends(site) {
        return Shape::Wrong;
    }
    let given = |first: Option<&u32>| first.is_some_and(|&d| d >= 2);
    Shape::proven_if(given(ten.first()) && given(ten.get(3)))
}

/// A number in national form: 7 to 13 digits, brackets in pairs, no date.
pub(super) fn national(site: &Site<'_>) -> Shape {
    let digits = dialled(site);
    let varied = digits.iter().any(|d| Some(d) != digits.first());
    let groups: Vec<&str> = site.text.split(['-', '.', '/']).collect();
    let date = match groups.as_slice() {
        [year, month, day] => {
            let day = day.split(' ').next().unwrap_or_default();
            year.len() == 4 && month.len() <= 2 && day.len() <= 2
                || month.len() <= 2 && year.len() <= 2
        }
        [from, to] => [from, to]
            .iter()
            .all(|y| y.len() == 4 && (y.starts_with("19") || y.starts_with("20"))),
        _ => false,
    };
    let used = site.is_decimal() || site.is_argument() || site.is_counted();
    let address = site.text.parse::<std::net::Ipv4Addr>().is_ok();
    Shape::plain_if(
        varied
            && !date
            && !used
            && !address
            && (7..=13).contains(&digits.len())
            && balanced(site)
            && ends(site),
    )
}

/// The digits before an extension (`x12`, `ext. 12`).
fn dialled(site: &Site<'_>) -> Vec<u32> {
    let number = site
        .text
        .split(['x', 'X', 'e', 'E'])
        .next()
        .unwrap_or_default();
    number.chars().filter_map(|c| c.to_digit(10)).collect()
}

fn balanced(site: &Site<'_>) -> bool {
    site.text.matches('(').count() == site.text.matches(')').count()
}

/// Whether nothing that belongs to a number or an identifier goes on where the match ends.
fn ends(site: &Site<'_>) -> bool {
    !site.inside_number()
        && !matches!(
            site.before,
            Some('#' | '$' | '€' | '£' | '=' | '/' | '@' | '%' | '&')
        )
        || site.before == Some('=') && site.text.starts_with('+')
}
