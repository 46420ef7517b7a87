//! What kind of character each character is, as far as normalisation cares.

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_security::confusable_detection::skeleton;

/// Kinds of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// Nothing to do: symbols, punctuation, digits, ideographs, emoji.
    Plain,
    /// An ASCII letter.
    Ascii,
    /// Another Latin letter.
    Latin,
    /// A Latin letter that is no accented one and looks like an ASCII letter (small capitals, IPA).
    LatinAlike,
    /// A letter of another alphabet that looks like an ASCII letter.
    Lookalike,
    /// Another letter of another alphabet.
    Foreign,
    /// A letter of a script that is shaped, stacked or written without spaces.
    Shaped,
    /// A mark that goes on letters of any script.
    Mark,
    /// A mark of one script.
    ScriptMark,
    /// Nothing is seen of it.
    Invisible,
    /// Zero-width joiner and non-joiner.
    Joiner,
    /// A place where a word may be broken.
    SoftHyphen,
    /// A direction mark, embedding or isolate.
    Bidi,
    /// A direction override.
    Override,
    /// A variation selector.
    Variation,
    /// A Unicode tag.
    Tag,
    /// A space other than U+0020, or a control that parts texts.
    Space,
    /// No character that anybody agreed on: private use, and what stands for a lost one.
    Blank,
    /// Another form of ordinary characters, which it is folded to.
    Compatible,
    /// A full-width sign of Chinese and Japanese text: folded after ASCII, kept elsewhere.
    EastAsian,
    /// A raised, lowered, squared or circled letter: folded in words, kept alone.
    Styled,
    /// A part of a Hangul syllable.
    Jamo,
}

impl Class {
    /// A letter of an alphabet.
    pub(super) fn is_alphabetic(self) -> bool {
        matches!(
            self,
            Self::Ascii | Self::Latin | Self::LatinAlike | Self::Lookalike | Self::Foreign
        )
    }

    /// What leaves no ink by itself.
    pub(super) fn is_hidden(self) -> bool {
        matches!(
            self,
            Self::Invisible
                | Self::Joiner
                | Self::SoftHyphen
                | Self::Bidi
                | Self::Override
                | Self::Variation
                | Self::Tag
        )
    }

    /// As one bit of a set.
    pub(super) fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Characters below this have their class and lookalike in a table.
const TABLE: u32 = 0x3000;

/// Classes, and lookalikes where there are.
type Tables = (Box<[Class]>, Box<[u8]>);

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let of = |code| char::from_u32(code).unwrap_or(' ');
    let alike: Box<[u8]> = (0..TABLE)
        .map(|code| find_lookalike(of(code)).unwrap_or(0))
        .collect();
    let class = (0..TABLE)
        .map(|code| find_class(of(code), || alike[code as usize] != 0))
        .collect();
    (class, alike)
});

/// The class of `c`.
pub(super) fn class(c: char) -> Class {
    match TABLES.0.get(c as usize) {
        Some(&class) => class,
        None => match c as u32 {
            0x3400..=0x9fff | 0xac00..=0xd7a3 | 0x1f000..=0x1f12f | 0x1f200..=0x1faff => {
                Class::Plain
            }
            _ => find_class(c, || lookalike(c).is_some()),
        },
    }
}

/// The ASCII letter that `c` looks like, after Unicode's table of confusables (UTS 39) and a few that
/// it takes for merely similar; accents are left out of account.
pub(super) fn lookalike(c: char) -> Option<u8> {
    match TABLES.1.get(c as usize) {
        Some(0) => None,
        Some(&letter) => Some(letter & !SIMILAR_ONLY),
        None => find_lookalike(c).map(|letter| letter & !SIMILAR_ONLY),
    }
}

/// Whether Unicode's table itself says that `c` looks like an ASCII letter.
pub(super) fn is_confusable(c: char) -> bool {
    let letter = TABLES
        .1
        .get(c as usize)
        .copied()
        .or_else(|| find_lookalike(c));
    letter.is_some_and(|letter| letter != 0 && letter & SIMILAR_ONLY == 0)
}

