//! Rules for personal data.

use super::context::Topic::{
    Bank, Birth, Card, Cvv, Licence, Medical, NationalId, Network, Other, Passport, Phone, Ssn,
    Version, Wallet,
};
use super::rule::Start::{Address, Marked, Number, Token, Word};
use super::rule::{Rule, rule};
use super::{checks, ids, phone};

/// A month's name in the languages of Western Europe and in Polish, short or long.
macro_rules! month {
    () => {
        "(?i:jan|feb|f[eé]v|fev|mar|m[aä]r|mrt|apr|abr|avr|kwi|may|mai|maj|mei|mag|jun|jui|giu|cze|jul|lug|lip|\
         aug|ago|ao[uû]|sie|sep|set|wrz|oct|okt|out|ott|pa[zź]|nov|lis|dec|d[eé]c|dez|dic|gru|ene|gen|sty|lut)\
         [a-zA-Zà-ž]{0,8}"
    };
}

/// Digits of a telephone number with what may stand between two of them; `$n` digits after the first.
macro_rules! dialled {
    ($n:literal) => {
        concat!(r"[0-9](?:(?:[ ./-]|[ ./-]?[()][ ./-]?)?[0-9]){", $n, "}")
    };
}

/// An extension.
macro_rules! extension {
    () => {
        r"(?i: ?(?:x|ext\.? ?)[0-9]{1,6})"
    };
}

