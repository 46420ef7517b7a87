//! National identity numbers: their check digits.

use super::checks::luhn;
use super::rule::{Shape, Site};

/// The sum of digits times weights.
fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(d, w)| d * w).sum()
}

fn value(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |n, &d| 10 * n + u64::from(d))
}

/// Check digits are weighed for numbers that stand alone and are not one digit repeated.
fn alone(site: &Site<'_>, holds: impl FnOnce(&[u32]) -> bool) -> Shape {
    let digits = site.digits();
    let varied = digits.iter().any(|d| Some(d) != digits.first());
    if !varied || site.inside_number() {
        Shape::Wrong
    } else {
        Shape::proven_if(holds(&digits))
    }
}

/// UK national insurance number: prefixes that are given out.
pub(super) fn nino(site: &Site<'_>) -> Shape {
    let prefix = site.text.get(..2).unwrap_or_default().to_ascii_uppercase();
    let unused = ["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"];
    Shape::plain_if(!unused.contains(&prefix.as_str()))
}

/// UK NHS number: modulus 11.
pub(super) fn nhs(site: &Site<'_>) -> Shape {
    alone(site, |d| match d {
        [head @ .., check] if d.len() == 10 => {
            (11 - weighted(head, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11 == *check
        }
        _ => false,
    })
}

/// Spanish DNI and NIE: the letter is the number modulo 23, a leading X, Y, Z read as 0, 1, 2.
pub(super) fn dni(site: &Site<'_>) -> Shape {
    let upper = site.text.to_ascii_uppercase();
    let digits: String = upper
        .replace('X', "0")
        .replace('Y', "1")
        .replace('Z', "2")
        .chars()
        .take(upper.len().saturating_sub(1))
        .filter(char::is_ascii_digit)
        .collect();
    let letter = digits
        .parse::<usize>()
        .ok()
        .and_then(|n| "TRWAGMYFPDXBNJZSQVHLCKE".chars().nth(n % 23));
    // The exponent of `1.38435736E+12`.
    match site.after == Some('+') || site.inside_number() {
        true => Shape::Wrong,
        false => Shape::proven_if(letter.is_some() && letter == upper.chars().next_back()),
    }
}

/// French NIR: the key is 97 less the number modulo 97, Corsica's 2A and 2B read as 19 and 18.
pub(super) fn nir(site: &Site<'_>) -> Shape {
    let plain = site
        .text
        .to_ascii_uppercase()
        .replace("2A", "19")
        .replace("2B", "18");
    let digits: Vec<u32> = plain.chars().filter_map(|c| c.to_digit(10)).collect();
    let Some((number, key)) = digits.split_at_checked(13) else {
        return Shape::Wrong;
    };
    if site.inside_number() {
        return Shape::Wrong;
    }
    Shape::proven_if(97 - value(number) % 97 == value(key))
}

/// German tax number: ISO 7064 modulus 11, 10, and one or two digits repeated among the first ten.
pub(super) fn steuer_id(site: &Site<'_>) -> Shape {
    alone(site, |d| {
        let Some((check, head)) = d.split_last() else {
            return false;
        };
        let mut product = 10;
        for digit in head {
            let sum = (digit + product) % 10;
            product = 2 * if sum == 0 { 10 } else { sum } % 11;
        }
        let mut seen = head.to_vec();
        seen.sort_unstable();
        seen.dedup();
        d.first() != Some(&0) && matches!(seen.len(), 8 | 9) && (11 - product) % 10 == *check
    })
}

/// Italian codice fiscale: the last letter is a sum over odd and even places.
pub(super) fn codice_fiscale(site: &Site<'_>) -> Shape {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let values = site.text.chars().filter_map(|c| match c.to_digit(36)? {
        v @ 0..10 => Some(v),
        v => Some(v - 10),
    });
    let sum: u32 = values
        .enumerate()
        .take(15)
        .map(|(i, v)| match i % 2 {
            0 => ODD.get(v as usize).copied().unwrap_or_default(),
            _ => v,
        })
        .sum();
    let last = site.text.chars().next_back().and_then(|c| c.to_digit(36));
    Shape::proven_if(last == Some(10 + sum % 26))
}