/// Set beside letters of [`SIMILAR`].
const SIMILAR_ONLY: u8 = 0x80;

/// Letters that UTS 39 does not fold as far as ASCII.
const SIMILAR: &str = "ᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpꞯqʀrꜱsᴛtᴜuᴠvᴡwʏyᴢzɑaɡgıiəeкkКKмmМMтtТTвbВBнhНHгrпnηnκkτtμmχxεeβbυuωwѡwԝwԛqԁdһhӏlзzχx";

fn find_lookalike(c: char) -> Option<u8> {
    if c.is_ascii() || !c.is_alphabetic() {
        return None;
    }
    let mut pairs = SIMILAR.chars();
    while let (Some(from), Some(to)) = (pairs.next(), pairs.next()) {
        if from == c {
            return Some(to as u8 | SIMILAR_ONLY);
        }
    }
    let mut buffer = [0; 4];
    let mut shape = skeleton(c.encode_utf8(&mut buffer)).filter(|c| !is_combining_mark(*c));
    let letter = match (shape.next()?, shape.next(), shape.next()) {
        ('r', Some('n'), None) => 'm',
        ('v', Some('v'), None) => 'w',
        ('l', None, None) if c.is_uppercase() => 'I',
        (letter, None, None) => letter,
        _ => return None,
    };
    let mut letter = letter.is_ascii_alphabetic().then_some(letter as u8)?;
    if c.is_lowercase() && letter.is_ascii_uppercase() {
        letter = letter.to_ascii_lowercase();
    }
    Some(letter)
}

fn find_class(c: char, alike: impl Fn() -> bool) -> Class {
    match c as u32 {
        0x41..=0x5a | 0x61..=0x7a => Class::Ascii,
        0x09 | 0x0a | 0x0d | 0x20..=0x7e => Class::Plain,
        0x0b | 0x0c | 0x1c..=0x1f => Class::Space,
        0xe000..=0xf8ff | 0xfffd | 0xf0000.. => Class::Blank,
        0xad => Class::SoftHyphen,
        0x85 | 0xa0 | 0x1680 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x205f | 0x2800 => {
            Class::Space
        }
        0x3000 | 0xff61..=0xff65 => Class::EastAsian,
        0xff01..=0xff5e if "！（），：；？～．｛｝［］｜％＆＋－／＝".contains(c) => {
            Class::EastAsian
        }
        0x00..=0x9f
        | 0x034f
        | 0x115f
        | 0x1160
        | 0x17b4
        | 0x17b5
        | 0x180e
        | 0x200b
        | 0x2060..=0x2064
        | 0x206a..=0x206f
        | 0x3164
        | 0xfeff
        | 0xffa0
        | 0xfff9..=0xfffb
        | 0x1d173..=0x1d17a => Class::Invisible,
        0x200c | 0x200d => Class::Joiner,
        0x61c | 0x200e | 0x200f | 0x202a..=0x202c | 0x2066..=0x2069 => Class::Bidi,
        0x202d | 0x202e => Class::Override,
        0x180b..=0x180d | 0x180f | 0xfe00..=0xfe0f | 0xe0100..=0xe01ef => Class::Variation,
        0xe0000..=0xe007f => Class::Tag,
        0x0300..=0x036f
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x20d0..=0x20e2
        | 0x20e4..=0x20f0
        | 0x3099
        | 0x309a
        | 0xfe20..=0xfe2f => Class::Mark,
        0x20e3 => Class::Plain, // keycap
        0x02b0..=0x02b8
        | 0x02e0..=0x02e4
        | 0x1d2c..=0x1d6a
        | 0x1d78
        | 0x1d9b..=0x1dbf
        | 0x2071
        | 0x207f
        | 0x2090..=0x209c
        | 0x1f130..=0x1f149
        | 0x1f150..=0x1f169
        | 0x1f170..=0x1f189 => Class::Styled,
        0x2460..=0x2468 | 0x24ea => Class::Styled,
        0x1100..=0x11ff => Class::Jamo,
        0x017f
        | 0x0132
        | 0x0133
        | 0x2160..=0x217f
        | 0x249c..=0x24e9
        | 0xfb00..=0xfdef
        | 0xfe50..=0xfe6b
        | 0xfe70..=0xfefc
        | 0xff01..=0xff9f
        | 0xffe0..=0xffe6
        | 0x1d400..=0x1d7ff => Class::Compatible,
        0x2100..=0x214f if c.is_alphabetic() && c.nfkc().all(|c| c.is_ascii_alphabetic()) => {
            Class::Compatible
        }
        0x3400..=0x9fff | 0xac00..=0xd7a3 => Class::Shaped,
        0xaa | 0xba => Class::Plain,
        0xb5 => Class::Plain,
        0xc0..=0x02af
        | 0x1d00..=0x1dbf
        | 0x1e00..=0x1eff
        | 0x2c60..=0x2c7f
        | 0xa722..=0xa7ff
        | 0xab30..=0xab6f
            if c.is_alphabetic() =>
        {
            let accented = c.nfd().nth(1).is_some();
            if !accented && alike() {
                Class::LatinAlike
            } else {
                Class::Latin
            }
        }
        0x0370..=0x058f
        | 0x10a0..=0x10ff
        | 0x13a0..=0x16ff
        | 0x1c80..=0x1cbf
        | 0x1f00..=0x1fff
        | 0x2c00..=0x2c5f
        | 0x2c80..=0x2d2f
        | 0xa4d0..=0xa4ff
        | 0xa640..=0xa69f
        | 0xab70..=0xabbf
        | 0x10280..=0x1044f
            if c.is_alphabetic() && !is_combining_mark(c) =>
        {
            if alike() {
                Class::Lookalike
            } else {
                Class::Foreign
            }
        }
        _ if decimal(c).is_some() => Class::Compatible,
        _ if is_combining_mark(c) => Class::ScriptMark,
        _ if c.is_alphabetic() => Class::Shaped,
        _ => Class::Plain,
    }
}