/// In order of preference where scores and lengths are equal.
pub(super) const RULES: &[Rule] = &[
    // Addresses of the net.
    rule("email", "EMAIL", Token, r"(?:(?:[A-Za-z0-9]{1,20}[._-])?[ODod]['’])?[A-Za-z0-9À-ɏ_%+.-]{1,64}(?:@|%40|\\u0040|&#(?:64|x40);)(?:[A-Za-z0-9À-ɏ-]+\.){1,6}[A-Za-z]{2,24}", 0.95)
        .check(checks::email, 0.0),
    rule("email-greek-cyrillic", "EMAIL", Token, r"[0-9_+.Ͱ-ԯ-]{1,64}@(?:[A-Za-z0-9Ͱ-ԯ-]+\.){1,6}[A-Za-zͰ-ԯ]{2,24}", 0.95)
        .check(checks::email, 0.0),
    rule("url", "URL", Marked, concat!(
        r"(?i:https?|ftp|wss?)://(?:[A-Za-z0-9_.~%+-]+@)?",
        r"(?:(?:[A-Za-z0-9_%-]+\.){1,16}[A-Za-z0-9_%-]*(?::[0-9]{1,5})?|[A-Za-z0-9_-]+:[0-9]{1,5}|(?i:localhost)|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?)",
        r#"(?:[/?#](?:(?:&amp;|[!-~--["'<>`{}|\\^,;()]]|\([!-~--["'<>`()]]*\))*(?:[A-Za-z0-9/_=#&%~+\-\]]|\([!-~--["'<>`()]]*\)))?)?"#), 0.95)
        .check(checks::url, 0.0),
    rule("url-www", "URL", Marked, r#"(?i:www)\.(?:[A-Za-z0-9-]+\.){1,6}[A-Za-z]{2,24}(?::[0-9]{1,5})?(?:[/?#](?:(?:&amp;|[!-~--["'<>`{}|\\^,;()]])*[A-Za-z0-9/_=#&%~+\-])?)?"#, 0.9)
        .check(checks::www, 0.0),
    rule("ipv4", "IP_ADDRESS", Number, r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", 0.4)
        .check(checks::ipv4, 0.6).near(&[Network], 0.6).unless(&[Version]).within(14),
    rule("ipv6", "IP_ADDRESS", Address, r"[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:::)?", 0.6)
        .check(checks::ipv6, 0.8).near(&[Network], 0.6),
    rule("mac", "MAC_ADDRESS", Address, r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}", 0.4)
        .check(checks::mac, 0.75).near(&[Network], 0.6),

    // Payment.
    rule("card-grouped", "CREDIT_CARD", Number, r"[0-9]{4}(?:-[0-9]{4}){3}|[0-9]{4}(?: [0-9]{4}){3}(?: [0-9]{3})?|[0-9]{4} [0-9]{6} [0-9]{4,5}|[0-9]{4}-[0-9]{6}-[0-9]{4,5}", 0.55)
        .check(checks::card, 0.9).near(&[Card, Cvv], 0.8).unless(&[Other]).looking().shorter(),
    // Behind its month of expiry, before a currency.
    rule("card", "CREDIT_CARD", Number, r"(?:(?:0[1-9]|1[0-2])/(?:20)?[23][0-9](?:/|[ ,;|]{1,2}))?([0-9]{12,19})(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|BRL|(?i:exp|cvv2?|cvc2?))?", 0.0)
        .check(checks::card, 0.7).near(&[Card, Cvv], 0.8).unless(&[Other]),
    rule("card-separated", "CREDIT_CARD", Number, r"[0-9]{4}(?:(?:/[0-9]{4}){3}|(?:\.[0-9]{4}){3})", 0.2)
        .check(checks::proven_card, 0.9),
    // Behind a name, or a `B` on a magnetic stripe.
    rule("card-joined", "CREDIT_CARD", Word, "(?:(?i:card|cc|visa|mastercard|amex)(?i:no|nr|num|number)?[:#=]?|B)([0-9]{12,19})", 0.2)
        .check(checks::proven_card, 0.9),
    rule("cvv", "CVV", Number, r"[0-9]{3,4}", 0.0)
        .check(checks::alone, 0.0).near(&[Cvv], 0.85).within(12),
    rule("iban", "IBAN", Word, r"[A-Za-z]{2}[0-9]{2}(?:[A-Za-z0-9]{11,30}|(?: [A-Za-z0-9]{4}){2,7}(?: [A-Za-z0-9]{1,8})?|(?:-[A-Za-z0-9]{4}){2,7}(?:-[A-Za-z0-9]{1,3})?)", 0.6)
        .check(checks::iban, 0.9).near(&[Bank], 0.5).long(checks::iban_end),
    rule("bank-account", "BANK_ACCOUNT", Number, r"[0-9]{6,17}|[0-9]{2,4}(?:[ -][0-9]{2,4}){2,4}|[0-9]{3,5}-[0-9]{4,10}(?:-[0-9]{1,2})?", 0.0)
        .check(checks::number, 0.0).near(&[Bank], 0.8).within(24).shorter(),
    rule("wallet-base58", "CRYPTO_WALLET", Token, r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", 0.2)
        .check(checks::base58check, 0.95).near(&[Wallet], 0.7),
    rule("wallet-bech32", "CRYPTO_WALLET", Token, r"(?i:bc|tb|ltc)1[ac-hj-np-zAC-HJ-NP-Z02-9]{25,87}", 0.7)
        .check(checks::bech32, 0.95).near(&[Wallet], 0.6),
    rule("wallet-eth", "CRYPTO_WALLET", Token, r"0[xX][0-9A-Fa-f]{40}", 0.7)
        .check(checks::eip55, 0.95).near(&[Wallet], 0.6),

    // Telephone.
    rule("phone-international", "PHONE", Number, concat!(r"\+", dialled!("6,16"), extension!(), "?"), 0.8)
        .check(phone::international, 0.0).near(&[Phone], 0.6).shorter(),
    rule("phone-international-00", "PHONE", Number, concat!("00", dialled!("7,16")), 0.2)
        .check(phone::international, 0.0).near(&[Phone], 0.85).shorter(),
    rule("phone-extension", "PHONE", Number, concat!(r"(?:(?:\+|00)?1[ .-])?(?:\([0-9]{3}\)[ .-]?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}", extension!()), 0.85)
        .check(phone::north_american, 0.3).near(&[Phone], 0.6),
    rule("phone-brackets", "PHONE", Number, r"(?:1[ .-])?\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}", 0.65)
        .check(phone::north_american, 0.3).near(&[Phone], 0.6),
    rule("phone-nanp", "PHONE", Number, r"(?:1[ .-])?[0-9]{3}[.-][0-9]{3}[.-][0-9]{4}|1[ .-][0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}", 0.4)
        .check(phone::north_american, 0.35).near(&[Phone], 0.7).unless(&[Other]),
    rule("phone-trunk-brackets", "PHONE", Number, r"\((?:0[0-9]{1,4}|[1-9][0-9])\)[ .-]{0,2}[0-9]{3,5}(?:[ .-]?[0-9]{3,4}){1,2}", 0.65)
        .check(phone::national, 0.0).near(&[Phone], 0.6).unless(&[Other]).shorter(),
    rule("phone-pairs", "PHONE", Number, r"0[1-9](?:(?: [0-9]{2}){4}|(?:\.[0-9]{2}){4}|(?:-[0-9]{2}){4})", 0.75)
        .check(phone::pairs, 0.0).near(&[Phone], 0.6).unless(&[Other]),
    rule("phone-national", "PHONE", Number, concat!(r"\(?", dialled!("6,12"), extension!(), "?"), 0.0)
        .check(phone::national, 0.0).near(&[Phone], 0.85).within(32).shorter(),

    // Numbers of persons, by country.
    rule("us-ssn", "SSN", Number, "[0-9]{3}-[0-9]{2}-[0-9]{4}", 0.0)
        .check(checks::ssn, 0.65).near(&[Ssn, NationalId], 0.8).unless(&[Other]).then(Birth),
    rule("us-ssn-spaced", "SSN", Number, r"[0-9]{3} [0-9]{2} [0-9]{4}|[0-9]{3}\.[0-9]{2}\.[0-9]{4}|[0-9]{9}", 0.0)
        .check(checks::ssn, 0.3).near(&[Ssn], 0.85),
    rule("uk-nino", "NATIONAL_ID", Word, "(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z])(?:[0-9]{6}| ?[0-9]{2} [0-9]{2} [0-9]{2} ?)(?i:[A-D])", 0.7)
        .check(ids::nino, 0.0).near(&[NationalId], 0.7),
    rule("uk-nhs", "MEDICAL_ID", Number, "[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", 0.0)
        .check(ids::nhs, 0.3).near(&[Medical], 0.7).within(16),
    rule("es-dni", "NATIONAL_ID", Word, "[0-9]{8}-?(?i:[A-HJ-NP-TV-Z])|(?i:[XYZ])-?[0-9]{7}-?(?i:[A-HJ-NP-TV-Z])", 0.1)
        .check(ids::dni, 0.8).near(&[NationalId], 0.75),
    rule("fr-nir", "NATIONAL_ID", Number, "[1-478] [0-9]{2} (?:0[1-9]|1[0-2]|[2-9][0-9]) (?:[0-9]{2}|2[AaBb]) [0-9]{3} [0-9]{3} [0-9]{2}", 0.3)
        .check(ids::nir, 0.8).near(&[NationalId], 0.7),
    rule("fr-nir-plain", "NATIONAL_ID", Number, "[1-478][0-9]{2}(?:0[1-9]|1[0-2]|[2-9][0-9])(?:[0-9]{2}|2[AaBb])[0-9]{8}", 0.0)
        .check(ids::nir, 0.65).near(&[NationalId], 0.75),
    rule("de-steuer-id", "NATIONAL_ID", Number, "[1-9][0-9]{10}|[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}", 0.0)
        .check(ids::steuer_id, 0.35).near(&[NationalId], 0.75),
    rule("it-codice-fiscale", "NATIONAL_ID", Word, "(?i:[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z])", 0.55)
        .check(ids::codice_fiscale, 0.8).near(&[NationalId], 0.7),
    rule("br-cpf", "NATIONAL_ID", Number, r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", 0.55)
        .check(ids::cpf, 0.8).near(&[NationalId], 0.7),
    rule("br-cpf-plain", "NATIONAL_ID", Number, "[0-9]{11}", 0.0)
        .check(ids::cpf, 0.45).near(&[NationalId], 0.75),
    rule("in-aadhaar", "NATIONAL_ID", Number, "[2-9][0-9]{3}(?: [0-9]{4}){2}|[2-9][0-9]{11}", 0.0)
        .check(ids::aadhaar, 0.4).near(&[NationalId], 0.75),
    rule("pl-pesel", "NATIONAL_ID", Number, "[0-9]{11}", 0.0)
        .check(ids::pesel, 0.4).near(&[NationalId], 0.75),
    rule("nl-bsn", "NATIONAL_ID", Number, "[0-9]{9}", 0.0)
        .check(ids::bsn, 0.3).near(&[NationalId], 0.75),
    rule("se-personnummer", "NATIONAL_ID", Number, "(?:[0-9]{2})?[0-9]{6}[-+][0-9]{4}", 0.2)
        .check(ids::personnummer, 0.6).near(&[NationalId], 0.75),
    rule("ca-sin", "NATIONAL_ID", Number, "[1-79][0-9]{2}(?:-[0-9]{3}-| [0-9]{3} )[0-9]{3}", 0.0)
        .check(ids::sin, 0.4).near(&[NationalId, Ssn], 0.75),
    rule("cn-resident-id", "NATIONAL_ID", Number, "[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]", 0.0)
        .check(ids::resident_id, 0.9).near(&[NationalId], 0.7),
    rule("ch-ahv", "NATIONAL_ID", Number, r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}|756[0-9]{10}", 0.2)
        .check(ids::ahv, 0.8).near(&[NationalId], 0.7),
    rule("sg-nric", "NATIONAL_ID", Word, "[STFGstfg][0-9]{7}[A-Za-z]", 0.0)
        .check(ids::nric, 0.6).near(&[NationalId], 0.7),
    rule("fi-hetu", "NATIONAL_ID", Number, "(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", 0.2)
        .check(ids::hetu, 0.7).near(&[NationalId], 0.7),
    rule("tr-kimlik", "NATIONAL_ID", Number, "[1-9][0-9]{10}", 0.0)
        .check(ids::kimlik, 0.45).near(&[NationalId], 0.75),
    rule("cl-rut", "NATIONAL_ID", Number, r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", 0.3)
        .check(ids::rut, 0.6).near(&[NationalId], 0.7),
    rule("be-rijksregister", "NATIONAL_ID", Number, r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", 0.3)
        .check(ids::rijksregister, 0.8).near(&[NationalId], 0.7),
    rule("mx-curp", "NATIONAL_ID", Word, "(?i:[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[A-Z0-9][0-9])", 0.55)
        .check(ids::curp, 0.8).near(&[NationalId], 0.7),
    rule("national-id", "NATIONAL_ID", Word, "(?i:[A-Z]{0,5}[0-9]{6,12}[A-Z]?|[A-Z]{5}[0-9]{4}[A-Z])|[0-9]{1,4}(?:[ .-][0-9]{2,4}){2,6}|[0-9]{2}-[0-9]{7}", 0.0)
        .check(checks::identifier, 0.0).near(&[NationalId], 0.7).within(20).shorter(),

    // Papers and files.
    rule("passport", "PASSPORT", Word, "(?i:[A-Z]{0,3}[0-9]{6,9}[A-Z]?|[A-Z]{1,2} [0-9]{6,7}|[0-9]{2} [0-9]{7}|[0-9]{2} ?[A-Z]{2} ?[0-9]{5}|[A-Z][0-9]{2}[A-Z]{2}[0-9]{5}|[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{8}[0-9]?)", 0.0)
        .check(checks::identifier, 0.0).near(&[Passport], 0.8).within(40),
    rule("driver-license", "DRIVER_LICENSE", Word, r"(?i:[A-Z][0-9]{3}(?:[ -][0-9]{2,4}){2,4}|[A-Z][0-9]{4}[ -][0-9]{5}[ -][0-9]{5}|[A-Z]{1,2}[0-9]{5,14}[A-Z]?|[A-Z][0-9]{3}[A-Z0-9]{5}[0-9][A-Z0-9]|[0-9]{7,12}|[0-9]{2,3}(?: [0-9]{3}){2}|[0-9]{5}/[0-9]{2}/[0-9]{4}|[A-Z9]{5}[0-9]{6}[A-Z0-9]{5}(?: [0-9]{2})?)", 0.0)
        .check(checks::identifier, 0.0).near(&[Licence], 0.8).within(40),
    rule("driver-license-uk", "DRIVER_LICENSE", Word, "(?i:[A-Z9]{5}[0-9]{6}[A-Z9]{2}[0-9][A-Z]{2})", 0.55)
        .check(checks::dvla, 0.4).near(&[Licence], 0.8).unless(&[Other]),
    rule("driver-license-grouped", "DRIVER_LICENSE", Word, "(?i:[A-Z][0-9]{3}-[0-9]{4}-[0-9]{4}(?:-[0-9]{2})?|[A-Z][0-9]{3}-[0-9]{3}-[0-9]{2}-[0-9]{3}-[0-9]|[A-Z][0-9]{4}-[0-9]{5}-[0-9]{5})", 0.55)
        .check(checks::alone, 0.0).near(&[Licence], 0.8).unless(&[Other]),
    rule("passport-mrz", "PASSPORT", Word, "[A-Z0-9][A-Z0-9<]{8}[0-9][A-Z]{1,3}<{0,2}[0-9]{7}[MFX<][0-9]{7}[A-Z0-9<]{14}[0-9<][0-9]", 0.0)
        .check(checks::mrz, 0.95),
    rule("medical-record", "MEDICAL_ID", Word, "(?i:MRN)[-:#]?[0-9]{5,10}", 0.85)
        .near(&[Medical], 0.6),
    rule("medical-id", "MEDICAL_ID", Word, "(?i:[A-Z]{0,3})[0-9]{6,10}", 0.0)
        .check(checks::identifier, 0.0).near(&[Medical], 0.8).within(16),

    // Days of birth, which only their context tells from other days.
    rule("birth-numeric", "DATE_OF_BIRTH", Number, r"[0-9]{1,2}(?:/[0-9]{1,2}/|-[0-9]{1,2}-|\.[0-9]{1,2}\.|\. ?[0-9]{1,2}\. ?)(?:[0-9]{4}|[0-9]{2})", 0.0)
        .check(checks::date, 0.0).near(&[Birth], 0.85).within(48),
    rule("birth-iso", "DATE_OF_BIRTH", Number, "[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{4}[年년] ?[0-9]{1,2}[月월] ?[0-9]{1,2}[日일]", 0.0)
        .check(checks::date, 0.0).near(&[Birth], 0.85).within(48),
    rule("birth-day-month", "DATE_OF_BIRTH", Number, concat!(r"[0-9]{1,2}(?:st|nd|rd|th|er|º|\.)?[ -](?:de |of )?", month!(), r"(?:\.?,?[ -](?:de |del )?[0-9]{4}|-[0-9]{2})"), 0.0)
        .check(checks::date, 0.0).near(&[Birth], 0.85).within(48),
    rule("birth-compact", "DATE_OF_BIRTH", Number, "(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])", 0.0)
        .check(checks::alone, 0.0).near(&[Birth], 0.85).within(12),
    rule("birth-month-day", "DATE_OF_BIRTH", Word, concat!(month!(), r"\.? [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4}"), 0.0)
        .check(checks::date, 0.0).near(&[Birth], 0.85).within(48),
];
