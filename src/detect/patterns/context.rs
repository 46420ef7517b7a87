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
    /// Days of a life that are not its first.
    Event,
    Wallet,
    Network,
    Secret,
    Password,
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
        r"cvv2?|cvc2?|csc|security code|card verification(?: value| code)?|pr[uü]fziffer|cryptogramme",
    ),
    (
        Topic::Bank,
        r"(?:(?:bank|checking|savings|current|deposit|payroll)[ _-]?)?account(?:[ _-]?(?:numbers?|no\.?|nr\.?|id|#))?|acct\.?(?:[ _-]?(?:no\.?|#|num(?:ber)?))?|a/c(?: no\.?)?|sort[ _-]?code|(?:bank )?routing(?:[ _-]?(?:transit )?(?:numbers?|no\.?))?|transit(?: number)?|aba|rtn|iban|bban|bic|swift|bsb|clabe|ifsc|direct deposit|wire(?:d)? to|konto(?:nummer|-?nr\.?)?|bankleitzahl|blz|num[eé]ro de (?:compte|cuenta)|compte(?: bancaire)?|rib|cuenta(?: (?:bancaria|corriente))?|conto(?: corrente)?|conta(?: (?:banc[aá]ria|corrente))?|ag[eê]ncia|(?:bank)?rekening(?:nummer)?|(?:numer )?(?:konta|rachunku)(?: bankowego)?|kontonummer|tilinumero",
    ),
    (
        Topic::Ssn,
        r"ssns?|social security(?: (?:number|no\.?|#))?|soc\.? sec\.?|social insurance(?: number)?|itin",
    ),
    (
        Topic::NationalId,
        r"id[ _-]?cards?(?: (?:number|no\.?))?|identity (?:card|number|document)|identification number|national[ _-]?id(?:entity|entification)?(?: number)?|national insurance(?: (?:number|no\.?))?|ni number|nino|dni|nie|nif|nir|cpf|bsn|pesel|aadhaar|aadhar|codice fiscale|personnummer|personalausweis(?:nummer)?|ausweis(?:nummer)?|steuer-?id(?:entifikationsnummer)?|tax id|num[eé]ro de s[eé]curit[eé] sociale|carte d'identit[eé]|burgerservicenummer|dow[oó]d(?:u)? osobist(?:y|ego)|c[eé]dula|curp|sin|ahv|avs|nric|fin|hetu|henkil[oö]tunnus|(?:tc |t\.c\. )?kimlik(?: no\.?)?|rodn[eé] [cč][ií]slo|isikukood|kennitala|svnr|rut|ein (?:number|no\.?)|マイナンバー|身份证号?码?|pan (?:card|number)",
    ),
    (
        Topic::Passport,
        r"(?:e-?)?passports?(?:[ _-]?(?:numbers?|no\.?|num|id|#))?|travel doc(?:ument)?(?: (?:number|no\.?))?|passeport|reisepass(?:nummer|-?nr\.?)?|pasaporte|passaporto|passaporte|pa[sš]aport|paspoort(?:nummer)?|paszport(?:u)?|pass(?:port)?[ -]?(?:nummer|nr\.?)|passnummer|паспорта?|护照(?:号码?)?|パスポート|여권",
    ),
    (
        Topic::Licence,
        r"driv(?:er(?:['’]?s)?|ing)[ _-]?(?:licen[cs]e|permit|lic\.?)(?:[ _-]?(?:numbers?|no\.?|num|id|#))?|licen[cs]e(?: (?:numbers?|no\.?|id|#)|#)?|(?:state|operator['’]?s?) licen[cs]e|learner['’]?s? permit|dln?(?: ?(?:numbers?|no\.?|#))?|(?:num[eé]ro (?:de|du) )?permis(?: de conduire)?|f[uü]hrerschein(?:nummer|-?nr\.?)?|(?:licencia|permiso|carn[eé]) de conduc(?:ir|ci[oó]n)|patente(?: di guida)?|rijbewijs(?:nummer)?|praw(?:o|a) jazdy|carta de condu[cç][aã]o|cnh|k[oö]rkort(?:snummer)?|водительск(?:ое|ого) удостоверени[ея]|驾照|駕照",
    ),
    (
        Topic::Medical,
        r"mrn|medical record(?: (?:number|no\.?|#))?|patient[ _-]?(?:id|number|no\.?)|health (?:card|insurance)(?: (?:number|no\.?|id))?|(?:insurance )?member[ _-]?id|insurance (?:id|number|no\.?|policy)|nhs(?: (?:number|no\.?))?|medicare(?: (?:number|no\.?))?|npi|versichertennummer",
    ),
    (
        Topic::Birth,
        r"born(?: on| in)?|dob|d\.o\.b\.?|b\.|date[ _-]of[ _-]birth|birth[ _-]?(?:date|day)|b-?day|birth|geboren(?: am| op)?|geburtsdatum|geburtstag|geb\.?(?:[ -]?dat(?:um|\.))?|n[eé]e? le|date de naissance|fecha de nacimiento|nacid[oa](?: el)?|nacimiento|nat[oa] il|data di nascita|data de nascimento|nascid[oa](?: em)?|nasciment?o|geboortedatum|urodzon[ya](?: dnia)?|data urodzenia|f[oö]dd|f[oö]delse(?:dag|datum|sdato)|syntym[aä]aika|дата рождения|родил(?:ся|ась)|生年月日|出生日期|생년월일",
    ),
    (
        Topic::Event,
        r"died|death|deceased|passed away|buried|married|wedding|divorced|baptised|baptized|joined|hired|graduated|enrolled|founded|established|published|released|launched|retired|appointed|elected|emigrated|gestorben|verstorben|verheiratet|d[eé]c[eé]d[eé]e?|mari[eé]e?|falleci(?:do|da|[oó])|casad[oa]|mort[oa]|sposat[oa]|overleden|getrouwd|zm(?:ar[lł][ay]?)?",
    ),
    (
        Topic::Wallet,
        r"wallet|btc|bitcoin|eth|ethereum|crypto|usdt|litecoin|ltc|(?:deposit|payout|receiving) address|satoshi",
    ),
    (
        Topic::Network,
        r"ip(?:v[46])?(?: address)?|router|server|host|subnet|gateway|dns|mac(?: address)?|hwaddr|ether(?:net)?|bssid",
    ),
    (
        Topic::Secret,
        r"api[ _-]?keys?|access[ _-]?keys?|secret[ _-]?keys?|(?:client |shared )?secrets?|tokens?|bearer|credentials?|auth(?:orization)?|private[ _-]?key",
    ),
    (
        Topic::Password,
        r"passwords?|passwd|passphrase|passwort|kennwort|mot de passe|contrase[nñ]a|senha|wachtwoord|has[lł]o|l[oö]senord|пароль|密码|パスワード|비밀번호",
    ),
    (
        Topic::Version,
        r"versions?|ver\.?|v\.|releases?|build|firmware|kernel|driver|(?:up(?:grade|date)[ds]?|bump(?:ed|s)?)(?: [a-z]{1,12})?(?: from| to)?|oid|section|chapter|clause|§",
    ),
    (
        Topic::Other,
        r"orders?(?: (?:number|no\.?|id|#))?|invoices?(?: (?:number|no\.?|id|#))?|tickets?|tracking(?: (?:number|no\.?|id))?|ref(?:erence)?|isbn(?:-1[03])?|issn|doi|sku|serial(?: (?:number|no\.?))?|part (?:number|no\.?)|case (?:number|no\.?|id)|issue|commit|sha(?:1|256)?|md5|checksum|hash|digest|uuid|guid|session|request[ _-]id|trace[ _-]id|order_id|customer (?:number|no\.?|id)|expires?|expiry|(?:licen[cs]e|number) (?:plates?|keys?|fees?)|issued|valid (?:until|thru)|timestamp|offset|pid|bytes|vat|(?:function|system|api|method|procedure|tool) calls?|call (?:id|stack|graph|site|depth|count)|(?:aws|azure|gcp|google|github|gitlab|twitter|service|iam)[ _-]accounts?(?:[ _-]?id)?|current account (?:deficit|surplus)|account (?:balance|manager|executive)|routing tables?",
    ),
];
