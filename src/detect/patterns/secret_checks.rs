//! Structure of keys, tokens and passwords.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::entropy::{Kinds, entropy, is_placeholder, is_random};
use super::rule::{Shape, Site};

/// What a key or token consists of.
pub(super) fn in_key(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"_.~+/=-".contains(&b)
}

/// What a password consists of: anything visible but quotes.
pub(super) fn in_password(b: u8) -> bool {
    b.is_ascii_graphic() && b != b'"' && b != b'\''
}

/// What a password without quotes begins with: no bracket or comma.
pub(super) fn begins_password(b: u8) -> bool {
    in_password(b) && !b",[\\]{}".contains(&b)
}

/// What a password consists of that nothing but a word announces: no comma and no hyphen either.
pub(super) fn in_announced(b: u8) -> bool {
    in_password(b) && b != b',' && b != b'-'
}

/// A token behind a vendor's prefix: not a placeholder, and varied enough to have been drawn.
pub(super) fn token(site: &Site<'_>) -> Shape {
    Shape::plain_if(entropy(site.text) >= 2.8 && !is_placeholder(site.text))
}

/// AWS access key id: proven if in base 32, as all real ones are.
pub(super) fn aws_key_id(site: &Site<'_>) -> Shape {
    let tail = site.text.get(4..).unwrap_or_default();
    let base32 = tail.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    match token(site) {
        Shape::Plain => Shape::proven_if(base32),
        shape => shape,
    }
}

/// GitHub and npm tokens: the last six characters are a CRC-32 of the rest in base 62.
pub(super) fn crc_token(site: &Site<'_>) -> Shape {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((_, secret)) = site.text.rsplit_once('_') else {
        return Shape::Wrong;
    };
    let Some((random, sum)) = secret.split_at_checked(secret.len().saturating_sub(6)) else {
        return Shape::Wrong;
    };
    let value = sum.bytes().try_fold(0u64, |n, b| {
        let digit = DIGITS.iter().position(|&d| d == b)?;
        Some(62 * n + digit as u64)
    });
    match token(site) {
        Shape::Plain => Shape::proven_if(value == Some(crc32fast::hash(random.as_bytes()).into())),
        shape => shape,
    }
}

/// A JSON web token: proven if its header decodes to an object with an algorithm.
pub(super) fn jwt(site: &Site<'_>) -> Shape {
    let header = site.text.split('.').next().unwrap_or_default();
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let object = decoded.trim_ascii();
    let names = |name: &[u8]| object.windows(name.len()).any(|w| w == name);
    let is_header = object.starts_with(b"{")
        && object.ends_with(b"}")
        && (names(b"\"alg\"") || names(b"\"enc\""));
    Shape::only_if(is_header)
}

/// A value under a name that says it is a key: drawn at random, and no path, address or code.
pub(super) fn assigned_key(site: &Site<'_>) -> Shape {
    let text = site.text;
    let kinds = Kinds::of(text);
    let mixed = kinds.digits >= 2 && (kinds.lower || kinds.upper)
        || kinds.digits == 1 && kinds.lower && kinds.upper;
    if !mixed || entropy(text) < 2.9 {
        return Shape::Wrong;
    }
    let code = text.contains(['(', ')', '[', '{', '<', '$', '/']) && !is_random(text)
        || text.contains("://")
        || text.contains("::")
        || text.contains("..");
    let words = text.contains(['.', '_', '-']) && kinds.digits < 4;
    Shape::plain_if(!code && !words && !is_placeholder(text) && !calls(site))
}

/// A random text with no name before it: mixed well, and neither a hash nor an identifier.
pub(super) fn random_key(site: &Site<'_>) -> Shape {
    let text = site.text;
    let kinds = Kinds::of(text);
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let path =
        text.contains("..") || text.matches(['/', '-', '_']).count() > 3 || text.contains("//");
    let mixed = kinds.lower && kinds.upper && kinds.digits >= 2 || kinds.digits >= 4;
    Shape::plain_if(is_random(text) && !hex && !path && mixed && !calls(site))
}

/// A quoted value of a password: anything but a placeholder, a sentence or a name of code.
pub(super) fn quoted_password(site: &Site<'_>) -> Shape {
    let text = site.text;
    let spaced = text.contains(' ') && !is_passphrase(text);
    let code = text.contains('(') && text.contains(')') && text.contains('.');
    let label = text.ends_with([':', '?']) || names_pass(site) && is_result(text);
    let part = site.front.ends_with("::") || is_figure(site);
    Shape::plain_if(
        !spaced
            && !part
            && !label
            && (!code && !is_placeholder(text) && !text.starts_with(['$', '%', '/', '#'])
                || strong(text)),
    )
}

