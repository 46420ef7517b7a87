//! Checksums and structure of numbers, addresses and wallets.

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};
use sha3::Keccak256;

use super::rule::{Shape, Site};

/// Luhn's checksum (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match (place % 2, digit) {
            (0, d) => d,
            (_, d) if d > 4 => 2 * d - 9,
            (_, d) => 2 * d,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Payment cards: Luhn's checksum, and a length that the issuer's prefix has. What follows a slash is a card's
/// expiry or code.
pub(super) fn card(site: &Site<'_>) -> Shape {
    let digits = site.digits();
    let varied = digits.iter().any(|d| Some(d) != digits.first());
    let inside = site.after != Some('/') && site.inside_number();
    let counted = !site.told && (stands_in_row(site) || site.ascends(true));
    if !varied || !luhn(&digits) || inside || counted {
        Shape::Wrong
    } else {
        Shape::proven_if(is_issued(&digits))
    }
}

/// Whether an issuer gives out numbers of this beginning and length, one that is common.
fn is_issued(digits: &[u32]) -> bool {
    let prefix = digits.iter().take(4).fold(0, |n, d| 10 * n + d);
    let issuer = matches!(
        (prefix, digits.len()),
        (4000..=4999, 13 | 16 | 19)
            | (5100..=5599 | 2221..=2720, 16)
            | (3400..=3499 | 3700..=3799, 15)
            | (3000..=3059 | 3600..=3699 | 3800..=3999, 14..=19)
            | (3528..=3589, 16..=19)
            | (1800 | 2131, 15)
            | (6011 | 6440..=6599 | 6200..=6299 | 8100..=8199, 16..=19)
            | (5000..=5099 | 5600..=6999, 12..=19)
            | (2200..=2204, 16..=19)
    );
    issuer && !matches!(digits.len(), 12 | 13)
}

/// Whether a card's number stands in a row of groups of four digits: beside any group, or, where its issuer is
/// known, between two or beside several. Other cards are no such groups.
fn stands_in_row(site: &Site<'_>) -> bool {
    let is_card = |groups: &[&str]| {
        let digits: Vec<u32> = groups
            .concat()
            .chars()
            .filter_map(|c| c.to_digit(10))
            .collect();
        digits.len() == 16 && luhn(&digits) && is_issued(&digits)
    };
    let [mut front, mut behind] = site.row(4);
    if let Some(before) = front.get(..4) {
        let before: Vec<&str> = before.iter().rev().copied().collect();
        if is_card(&before) {
            front.clear();
        }
    }
    if behind.get(..4).is_some_and(is_card) {
        behind.clear();
    }
    match is_issued(&site.digits()) {
        true => front.len() + behind.len() > 1,
        false => front.len() + behind.len() > 0,
    }
}

/// A card whose issuer is known.
pub(super) fn proven_card(site: &Site<'_>) -> Shape {
    Shape::only_if(card(site) == Shape::Proven)
}

/// Lengths of IBANs by country, from the SWIFT registry.
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 \
     DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 \
     IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 \
     MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 \
     SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 ";

/// The length of a country's IBANs.
fn iban_length(country: [u8; 2]) -> Option<u8> {
    let entries = IBAN_LENGTHS.as_bytes().as_chunks::<5>().0;
    let at = entries.binary_search_by_key(&country, |&[a, b, ..]| [a, b]);
    let [_, _, tens, ones, _] = entries.get(at.ok()?)?;
    Some(10 * (tens - b'0') + (ones - b'0'))
}

/// How much of `text` is an IBAN by its country, if a group ends there; what follows may be words.
pub(super) fn iban_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let country = bytes
        .first_chunk::<2>()
        .map(|c| c.map(|b| b.to_ascii_uppercase()));
    let Some(known) = country.and_then(iban_length) else {
        return text.len();
    };
    let mut places = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| b.is_ascii_alphanumeric());
    let last = places.nth(usize::from(known) - 1);
    let end = last.map(|(at, _)| at + 1);
    let words = |end: &usize| {
        let behind = bytes.get(*end..).unwrap_or_default();
        behind.starts_with(b" ") || behind.iter().all(u8::is_ascii_alphabetic)
    };
    end.filter(words).unwrap_or(text.len())
}

