//! Rules for secrets.

use super::context::Topic::{Other, Password, Secret};
use super::lexer::MAX_MATCH;
use super::rule::Start::{Anywhere, Marked, Number, Run, Token, Word};
use super::rule::{Rule, rule};
use super::secret_checks as checks;

const KEY: &str = "API_KEY";
const PASSWORD: &str = "PASSWORD";

/// What may stand between a name and its value: `: `, ` = "`, `":"`, `\": `, `=>`, ` := '`, `**: `, `:** `.
macro_rules! assigned {
    () => {
        r#"(?:\\{0,3}["'`]|[*_]{1,2})?\]?[ \t]{0,4}(?::|=|:=|=>|%3[Dd])(?:[*_]{1,2}[ \t])?[ \t]{0,4}"#
    };
}

/// What may stand between a name and its value where both are values themselves: `name="NAME" value="VALUE"`,
/// `"name": "NAME", "value": "VALUE"`, `name: NAME` above `value: VALUE`.
macro_rules! named {
    () => {
        r#"(?:\\{0,3}["'])?(?:,|[ \t])?(?:\r?\n)?[ \t]{0,12}(?:\\{0,3}["'])?value(?:\\{0,3}["'])?[ \t]{0,2}[:=][ \t]{0,2}(?:\\{0,3}["'`])?"#
    };
}

/// Names of passwords.
macro_rules! password_name {
    () => {
        "(?i:(?:db|my|user|admin|root|login|new|old|the)?pass(?:word|wd|phrase|code)s?|(?:db|user|admin|root|pg|my|mysql|redis|mongo|smtp|mail|ftp|ssh|ldap)?(?:pwd|pass)|pw|passwort|kennwort|mot de passe|contrase[nñ]a|senha|wachtwoord|has[lł]o|l[oö]senord|parole d'ordre|пароль|密码|口令)"
    };
}

/// Names of keys and tokens.
macro_rules! key_name {
    () => {
        "(?i:(?:api[_-]?(?:key|token|secret)|access[_-]?(?:key|token)(?:[_-]?id)?|secret[_-]?(?:access[_-]?)?key(?:[_-]?base)?|\
         auth[_-]?(?:key|token)|account[_-]?key|client[_-]?secret|private[_-]?key|signing[_-]?(?:key|secret)|encryption[_-]?key|\
         (?:bearer|refresh|id|session|bot|personal|deploy)[_-]?token|shared[_-]?secret|webhook[_-]?secret|\
         secret|token|credential|apikey|sas[_-]?key))"
    };
}

/// The first or last line of a private key.
macro_rules! key_line {
    ($side:literal) => {
        concat!(
            "-{4,5} ?",
            $side,
            " (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
        )
    };
}

/// What may stand before each line of a key that is quoted or commented.
macro_rules! key_margin {
    () => {
        r"[\r\n][ \t]{0,8}[>#*_|%;+-]{1,3}[ \t]{0,8}"
    };
}

/// Between the lines of a key that is written as strings of code.
macro_rules! quoted_break {
    () => {
        r#"["'][ \t]{0,4}[+.,\\]?[ \t]{0,4}\r?\n[ \t]{0,16}["']"#
    };
}