/// A password without quotes: with a digit or a symbol, and no piece of code.
pub(super) fn bare_password(site: &Site<'_>) -> Shape {
    let text = site.text;
    let kinds = Kinds::of(text);
    let called = (text.contains('(') && (text.ends_with(')') || text.ends_with("),")))
        && kinds.digits < 2
        || is_expression(text)
        || text.contains("()")
        || text.contains("](")
        || text.contains("::")
        || text.contains("://")
        || calls(site);
    let member = text
        .split(['.', '[', '('])
        .all(|part| part.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_'));
    let reference = text.starts_with(['$', '<', '/', '|', '[', '{', '=', '>']) && !strong(text)
        || text.starts_with("${")
        || text.starts_with("os.")
        || text.starts_with("process.")
        || is_folder(site);
    let mixed =
        kinds.digits >= 1 || kinds.symbols && text.len() >= 8 && (kinds.lower || kinds.upper);
    Shape::plain_if(
        !called
            && !member
            && !reference
            && mixed
            && !is_date(text)
            && !is_figure(site)
            && !is_placeholder(text),
    )
}

/// The content of an element that a password's name opens: one that is closed.
pub(super) fn element_password(site: &Site<'_>) -> Shape {
    match (site.after, site.then) {
        (Some('<'), Some('/')) => bare_password(site),
        _ => Shape::Wrong,
    }
}

/// A password that is all there is in a cell of a table, and no type of a column.
pub(super) fn cell_password(site: &Site<'_>) -> Shape {
    let closes = |c: Option<char>| c.is_none_or(|c| ",;|\t\r\n\"'`".contains(c));
    let whole = closes(site.after) || site.after == Some(' ') && closes(site.then);
    match whole && !site.text.ends_with(')') {
        true => announced_password(site),
        false => Shape::Wrong,
    }
}

/// A password on a line of its own below its name.
pub(super) fn password_line(site: &Site<'_>) -> Shape {
    match site.after {
        None | Some('\r' | '\n' | '`' | '\\') if !site.text.ends_with(':') => {
            announced_password(site)
        }
        _ => Shape::Wrong,
    }
}

/// A password that a phrase gives: with a digit, or of several kinds of characters.
pub(super) fn said_password(site: &Site<'_>) -> Shape {
    match bare_password(site) {
        Shape::Plain => {
            let long = site.text.len() >= 6 && Kinds::of(site.text).digits >= 1;
            Shape::plain_if(long || strong(site.text))
        }
        shape => shape,
    }
}

/// A password that nothing but a word before it announces: of at least two kinds of characters beside
/// lower case. "Pass" alone is a verb.
pub(super) fn announced_password(site: &Site<'_>) -> Shape {
    let text = site.text;
    let named = |side: &str| side.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    let option = text
        .split_once('=')
        .is_some_and(|(name, value)| named(name) && named(value));
    match bare_password(site) {
        Shape::Plain => Shape::plain_if(
            strong(text) && !option && !text.starts_with(['(', '[', '{']) && !names_pass(site),
        ),
        shape => shape,
    }
}

/// The user and password of a connection string or a command.
pub(super) fn userinfo(site: &Site<'_>) -> Shape {
    let text = site.text;
    let variable = text.starts_with(['$', '%', '{', '<', '['])
        && (text.ends_with(['}', '>', ']', '%']) || text.starts_with("${"))
        || text.starts_with('$')
            && text
                .bytes()
                .skip(1)
                .all(|b| b.is_ascii_uppercase() || b == b'_');
    let lower = text.to_ascii_lowercase();
    let stands_for = ["password", "pass", "passwd", "pwd", "secret"].contains(&lower.as_str());
    let generic = is_placeholder(text) || stands_for;
    Shape::plain_if(!variable && !generic)
}

/// The password behind a user's name in a command: no group, no plain word.
pub(super) fn command_password(site: &Site<'_>) -> Shape {
    let kinds = Kinds::of(site.text);
    let letters = kinds.lower || kinds.upper;
    match userinfo(site) {
        Shape::Plain => Shape::plain_if(letters && (kinds.digits > 0 || kinds.symbols)),
        shape => shape,
    }
}

/// Key material: enough of it, and varied.
pub(super) fn key_block(site: &Site<'_>) -> Shape {
    let body = site.text.split("----").nth(2).unwrap_or_default();
    let material = body.bytes().filter(u8::is_ascii_alphanumeric).count();
    Shape::plain_if(material >= 24 && entropy(body) >= 3.0)
}

fn strong(text: &str) -> bool {
    let kinds = Kinds::of(text);
    let classes = [kinds.lower, kinds.upper, kinds.digits > 0, kinds.symbols];
    text.len() >= 6 && kinds.digits > 0 && classes.iter().filter(|&&c| c).count() >= 3
        || text.len() >= 8 && kinds.symbols && classes.iter().filter(|&&c| c).count() >= 3
}

/// Several words of which one mixes letters and digits; sentences do not.
fn is_passphrase(text: &str) -> bool {
    let mixed = |word: &str| {
        let kinds = Kinds::of(word);
        kinds.digits > 0 && (kinds.lower || kinds.upper)
    };
    let words = || text.split(' ');
    text.len() <= 40 && words().count() <= 5 && words().any(mixed) && strong(text)
}

/// Whether the name that gives the password is "pass", which is more often a verb or a result.
fn names_pass(site: &Site<'_>) -> bool {
    let name = site.whole.get(..5).unwrap_or_default();
    let (name, behind) = name.split_at_checked(4).unwrap_or_default();
    name.eq_ignore_ascii_case("pass") && !behind.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Whether the name that gives the password is short: "pass", "pwd", "pw", whatever stands before it.
fn names_shortly(site: &Site<'_>) -> bool {
    let length = site.whole.bytes().take_while(u8::is_ascii_alphabetic);
    let name = site.whole.get(..length.count()).unwrap_or_default();
    let name = name.to_ascii_lowercase();
    ["pass", "pwd", "pw"]
        .iter()
        .any(|short| name.ends_with(short))
}

/// The result of a test.
fn is_result(text: &str) -> bool {
    ["fail", "failed", "passed", "warn", "skip", "error"].contains(&&*text.to_ascii_lowercase())
}

/// A count, a share, a length or a version under a short name: `pass: 98.7%`, `pw: 120px`.
fn is_figure(site: &Site<'_>) -> bool {
    let number = site
        .text
        .trim_end_matches(|c: char| c.is_ascii_lowercase() || ",;%)}".contains(c));
    let unit = site.text.len() - number.len();
    let figures = number.bytes().filter(u8::is_ascii_digit).count();
    let only = number
        .bytes()
        .all(|b| b.is_ascii_digit() || b"./,+-".contains(&b));
    only && unit < 4 && (figures < 6 || number.contains('.')) && names_shortly(site)
}

/// A folder under a short name: `PWD=/home/ann`.
fn is_folder(site: &Site<'_>) -> bool {
    let text = site.text;
    let path = text.starts_with("~/")
        || text.starts_with('/')
        || text.get(1..3).is_some_and(|s| s == ":\\" || s == ":/");
    path && names_shortly(site)
}

/// A call or an index of what a name stands for: `args[1]`, `pw[:-1]`, `read(prompt,`.
fn is_expression(text: &str) -> bool {
    let goes_on = text.ends_with(',') && !text.contains(')');
    let text = text.trim_end_matches([';', ',']);
    let end = text
        .bytes()
        .position(|b| !b.is_ascii_alphabetic() && b != b'_' && b != b'.');
    let Some((name, rest)) = end.and_then(|end| text.split_at_checked(end)) else {
        return false;
    };
    let inside = |closing: char| {
        let inner = rest.get(1..).and_then(|rest| rest.split_once(closing));
        inner.is_none_or(|(_, behind)| !behind.contains(|c: char| c.is_ascii_alphanumeric()))
    };
    !name.is_empty()
        && match rest.as_bytes().first() {
            Some(b'[') => rest.contains(']') && inside(']'),
            Some(b'(') => {
                let argument = |b: u8| b.is_ascii_alphabetic() || b"_.,()'=".contains(&b);
                goes_on || name.contains(['_', '.']) && inside(')') || rest.bytes().all(argument)
            }
            _ => false,
        }
}

fn is_date(text: &str) -> bool {
    text.len() >= 6
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'/' | b'-' | b':' | b'.'))
        && text.contains(['/', '-', ':'])
}

/// Whether the match is the beginning of a call or an index: `get_password(`.
fn calls(site: &Site<'_>) -> bool {
    matches!(site.after, Some('(' | '['))
}