/// IBAN: a country of the registry and the remainder 1 by 97; proven if the length is the country's.
pub(super) fn iban(site: &Site<'_>) -> Shape {
    let Some((&head, _)) = site.text.as_bytes().split_first_chunk::<4>() else {
        return Shape::Wrong;
    };
    let Some(known) = iban_length([head[0], head[1]].map(|b| b.to_ascii_uppercase())) else {
        return Shape::Wrong;
    };
    let length = site.text.bytes().filter(u8::is_ascii_alphanumeric).count();
    let whole = length == usize::from(known);
    let mut sum = 0u64;
    let mut read = |bytes: &[u8]| {
        for &byte in bytes {
            sum = match byte {
                b'0'..=b'9' => 10 * sum + u64::from(byte - b'0'),
                // Upper and lower case differ in one bit.
                _ if byte.is_ascii_alphabetic() => 100 * sum + u64::from((byte | 32) - b'a' + 10),
                _ => continue,
            };
            sum = if sum >> 50 == 0 { sum } else { sum % 97 };
        }
    };
    read(site.text.as_bytes().get(4..).unwrap_or_default());
    read(&head);
    match sum % 97 {
        // The remainder by 97 of its digits, letters read as 10 to 35 (ISO 7064), must be 1.
        1 => Shape::proven_if(whole),
        _ => Shape::Wrong,
    }
}

