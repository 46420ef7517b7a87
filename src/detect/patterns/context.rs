//! What the words before a value say it is.

/// What a text speaks about. The nearest topic to the left decides what a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Topic {
    Phone,
    Card,
    Cvv,
    Bank,
    Ssn,
    NationalId,
    Passport,
    Licence,
    Medical,
    Birth,
    Wallet,
    Network,
    Secret,
    Version,
    /// Numbers of no one: orders, tickets, hashes.
    Other,
}

/// The words of each topic: regular expressions, case-insensitive, that begin and end where a word
/// does (`_` and the humps of camel case count as such).
pub(super) const WORDS: &[(Topic, &str)] = &[
    (
        Topic::Phone,
        r"phones?|(?:tele|cell|mobile|smart)[ -]?phone|(?:cell|mobile|fax|whatsapp)?[ _-]?(?:phone[ _-]?)?(?:numbers?|no\.?) to (?:call|text|reach)|telephones?|tel|tel\.|call(?:ed|ing|s|back)?|ring(?: [a-z]{1,8}){0,2} back|mobile|cell|fax|whatsapp|sms|hotline|dial|text(?:ed)? (?:me|him|her|us|them)(?: at| on)?|contact(?: number)?|(?:my|her|his|their|our|your)(?: new)? number|reach(?: me| us| him| her)? (?:at|on)|[tmp]:|t[eé]l[eé]phone|t[eé]l[eé]fono|telefone|celular|m[oó]vil|cellulare|telefon|telefonnummer|handy(?:nummer)?|mobil(?:nummer)?|rufnummer|r[uü]ckruf|erreichen|appel(?:er|ez)|portable|bel me(?: op)?|telefoonnummer|numer telefonu|kom[oó]rka|ring mig|телефон|电话|手机|電話|전화",
    ),
    (
        Topic::Card,
        r"(?:credit|debit|bank|payment)[ _-]?cards?(?:[ _-]?(?:numbers?|no))?|cards?(?:[ _-]?(?:numbers?|no))?|cc(?:[ _-]?num(?:ber)?)?|visa|master ?card|amex|american express|kreditkarte|kartennummer|carte bancaire|tarjeta|cart[aã]o|carta di credito|creditcard|karta",
    ),
    (
        Topic::Cvv,
        r"cvv2?|cvc2?|csc|cid|security code|card verification(?: value| code)?|pr[uü]fziffer|cryptogramme",
    ),
    (
        Topic::Bank,
        r"(?:bank |checking |savings |current )?account (?:numbers?|no\.?|nr\.?|#)|bank account|acct\.?(?: no\.?| #| number)?|account[_-](?:number|no)|sort[ _-]?code|routing(?: (?:number|no\.?))?|aba|iban|bban|bic|kontonummer|bankleitzahl|num[eé]ro de compte|cuenta bancaria|conta banc[aá]ria",
    ),
    (
        Topic::Ssn,
        r"ssns?|social security(?: (?:number|no\.?|#))?|soc\.? sec\.?|social insurance(?: number)?|itin",
    ),
    (
        Topic::NationalId,
        r"id[ _-]?cards?(?: (?:number|no\.?))?|identity (?:card|number|document)|identification number|national[ _-]?id(?:entity|entification)?(?: number)?|national insurance(?: (?:number|no\.?))?|ni number|nino|dni|nie|nif|nir|cpf|bsn|pesel|aadhaar|aadhar|codice fiscale|personnummer|personalausweis(?:nummer)?|ausweis(?:nummer)?|steuer-?id(?:entifikationsnummer)?|tax id|num[eé]ro de s[eé]curit[eé] sociale|carte d'identit[eé]|burgerservicenummer|dow[oó]d(?:u)? osobist(?:y|ego)|c[eé]dula|curp|sin|ahv|avs|nric|fin|hetu|henkil[oö]tunnus|身份证号?码?|pan (?:card|number)",
    ),
    (
        Topic::Passport,
        r"passports?(?:[ _-]?(?:numbers?|no\.?|#))?|passeport|reisepass(?:nummer)?|pasaporte|passaporto|passaporte|paspoort(?:nummer)?|paszport(?:u)?|pass ?nummer|护照",
    ),
    (
        Topic::Licence,
        r"driv(?:er'?s?|ing) licen[cs]e(?: (?:number|no\.?|#))?|licen[cs]e (?:number|no\.?|#)|dl(?: ?(?:number|no\.?|#))?|permis de conduire|f[uü]hrerschein(?:nummer)?|licencia de conducir|patente(?: di guida)?|rijbewijs(?:nummer)?|prawo jazdy|carta de condu[cç][aã]o",
    ),
    (
        Topic::Medical,
        r"mrn|medical record(?: (?:number|no\.?|#))?|patient[ _-]?(?:id|number|no\.?)|health (?:card|insurance)(?: (?:number|no\.?|id))?|(?:insurance )?member[ _-]?id|insurance (?:id|number|no\.?|policy)|nhs(?: (?:number|no\.?))?|medicare(?: (?:number|no\.?))?|npi|versichertennummer",
    ),
    (
        Topic::Birth,
        r"born(?: on| in)?|dob|d\.o\.b\.?|date[ _-]of[ _-]birth|birth[ _-]?(?:date|day)|birth|geboren(?: am| op)?|geburtsdatum|geb\.|n[eé]e? le|date de naissance|fecha de nacimiento|nacid[oa](?: el)?|nacimiento|nat[oa] il|data di nascita|data de nascimento|nascid[oa](?: em)?|nasciment?o|geboortedatum|urodzon[ya](?: dnia)?|data urodzenia|f[oö]dd|f[oö]delse(?:dag|datum|sdato)|syntym[aä]aika|дата рождения|родил(?:ся|ась)|生年月日|出生日期|생년월일",
    ),
    (
        Topic::Wallet,
        r"wallet|btc|bitcoin|eth|ethereum|crypto|usdt|litecoin|ltc|(?:deposit|payout|receiving) address|satoshi",
    ),
    (
        Topic::Network,
        r"ip(?:v[46])?(?: address)?|router|server|host|subnet|gateway|dns",
    ),
    (
        Topic::Secret,
        r"api[ _-]?keys?|access[ _-]?keys?|secret[ _-]?keys?|(?:client |shared )?secrets?|tokens?|bearer|credentials?|auth(?:orization)?|private[ _-]?key",
    ),
    (
        Topic::Version,
        r"versions?|ver\.?|v\.|release|build|firmware|oid|section|chapter|clause|§",
    ),
    (
        Topic::Other,
        r"orders?(?: (?:number|no\.?|id|#))?|invoices?(?: (?:number|no\.?|id|#))?|tickets?|tracking(?: (?:number|no\.?|id))?|ref(?:erence)?|isbn(?:-1[03])?|issn|doi|sku|serial(?: (?:number|no\.?))?|part (?:number|no\.?)|case (?:number|no\.?|id)|issue|commit|sha(?:1|256)?|md5|checksum|hash|digest|uuid|guid|session|request[ _-]id|trace[ _-]id|order_id|customer (?:number|no\.?|id)|expires?|expiry|issued|valid (?:until|thru)|timestamp|offset|pid|bytes|vat",
    ),
];