/// In order of preference where scores and lengths are equal.
pub(super) const RULES: &[Rule] = &[
    // Clouds.
    rule("aws-access-key-id", KEY, Marked, "(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}", 0.85)
        .check(checks::aws_key_id, 0.8),
    rule("gcp-api-key", KEY, Marked, "AIza[A-Za-z0-9_-]{35}", 0.95).check(checks::token, 0.0),
    rule("gcp-oauth-secret", KEY, Marked, "GOCSPX-[A-Za-z0-9_-]{28}", 0.97).check(checks::token, 0.0),
    rule("gcp-oauth-token", KEY, Marked, r"ya29\.[A-Za-z0-9_-]{20,200}", 0.95).check(checks::token, 0.0),
    rule("azure-client-secret", KEY, Token, "[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", 0.93).check(checks::token, 0.0),
    rule("azure-storage-key", KEY, Word, "(?i:AccountKey|SharedAccessKey|SharedSecretValue)=([A-Za-z0-9+/]{40,90}={0,2})", 0.95).check(checks::token, 0.0),
    rule("azure-sas", KEY, Word, "sig=([A-Za-z0-9%]{43,70}%3[dD])", 0.9).check(checks::token, 0.0),
    rule("digitalocean-token", KEY, Marked, "(?:dop|doo|dor)_v1_[a-f0-9]{64}", 0.98).check(checks::token, 0.0),
    rule("heroku-key", KEY, Marked, "HRKU-[A-Za-z0-9_-]{36,60}", 0.95).check(checks::token, 0.0),
    rule("cloudflare-origin-ca-key", KEY, Marked, r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}", 0.97).check(checks::token, 0.0),
    rule("flyio-token", KEY, Marked, r"fo1_[A-Za-z0-9_-]{43}|fm[12][ar]?_[A-Za-z0-9+/]{100,200}={0,3}", 0.95).check(checks::token, 0.0),
    rule("alibaba-access-key-id", KEY, Marked, "LTAI[A-Za-z0-9]{12,20}", 0.9).check(checks::token, 0.0),

    rule("aws-signature", KEY, Marked, "X-Amz-Signature=([a-f0-9]{64})", 0.9).check(checks::token, 0.0),

    // Code and packages.
    rule("django-key", KEY, Marked, "django-insecure-[!#-&(-~]{30,64}", 0.9).check(checks::token, 0.0),
    rule("github-token", KEY, Marked, "gh[pousr]_[A-Za-z0-9]{36,251}", 0.95).check(checks::crc_token, 0.9),
    rule("github-fine-grained-token", KEY, Marked, "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", 0.99).check(checks::token, 0.0),
    rule("gitlab-token", KEY, Marked, "(?:glpat|gldt|glft|glsoat|glrt|glptt|glagent|gloas|glcbt)-[A-Za-z0-9_-]{20,64}(?:\\.[a-z0-9]{2,9}){0,2}", 0.95).check(checks::token, 0.0),
    rule("bitbucket-token", KEY, Marked, "ATBB[A-Za-z0-9]{24,32}", 0.9).check(checks::token, 0.0),
    rule("atlassian-token", KEY, Marked, "ATATT3[A-Za-z0-9_=-]{160,200}", 0.98).check(checks::token, 0.0),
    rule("npm-token", KEY, Marked, "npm_[A-Za-z0-9]{36}", 0.95).check(checks::crc_token, 0.9),
    rule("pypi-token", KEY, Marked, "pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,200}|pypi-AgENdGVzdC5weXBpLm9yZw[A-Za-z0-9_-]{50,200}", 0.99).check(checks::token, 0.0),
    rule("rubygems-key", KEY, Marked, "rubygems_[a-f0-9]{48}", 0.98).check(checks::token, 0.0),
    rule("crates-token", KEY, Token, "cio[A-Za-z0-9]{32}", 0.85).check(checks::token, 0.0),
    rule("docker-token", KEY, Marked, "dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,32}", 0.98).check(checks::token, 0.0),
    rule("terraform-token", KEY, Token, r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}", 0.98).check(checks::token, 0.0),
    rule("vault-token", KEY, Marked, r"hv[sbr]\.[A-Za-z0-9_-]{24,200}", 0.95).check(checks::token, 0.0),
    rule("pulumi-token", KEY, Marked, "pul-[a-f0-9]{40}", 0.97).check(checks::token, 0.0),
    rule("postman-key", KEY, Marked, "PMAK-[a-f0-9]{24}-[a-f0-9]{34}", 0.98).check(checks::token, 0.0),
    rule("age-secret-key", KEY, Marked, "AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", 0.99).check(checks::token, 0.0),

    // Models.
    rule("anthropic-key", KEY, Marked, "sk-ant-[a-z0-9]{3,10}-[A-Za-z0-9_-]{32,128}", 0.97).check(checks::token, 0.0),
    rule("openai-key", KEY, Marked, "sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{40,200}|sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}", 0.98).check(checks::token, 0.0),
    rule("sk-key", KEY, Marked, "sk-(?:or-v1-|lf-)?[A-Za-z0-9]{32,64}", 0.9).check(checks::token, 0.0),
    rule("huggingface-token", KEY, Marked, "(?:hf|api_org)_[A-Za-z]{34}", 0.95).check(checks::token, 0.0),
    rule("replicate-token", KEY, Marked, "r8_[A-Za-z0-9]{37}", 0.95).check(checks::token, 0.0),
    rule("groq-key", KEY, Marked, "gsk_[A-Za-z0-9]{48,56}", 0.96).check(checks::token, 0.0),
    rule("perplexity-key", KEY, Marked, "pplx-[A-Za-z0-9]{40,56}", 0.96).check(checks::token, 0.0),
    rule("xai-key", KEY, Marked, "xai-[A-Za-z0-9]{70,84}", 0.96).check(checks::token, 0.0),
    rule("nvidia-key", KEY, Marked, "nvapi-[A-Za-z0-9_-]{60,70}", 0.97).check(checks::token, 0.0),

    rule("langsmith-key", KEY, Marked, "lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}", 0.98).check(checks::token, 0.0),
    rule("tavily-key", KEY, Marked, "tvly-(?:dev-|prod-)?[A-Za-z0-9]{32,64}", 0.95).check(checks::token, 0.0),
    rule("jina-key", KEY, Marked, "jina_[a-f0-9]{32}[A-Za-z0-9_-]{20,40}", 0.97).check(checks::token, 0.0),
    rule("pinecone-key", KEY, Marked, "pcsk_[A-Za-z0-9]{4,8}_[A-Za-z0-9]{40,72}", 0.98).check(checks::token, 0.0),

    // Messages, payment, mail and watch.
    rule("slack-token", KEY, Marked, "xox[a-eoprs]-(?:[A-Za-z0-9]{1,14}-){1,4}[A-Za-z0-9]{10,64}|xapp-[0-9]-[A-Z0-9]{8,14}-[0-9]{8,14}-[a-f0-9]{64}", 0.95).check(checks::token, 0.0),
    rule("slack-webhook", KEY, Marked, "https://hooks\\.slack\\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{30,80}", 0.97).check(checks::token, 0.0),
    rule("discord-webhook", KEY, Marked, "https://(?:ptb\\.|canary\\.)?discord(?:app)?\\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,72}", 0.98).check(checks::token, 0.0),
    rule("discord-token", KEY, Token, r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}", 0.9).check(checks::token, 0.0),
    rule("telegram-token", KEY, Token, "(?:bot)?([0-9]{8,10}:AA[A-Za-z0-9_-]{33})", 0.93).check(checks::token, 0.0),
    rule("stripe-key", KEY, Marked, "(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,128}|whsec_[A-Za-z0-9+/]{24,64}={0,2}", 0.97).check(checks::token, 0.0),
    rule("square-token", KEY, Marked, "sq0(?:atp-[A-Za-z0-9_-]{22}|csp-[A-Za-z0-9_-]{43})", 0.96).check(checks::token, 0.0),
    rule("shopify-token", KEY, Marked, "shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", 0.98).check(checks::token, 0.0),
    rule("twilio-key", KEY, Token, "(?:SK|AC)[a-f0-9]{32}", 0.8).check(checks::token, 0.0),
    rule("sendgrid-key", KEY, Marked, r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", 0.99).check(checks::token, 0.0),
    rule("mailgun-key", KEY, Token, "key-[a-f0-9]{32}|[a-f0-9]{32}-[a-f0-9]{8}-[a-f0-9]{8}", 0.85).check(checks::token, 0.0),
    rule("mailchimp-key", KEY, Token, "[a-f0-9]{32}-us[0-9]{1,2}", 0.93).check(checks::token, 0.0),
    rule("brevo-key", KEY, Marked, "xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}", 0.99).check(checks::token, 0.0),
    rule("newrelic-key", KEY, Marked, "NR(?:AK|AL|II|IQ)-[A-Za-z0-9]{27,40}", 0.95).check(checks::token, 0.0),
    rule("sentry-token", KEY, Marked, "sntr(?:ys|yu)_[A-Za-z0-9_+/=-]{60,200}", 0.97).check(checks::token, 0.0),
    rule("grafana-token", KEY, Marked, "gl(?:sa|c)_[A-Za-z0-9_+/=-]{32,200}", 0.95).check(checks::token, 0.0),
    rule("databricks-token", KEY, Marked, "dapi[a-f0-9]{32}(?:-[0-9])?", 0.95).check(checks::token, 0.0),
    rule("airtable-token", KEY, Marked, r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}", 0.98).check(checks::token, 0.0),
    rule("notion-token", KEY, Marked, "(?:ntn_|secret_)[A-Za-z0-9]{43,50}", 0.95).check(checks::token, 0.0),
    rule("linear-key", KEY, Marked, "lin_(?:api|oauth)_[A-Za-z0-9]{40,64}", 0.97).check(checks::token, 0.0),
    rule("figma-token", KEY, Marked, "figd_[A-Za-z0-9_-]{40,60}", 0.96).check(checks::token, 0.0),
    rule("doppler-token", KEY, Marked, r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{40,64}", 0.96).check(checks::token, 0.0),
    rule("planetscale-token", KEY, Marked, "pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,64}", 0.97).check(checks::token, 0.0),
    rule("supabase-key", KEY, Marked, "sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,60}", 0.96).check(checks::token, 0.0),

    // Keys and tokens of any maker.
    rule("private-key", "PRIVATE_KEY", Word, concat!(key_line!("BEGIN"), r"(?:[A-Za-z0-9+/=\s:,.\\()]|<br ?/?>|", quoted_break!(), "|", key_margin!(), "[A-Za-z0-9+/=\r\n]|",
        r"(?:[\r\n]|\\n)(?:[ \t]{0,8}[>#*_|%;+-]{1,3})?[ \t]{0,8}[A-Z][A-Za-z]{1,12}(?:-[A-Z][A-Za-z]{1,12})?: [ -\[\]-~]*)*(?:(?:", key_margin!(), ")?", key_line!("END"), ")?"), 0.99)
        .check(checks::key_block, 0.0).endless(),
    rule("jwt", KEY, Marked, r"ey[A-Za-z0-9_-]{10,}\.(?:[A-Za-z0-9_-]*\.){1,3}[A-Za-z0-9_-]*", 0.5)
        .check(checks::jwt, 0.95),
    rule("bearer-token", KEY, Word, r#"(?i:bearer|authorization["']?[ ]?[:=] ?["']?(?:basic|token))[ ]{1,2}"#, 0.85)
        .value(checks::in_key, checks::in_key, (16, MAX_MATCH))
        .check(checks::assigned_key, 0.0),
    rule("assigned-key", KEY, Word, concat!(key_name!(), assigned!(), r#"(?:\\{0,3}["'`])?"#), 0.85)
        .value(checks::in_key, checks::in_key, (16, MAX_MATCH))
        .check(checks::assigned_key, 0.0),
    rule("key-joined", KEY, Anywhere, concat!("(?:API_?KEY|TOKEN|SECRET|Apikey|apikey)", assigned!(), r#"(?:\\{0,3}["'`])?"#), 0.8)
        .value(checks::in_key, checks::in_key, (16, MAX_MATCH))
        .check(checks::assigned_key, 0.0),
    rule("random-key", KEY, Run, "[A-Za-z0-9_.+/-]{24,160}={0,2}", 0.1)
        .check(checks::random_key, 0.0).near(&[Secret], 0.65).within(12).unless(&[Other]),

    // Passwords.
    rule("password-quoted", PASSWORD, Word, concat!(password_name!(), assigned!(), r#"(?:"([ !#-~]{4,128})"|'([ -&(-~]{4,128})')"#), 0.9)
        .check(checks::quoted_password, 0.0),
    rule("password-escaped", PASSWORD, Word, concat!(password_name!(), assigned!(), r#"\\{1,3}["']([!#-&(-\[\]-~]{4,128})\\{1,3}["']"#), 0.9)
        .check(checks::quoted_password, 0.0),
    rule("npm-password", PASSWORD, Marked, r#":_password ?= ?"?([A-Za-z0-9+/]{8,200}={0,2})"#, 0.9)
        .check(checks::userinfo, 0.0),
    rule("password-named", PASSWORD, Word, concat!(password_name!(), named!()), 0.85)
        .value(checks::begins_password, checks::in_password, (4, 1024))
        .check(checks::bare_password, 0.0),
    rule("password-element", PASSWORD, Word, concat!(password_name!(), ">"), 0.85)
        .value(checks::begins_password, |b| b != b'<' && checks::in_password(b), (4, 1024))
        .check(checks::element_password, 0.0),
    rule("password-row", PASSWORD, Word, concat!(password_name!(), r"[*_`]{0,2}[ \t]{1,12}\|[ \t]{1,12}`?"), 0.8)
        .value(checks::begins_password, |b| b != b'|' && b != b'`' && checks::in_password(b), (6, 64))
        .check(checks::cell_password, 0.0),
    rule("password-cell", PASSWORD, Number, r"[!#-&(-+.-:<-\[\]-{}~-]{6,64}", 0.0)
        .check(checks::cell_password, 0.0).near(&[Password], 0.8).within(0),
    rule("password-below", PASSWORD, Word, concat!(password_name!(), r#"["'*_`]{0,2}:[*_]{0,2}[ \t]{0,4}(?:\r?\n){1,2}[ \t]{0,12}`?"#), 0.8)
        .value(checks::begins_password, |b| b != b'`' && checks::in_password(b), (6, 64))
        .check(checks::password_line, 0.0),
    rule("password-assigned", PASSWORD, Word, concat!(password_name!(), assigned!(), "`?"), 0.85)
        .value(checks::begins_password, |b| b != b';' && b != b'`' && checks::in_password(b), (4, 1024))
        .check(checks::bare_password, 0.0),
    rule("password-joined", PASSWORD, Anywhere, concat!("(?i:passw(?:or)?d)", assigned!(), r#"["']?"#), 0.8)
        .value(checks::begins_password, |b| b != b';' && checks::in_password(b), (4, 1024))
        .check(checks::bare_password, 0.0),
    rule("password-said", PASSWORD, Word, concat!(password_name!(), "(?i:(?: (?:for|to|of|on|für|pour|para|per|voor)(?: [a-z]+){1,3})? (?:is|was|ist|lautet|est|es|é|è|jest|to)(?: now)?:?) [\"'`]?"), 0.8)
        .value(checks::in_password, checks::in_password, (4, 128))
        .check(checks::said_password, 0.0),
    rule("password-announced", PASSWORD, Word, concat!(password_name!(), " [\"'`]?"), 0.7)
        .value(checks::in_announced, checks::in_announced, (6, 65))
        .check(checks::announced_password, 0.0),
    rule("login-slash", PASSWORD, Word, "(?i:log[ -]?ins?|credentials?|creds|zugangsdaten|identifiants|credenciales)(?: is| are|:) [\"'`]?[A-Za-z][A-Za-z0-9_.@+-]{1,23}(?: / |:)", 0.8)
        .value(|b| b != b'/' && checks::in_password(b), checks::in_password, (4, 128))
        .check(checks::said_password, 0.0),
    rule("password-option", PASSWORD, Word, "(?:sshpass|mysql(?:dump|admin)?(?: -[uhP] ?[A-Za-z0-9_.@%-]{1,16}){0,3}) -p ?[\"']?", 0.8)
        .value(checks::in_password, checks::in_password, (4, 128))
        .check(checks::command_password, 0.0),
    rule("password-sql", PASSWORD, Word, "(?i:identified by|with password) [\"'`]", 0.85)
        .value(checks::in_password, checks::in_password, (4, 128))
        .check(checks::quoted_password, 0.0),
    rule("url-password", PASSWORD, Marked, r#"[A-Za-z][A-Za-z0-9+.-]{1,24}:(?://|\\/\\/)[A-Za-z0-9_.%+-]{0,64}:([!#-&(-.0-;=?-~]{1,128})@\[?[A-Za-z0-9]+"#, 0.95)
        .check(checks::userinfo, 0.0),
    rule("chpasswd", PASSWORD, Word, r#"echo ["'][A-Za-z0-9_.@-]{1,64}:([!#-&(-~]{3,128})["'] ?\| ?(?:sudo )?chpasswd"#, 0.9)
        .check(checks::userinfo, 0.0),
    rule("command-password", PASSWORD, Word, r#"(?:-[uU]|--(?:proxy-)?user)[ =]["']?[A-Za-z0-9_.@%+-]{1,64}:"#, 0.85)
        .value(checks::in_password, checks::in_password, (3, 128))
        .check(checks::command_password, 0.0),
];