/// IPv4 in dotted form, no octet with a leading zero, not part of a longer dotted number, and no address
/// that every machine has: of itself, of none, of all, a mask. Proven where it does not stand like a version.
pub(super) fn ipv4(site: &Site<'_>) -> Shape {
    let dotted =
        matches!(site.after, Some('.' | '-')) && site.then.is_some_and(char::is_alphanumeric);
    let Ok(address) = site.text.parse::<Ipv4Addr>() else {
        return Shape::Wrong;
    };
    let mask = address.octets()[0] == 255 && (!address.to_bits()).wrapping_add(1).is_power_of_two();
    let common =
        address.is_loopback() || address.octets()[0] == 0 || address.is_broadcast() || mask;
    if site.before == Some('-') || dotted || common {
        return Shape::Wrong;
    }
    let compared = ["==", ">=", "<=", "~=", "~>", "!=", "^"];
    let front = site.front.trim_end_matches(' ');
    let joined = |sign: char| {
        let before = site.front.strip_suffix(sign);
        before.is_some_and(|front| front.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.'))
    };
    let below = |most: u8| address.octets().iter().all(|octet| *octet < most);
    let low = address.octets()[0] < 32 && !address.is_private();
    let version = compared.iter().any(|sign| front.ends_with(sign))
        || below(64) && !address.is_private()
        || low && [':', '/'].into_iter().any(joined)
        || joined('.');
    Shape::proven_if(!version)
}

/// IPv6: all eight groups, or an abbreviation of at least three groups with a digit among them.
pub(super) fn ipv6(site: &Site<'_>) -> Shape {
    let groups = || site.text.split(':').filter(|g| !g.is_empty()).count();
    let octets = || site.text.split(':').all(|g| g.len() == 2);
    let goes_on =
        site.after == Some(':') && site.then.is_some_and(|c| c.is_ascii_hexdigit() || c == ':');
    // A port may follow a whole address, more octets a row of them.
    if goes_on && (site.then == Some(':') || octets() || groups() < 8) {
        return Shape::Wrong;
    }
    let short = || {
        site.text
            .split(':')
            .all(|g| g.len() < 3 && g.bytes().all(|b| b.is_ascii_digit()))
    };
    match (site.text.parse::<Ipv6Addr>().is_ok(), groups()) {
        (false, _) => Shape::Wrong,
        // A ratio or a time.
        (true, 8) if short() => Shape::Wrong,
        (true, 8) => Shape::Proven,
        (true, groups) => {
            Shape::plain_if(groups >= 3 && site.text.contains(|c: char| c.is_ascii_digit()))
        }
    }
}

/// MAC addresses, not part of a longer row of octets such as a key's fingerprint; proven by a letter, since
/// times and ratios have none.
pub(super) fn mac(site: &Site<'_>) -> Shape {
    let goes_on =
        matches!(site.after, Some(':' | '-')) && site.then.is_some_and(|c| c.is_ascii_hexdigit());
    if goes_on {
        return Shape::Wrong;
    }
    let octets = site.text.split([':', '-']);
    let same = octets.clone().all(|o| Some(o) == octets.clone().next());
    match same {
        true => Shape::Wrong,
        false => Shape::proven_if(site.text.contains(|c: char| c.is_ascii_alphabetic())),
    }
}

/// E-mail: dots where they may stand, no file name (`icon@2x.png`), no remote of a repository.
pub(super) fn email(site: &Site<'_>) -> Shape {
    const FILES: [&str; 16] = [
        "png", "jpg", "jpeg", "gif", "svg", "webp", "js", "ts", "css", "scss", "json", "html",
        "md", "py", "lock", "zip",
    ];
    // As it stands, or as it stands in a query.
    let halves = site.text.rsplit_once('@');
    let escaped = || {
        let signs = ["%40", "\\u0040", "&#64;", "&#x40;"];
        signs.iter().find_map(|sign| site.text.rsplit_once(sign))
    };
    let Some((local, domain)) = halves.or_else(escaped) else {
        return Shape::Wrong;
    };
    let ending = domain
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let labels = domain
        .split('.')
        .all(|l| !l.starts_with('-') && !l.ends_with('-'));
    let remote = local == "git" && site.after == Some(':');
    Shape::plain_if(
        labels
            && !remote
            && !local.contains("..")
            && !local.ends_with('.')
            && !FILES.contains(&ending.as_str()),
    )
}

/// A URL whose host is no user: one with a password is left to the secrets, its host to the rules for
/// addresses.
pub(super) fn url(site: &Site<'_>) -> Shape {
    let host = site.text.split_once("://").map_or("", |(_, host)| host);
    let goes_on = |c: char| c.is_ascii_graphic() && !r#""'`<>()[]{},;:.|*_\"#.contains(c);
    let user = match site.after {
        Some(':') => site.then.is_some_and(|c| c.is_ascii_graphic()),
        after => after.is_some_and(goes_on),
    };
    Shape::plain_if((!user || host.contains(['/', '?', '#'])) && !is_namespace(host))
}

/// A URL without its scheme.
pub(super) fn www(site: &Site<'_>) -> Shape {
    Shape::plain_if(!is_namespace(site.text))
}

/// Whether a URL is the name of a language of markup, which leads to nobody.
fn is_namespace(host: &str) -> bool {
    const HOSTS: [&str; 10] = [
        "www.w3.org/",
        "json-schema.org/",
        "schemas.xmlsoap.org/",
        "schemas.microsoft.com/",
        "schemas.openxmlformats.org/",
        "schemas.android.com/",
        "www.sitemaps.org/schemas/",
        "ns.adobe.com/",
        "purl.org/",
        "xmlns.com/",
    ];
    HOSTS.iter().any(|name| host.starts_with(name))
}

/// Bitcoin addresses in base 58 with the checksum of a double SHA-256.
pub(super) fn base58check(site: &Site<'_>) -> Shape {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mixed = site.text.contains(|c: char| c.is_ascii_alphabetic()) && site.digits().len() >= 2;
    let mut bytes = [0u8; 25];
    for c in site.text.bytes() {
        let Some(mut carry) = ALPHABET.iter().position(|&a| a == c) else {
            return Shape::Wrong;
        };
        for byte in bytes.iter_mut().rev() {
            carry += 58 * usize::from(*byte);
            *byte = (carry % 256) as u8;
            carry /= 256;
        }
        if carry > 0 {
            return Shape::plain_if(mixed);
        }
    }
    let (payload, sum) = bytes.split_at(21);
    let digest = Sha256::digest(Sha256::digest(payload));
    if digest.starts_with(sum) {
        Shape::Proven
    } else {
        Shape::plain_if(mixed)
    }
}

/// Segwit addresses: the bech32 or bech32m checksum (BIP 173, BIP 350).
pub(super) fn bech32(site: &Site<'_>) -> Shape {
    const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATORS: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let lower = site.text.to_ascii_lowercase();
    if lower != site.text && site.text.to_ascii_uppercase() != site.text {
        return Shape::Wrong;
    }
    let Some((prefix, data)) = lower.rsplit_once('1') else {
        return Shape::Wrong;
    };
    let high = prefix.bytes().map(|b| u32::from(b) >> 5);
    let low = prefix.bytes().map(|b| u32::from(b) & 31);
    let values = data
        .chars()
        .filter_map(|c| ALPHABET.find(c))
        .map(|v| v as u32);
    let mut sum = 1u32;
    for value in high.chain([0]).chain(low).chain(values) {
        let top = sum >> 25;
        sum = (sum & 0x1ff_ffff) << 5 ^ value;
        for (bit, generator) in GENERATORS.iter().enumerate() {
            if top >> bit & 1 == 1 {
                sum ^= generator;
            }
        }
    }
    Shape::proven_if(sum == 1 || sum == 0x2bc8_30a3)
}

/// Ethereum addresses: the checksum that mixed case carries (EIP-55).
pub(super) fn eip55(site: &Site<'_>) -> Shape {
    let Some(hex) = site.text.get(2..) else {
        return Shape::Wrong;
    };
    let varied = hex.bytes().any(|b| Some(b) != hex.bytes().next());
    let lower = hex.to_ascii_lowercase();
    let digest = Keccak256::digest(lower.as_bytes());
    let agrees = hex.bytes().enumerate().all(|(i, c)| {
        let byte = digest.get(i / 2).copied().unwrap_or_default();
        let nibble = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
        !c.is_ascii_alphabetic() || c.is_ascii_uppercase() == (nibble > 7)
    });
    let mixed = hex != lower && hex.contains(|c: char| c.is_ascii_lowercase());
    if varied {
        Shape::proven_if(mixed && agrees)
    } else {
        Shape::Wrong
    }
}

/// US social security numbers: areas, groups and serials that are given out.
pub(super) fn ssn(site: &Site<'_>) -> Shape {
    let number = site.digits().iter().fold(0, |n, d| 10 * n + d);
    let (area, group, serial) = (number / 1_000_000, number / 10_000 % 100, number % 10_000);
    let given = !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0;
    let sample = matches!(number, 78_051_120 | 123_456_789 | 219_099_999);
    if sample || site.inside_number() {
        Shape::Wrong
    } else {
        Shape::proven_if(given)
    }
}

/// UK driving licences: proven if the digits are a day of birth, 50 added to a woman's month.
pub(super) fn dvla(site: &Site<'_>) -> Shape {
    let number =
        |range: std::ops::Range<usize>| -> Option<u32> { site.text.get(range)?.parse().ok() };
    let day = number(8..10).is_some_and(|day| (1..=31).contains(&day));
    let month = number(6..8).is_some_and(|month| matches!(month, 1..=12 | 51..=62));
    Shape::proven_if(day && month)
}

/// The second line of a passport's machine-readable zone, by its check digits (ICAO 9303-4).
pub(super) fn mrz(site: &Site<'_>) -> Shape {
    let digit = |range: std::ops::Range<usize>| {
        let field = site.text.get(range).unwrap_or_default().chars();
        let values = field.map(|c| c.to_digit(36).unwrap_or(0));
        values
            .zip([7, 3, 1].iter().cycle())
            .map(|(v, w)| v * w)
            .sum::<u32>()
            % 10
    };
    let holds = |field: std::ops::Range<usize>| {
        let check = site.text.get(field.end..=field.end);
        check.and_then(|c| c.parse().ok()) == Some(digit(field))
    };
    Shape::only_if(site.text.len() == 44 && holds(0..9) && holds(13..19) && holds(21..27))
}

/// A day that the calendar may have, in whichever order its numbers stand.
pub(super) fn date(site: &Site<'_>) -> Shape {
    let numbers: Vec<u32> = site
        .text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect();
    let possible = match *numbers.as_slice() {
        [year, month, day] if year > 31 => month_and_day(month, day) && lived_in(year),
        [a, b, year] => {
            (month_and_day(a, b) || month_and_day(b, a)) && (year < 100 || lived_in(year))
        }
        // The month is a word.
        [day, year] => (1..=31).contains(&day) && (year < 100 || lived_in(year)),
        _ => false,
    };
    // What follows a comma is the next field.
    let inside = site.after != Some(',') && site.inside_number();
    Shape::plain_if(possible && !inside)
}

fn month_and_day(month: u32, day: u32) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

fn lived_in(year: u32) -> bool {
    (1900..=2099).contains(&year)
}

/// A number on its own: not a part of a longer one, and not all one digit.
pub(super) fn number(site: &Site<'_>) -> Shape {
    let digits = site.digits();
    let varied = digits.iter().any(|d| Some(d) != digits.first());
    let used = site.is_argument() || site.is_counted();
    Shape::plain_if(varied && !used && !site.inside_number())
}

/// A number that is no part of a longer one, nor of code.
pub(super) fn alone(site: &Site<'_>) -> Shape {
    let used = site.is_argument() || site.is_counted();
    Shape::plain_if(!used && !site.inside_number())
}

/// An identifier of letters and digits, no social security number.
pub(super) fn identifier(site: &Site<'_>) -> Shape {
    let groups: Vec<usize> = site.text.split('-').map(str::len).collect();
    let digits = site.digits().len();
    let used = site.is_argument() || site.is_counted();
    Shape::plain_if(digits >= 4 && groups != [3, 2, 4] && !used && !site.inside_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_agree_with_published_examples() {
        let site = Site::of;
        assert_eq!(iban(&site("GB82 WEST 1234 5698 7654 32")), Shape::Proven);
        assert_eq!(iban(&site("GB82 WEST 1234 5698 7654 33")), Shape::Wrong);
        assert_eq!(
            base58check(&site("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")),
            Shape::Proven
        );
        assert_eq!(
            base58check(&site("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb")),
            Shape::Plain
        );
        for address in [
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ] {
            assert_eq!(bech32(&site(address)), Shape::Proven, "{address}");
        }
        assert_eq!(
            bech32(&site("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5")),
            Shape::Plain
        );
        assert_eq!(
            eip55(&site("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")),
            Shape::Proven
        );
        assert_eq!(
            eip55(&site("0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed")),
            Shape::Plain
        );
        assert_eq!(card(&site("4111 1111 1111 1111")), Shape::Proven);
        assert_eq!(card(&site("4111 1111 1111 1112")), Shape::Wrong);
    }
}