/// The ordinary letters of a compatible or styled character, as written to `out`.
pub(super) fn ordinary(c: char, out: &mut Vec<char>) {
    out.clear();
    let square = |first: u32| char::from_u32('A' as u32 + (c as u32 - first));
    match c as u32 {
        0x1f150..=0x1f169 => out.extend(square(0x1f150)),
        0x1f170..=0x1f189 => out.extend(square(0x1f170)),
        0x249c..=0x24b5 => out.extend(char::from_u32('a' as u32 + (c as u32 - 0x249c))),
        _ => match decimal(c) {
            Some(digit) => out.push(digit),
            None => out.extend(c.nfkc()),
        },
    }
}

/// Zeros of the decimal digits of scripts (general category Nd), of each of which nine more follow.
const ZEROS: [u32; 37] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
    0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0x104a0,
    0x1e950,
];

/// The ASCII digit that says the same as a decimal digit of another script.
fn decimal(c: char) -> Option<char> {
    let code = c as u32;
    let at = ZEROS.partition_point(|&zero| zero <= code);
    let zero = ZEROS.get(at.checked_sub(1)?)?;
    char::from_digit(code - zero, 10)
}

/// A mark that is struck through or put around a letter.
pub(super) fn is_stroke(mark: char) -> bool {
    canonical_combining_class(mark) == 1 || matches!(mark as u32, 0x20dd..=0x20e0 | 0x20e2..=0x20e4)
}

/// A mark that spells tones and sounds in living orthographies.
pub(super) fn is_ordinary_mark(mark: char) -> bool {
    matches!(mark as u32, 0x300..=0x304 | 0x306..=0x30c | 0x323..=0x328 | 0x32d..=0x331 | 0x3099 | 0x309a)
}