/// Brazilian CPF: two digits modulo 11.
pub(super) fn cpf(site: &Site<'_>) -> Shape {
    fn digit(d: &[u32], highest: u32) -> u32 {
        let sum: u32 = d.iter().zip((2..=highest).rev()).map(|(d, w)| d * w).sum();
        10 * sum % 11 % 10
    }
    alone(site, |d| match (d.get(..9), d.get(..10), d) {
        (Some(nine), Some(ten), [.., a, b]) => digit(nine, 10) == *a && digit(ten, 11) == *b,
        _ => false,
    })
}

/// Indian Aadhaar: Verhoeff's checksum.
pub(super) fn aadhaar(site: &Site<'_>) -> Shape {
    // Multiplication in the dihedral group of order 10.
    fn times(a: u32, b: u32) -> u32 {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => (a + b) % 5 + 5,
            (false, true) => (a - b) % 5 + 5,
            (false, false) => (a + 5 - b) % 5,
        }
    }
    const PERMUTATION: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    alone(site, |d| {
        let mut check = 0;
        for (place, &digit) in d.iter().rev().enumerate() {
            let permuted = (0..place % 8).fold(digit, |d, _| {
                PERMUTATION.get(d as usize).copied().unwrap_or_default()
            });
            check = times(check, permuted);
        }
        check == 0
    })
}

/// Polish PESEL: weights 1, 3, 7, 9, and a month that tells the century.
pub(super) fn pesel(site: &Site<'_>) -> Shape {
    alone(site, |d| {
        let month = value(d.get(2..4).unwrap_or_default()) % 20;
        let day = value(d.get(4..6).unwrap_or_default());
        weighted(d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
    })
}

/// Dutch BSN: the eleven test, the last digit counted negative.
pub(super) fn bsn(site: &Site<'_>) -> Shape {
    if site.is_argument() {
        return Shape::Wrong;
    }
    alone(site, |d| match d {
        [head @ .., last] if d.len() == 9 => {
            weighted(head, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 == *last
        }
        _ => false,
    })
}

/// Swedish personnummer: Luhn's checksum over the last ten digits, and a day.
pub(super) fn personnummer(site: &Site<'_>) -> Shape {
    alone(site, |d| {
        let ten = d.get(d.len().saturating_sub(10)..).unwrap_or_default();
        let month = value(ten.get(2..4).unwrap_or_default());
        let day = value(ten.get(4..6).unwrap_or_default());
        luhn(ten) && (1..=12).contains(&month) && (1..=31).contains(&day)
    })
}

/// Canadian SIN: Luhn's checksum.
pub(super) fn sin(site: &Site<'_>) -> Shape {
    alone(site, |d| luhn(d) && !matches!(d.first(), Some(0 | 8)))
}

/// Chinese resident identity number: ISO 7064 modulus 11, 2, with a day of birth.
pub(super) fn resident_id(site: &Site<'_>) -> Shape {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let digits = site.digits();
    let sum = weighted(&digits, &WEIGHTS);
    let check = "10X98765432".chars().nth((sum % 11) as usize);
    let last = site
        .text
        .chars()
        .next_back()
        .map(|c| c.to_ascii_uppercase());
    Shape::only_if(check == last && !site.inside_number())
}

/// Swiss AHV number: the checksum of EAN-13.
pub(super) fn ahv(site: &Site<'_>) -> Shape {
    alone(site, |d| {
        weighted(d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
    })
}

/// Singapore NRIC: a weighted sum modulo 11 picks the letter.
pub(super) fn nric(site: &Site<'_>) -> Shape {
    let upper = site.text.to_ascii_uppercase();
    let mut letters = upper.chars();
    let (first, last) = (letters.next(), letters.next_back());
    let offset = match first {
        Some('T' | 'G') => 4,
        _ => 0,
    };
    let table = match first {
        Some('S' | 'T') => "JZIHGFEDCBA",
        _ => "XWUTRQPNMLK",
    };
    let sum = offset + weighted(&site.digits(), &[2, 7, 6, 5, 4, 3, 2]);
    Shape::proven_if(last.is_some() && table.chars().nth((sum % 11) as usize) == last)
}

/// Finnish henkilötunnus: the number modulo 31 picks the last character.
pub(super) fn hetu(site: &Site<'_>) -> Shape {
    let digits = site.digits();
    let number = value(digits.get(..9).unwrap_or_default());
    let check = "0123456789ABCDEFHJKLMNPRSTUVWXY"
        .chars()
        .nth((number % 31) as usize);
    let last = site
        .text
        .chars()
        .next_back()
        .map(|c| c.to_ascii_uppercase());
    Shape::only_if(check == last)
}

/// Turkish identity number: two check digits.
pub(super) fn kimlik(site: &Site<'_>) -> Shape {
    alone(site, |d| match d {
        [head @ .., tenth, last] if d.len() == 11 && head.first() != Some(&0) => {
            let odd = weighted(head, &[7, 0, 7, 0, 7, 0, 7, 0, 7]);
            let even = weighted(head, &[0, 9, 0, 9, 0, 9, 0, 9, 0]);
            (odd + even) % 10 == *tenth && (head.iter().sum::<u32>() + tenth) % 10 == *last
        }
        _ => false,
    })
}

/// Chilean RUT: modulus 11, a K for 10.
pub(super) fn rut(site: &Site<'_>) -> Shape {
    let Some((number, check)) = site.text.rsplit_once('-') else {
        return Shape::Wrong;
    };
    let digits = number.chars().rev().filter_map(|c| c.to_digit(10));
    let weights = [2, 3, 4, 5, 6, 7].iter().cycle();
    let sum: u32 = digits.zip(weights).map(|(d, w)| d * w).sum();
    let expected = match 11 - sum % 11 {
        11 => "0".to_owned(),
        10 => "K".to_owned(),
        check => check.to_string(),
    };
    Shape::only_if(check.eq_ignore_ascii_case(&expected) && !site.inside_number())
}

/// Belgian national number: modulus 97 of the digits, behind a 2 for who was born from 2000 on.
pub(super) fn rijksregister(site: &Site<'_>) -> Shape {
    match alone(site, |d| {
        let (head, check) = d.split_at_checked(9).unwrap_or_default();
        let (head, check) = (value(head), value(check));
        check == 97 - head % 97 || check == 97 - (2_000_000_000 + head) % 97
    }) {
        Shape::Proven => Shape::Proven,
        _ => Shape::Wrong,
    }
}

/// Mexican CURP: a check digit over letters and digits.
pub(super) fn curp(site: &Site<'_>) -> Shape {
    const SIGNS: &str = "0123456789ABCDEFGHIJKLMN\u{d1}OPQRSTUVWXYZ";
    let upper = site.text.to_ascii_uppercase();
    let values = upper.chars().map(|c| SIGNS.chars().position(|s| s == c));
    let sum: usize = values
        .take(17)
        .zip((2..=18).rev())
        .map(|(v, w)| v.unwrap_or(0) * w)
        .sum();
    let check = upper.chars().next_back().and_then(|c| c.to_digit(10));
    Shape::proven_if(check == Some((10 - sum as u32 % 10) % 10))
}

#[cfg(test)]
mod tests {
    use super::super::rule::Check;
    use super::*;

    #[test]
    fn check_digits_agree_with_published_examples_and_catch_a_changed_digit() {
        let cases: [(Check, &str, &str); 19] = [
            (nhs, "943 476 5919", "943 476 5918"),
            (dni, "12345678Z", "12345679Z"),
            (dni, "X1234567L", "X1234568L"),
            (nir, "2 55 08 14 168 025 38", "2 55 08 14 168 026 38"),
            (steuer_id, "86095742719", "86095742718"),
            (codice_fiscale, "RSSMRA85T10A562S", "RSSMRA85T10A563S"),
            (cpf, "529.982.247-25", "529.982.247-26"),
            (aadhaar, "2341 2341 2346", "2341 2341 2347"),
            (pesel, "44051401359", "44051401358"),
            (bsn, "111222333", "111222334"),
            (personnummer, "811218-9876", "811218-9875"),
            (sin, "193-456-787", "193-456-788"),
            (resident_id, "11010519491231002X", "11010519491231003X"),
            (ahv, "756.9217.0769.85", "756.9217.0769.86"),
            (nric, "S1234567D", "S1234568D"),
            (kimlik, "10000000146", "10000000147"),
            (rut, "12.345.678-5", "12.345.678-6"),
            (rijksregister, "85.07.30-033.28", "85.07.30-033.29"),
            (curp, "HEGG560427MVZRRL04", "HEGG560427MVZRRL05"),
        ];
        let site = Site::of;
        for (check, good, bad) in cases {
            assert_eq!(check(&site(good)), Shape::Proven, "{good}");
            assert_ne!(check(&site(bad)), Shape::Proven, "{bad}");
        }
        assert_eq!(hetu(&site("131052-308T")), Shape::Proven);
        assert_eq!(hetu(&site("131052-308U")), Shape::Wrong);
    }
}
