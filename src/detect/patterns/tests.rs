use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const PII: &str = include_str!("examples/pii.txt");
const SECRETS: &str = include_str!("examples/secrets.txt");

fn set(family: Family) -> PatternSet {
    PatternSet::new(&[family], &[]).unwrap()
}

/// The lines of a table: a rule or "-", the text, and the spans marked in it.
fn rows(table: &str) -> Vec<(String, String, Vec<Range<usize>>)> {
    let mut rows = Vec::new();
    for line in table
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
    {
        let (rule, marked) = line.split_once("| ").unwrap();
        let marked = marked
            .replace('⁞', "")
            .replace("\\n", "\n")
            .replace('⧵', "\\");
        let (mut text, mut spans, mut open) = (String::new(), Vec::new(), 0);
        for c in marked.chars() {
            match c {
                '⟦' => open = text.len(),
                '⟧' => spans.push(open..text.len()),
                c => text.push(c),
            }
        }
        rows.push((rule.trim().to_owned(), text, spans));
    }
    rows
}

fn check_table(family: Family, table: &str) {
    let set = set(family);
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (rule, text, spans) in rows(table) {
        let found = set.scan(&text);
        let found_spans: Vec<_> = found.iter().map(|m| m.span.clone()).collect();
        let by_rule = found.iter().all(|m| *m.rule == *rule);
        if found_spans != spans || !by_rule {
            let found: Vec<_> = found
                .iter()
                .map(|m| (&*m.rule, &text[m.span.clone()]))
                .collect();
            wrong.push(format!("{rule}: {text:?} gives {found:?}"));
        }
        seen.insert(rule);
    }
    for rule in family.rules() {
        if !seen.contains(rule.id) {
            wrong.push(format!("{}: no example", rule.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_of_personal_data_finds_its_examples_and_no_look_alike() {
    check_table(Family::Pii, PII);
}

#[test]
fn every_rule_of_secrets_finds_its_examples_and_no_look_alike() {
    check_table(Family::Secrets, SECRETS);
}

#[test]
fn rules_have_names_of_their_own_and_scores_that_can_be_reached() {
    for family in Family::ALL {
        let ids: BTreeSet<_> = family.rules().iter().map(|r| r.id).collect();
        assert_eq!(ids.len(), family.rules().len());
        for r in family.rules() {
            let best = 1.0 - (1.0 - r.base) * (1.0 - r.proof) * (1.0 - r.context);
            assert!(best >= rule::FLOOR, "{}", r.id);
        }
    }
}

/// Runs `text` through a stream cut at `cuts` and checks what each release promises.
fn streamed(set: &PatternSet, text: &str, cuts: &[usize]) -> Vec<PatternMatch> {
    let mut stream = set.stream();
    let (mut all, mut from, mut safe) = (Vec::<PatternMatch>::new(), 0, 0);
    let mut releases = Vec::new();
    for &cut in cuts {
        releases.push((stream.push(&text[from..cut]), cut));
        from = cut;
    }
    releases.push((stream.push(&text[from..]), text.len()));
    releases.push((stream.finish(), text.len()));
    for (released, so_far) in releases {
        assert!(released.safe >= safe && released.safe <= so_far);
        assert!(text.is_char_boundary(released.safe));
        for m in &released.matches {
            assert!(
                m.span.start >= safe,
                "{m:?} begins in text that was released at {safe}"
            );
        }
        safe = released.safe;
        all.extend(released.matches);
    }
    assert_eq!(safe, text.len());
    all
}

fn custom() -> Vec<CustomPattern> {
    let pattern = |name: &str, shape| CustomPattern {
        name: name.into(),
        label: name.to_uppercase(),
        shape,
    };
    let words = ["Project Falke", "straße", "кот", "机密"].map(String::from);
    vec![
        pattern("staff", CustomShape::Regex(r"(?:EMP|CTR)-\d{6}".into())),
        pattern("listed", CustomShape::Words(words.to_vec())),
    ]
}

/// Patterns that may begin with any character.
fn any_start() -> Vec<CustomPattern> {
    let regexes = [r"\\\\srv", r"\\[nrt]", ".{3}", "[^a]", r"(?s:.)\\", r"\W\d"];
    let pattern = |(at, regex): (usize, &&str)| CustomPattern {
        name: format!("any-{at}"),
        label: "ANY".into(),
        shape: CustomShape::Regex((*regex).into()),
    };
    regexes.iter().enumerate().map(pattern).collect()
}

fn everything() -> PatternSet {
    PatternSet::new(&Family::ALL, &custom()).unwrap()
}

/// Text made of the tables' lines, of scraps that begin a match, and of noise.
fn mixed_text() -> impl Strategy<Value = String> {
    let lines: Vec<String> = rows(PII)
        .into_iter()
        .chain(rows(SECRETS))
        .map(|row| row.1)
        .collect();
    let scraps = [
        "-----BEGIN PRIVATE KEY-----\n",
        "password",
        ": ",
        "=",
        "\"",
        "https://",
        "@",
        "12",
        "555-",
        "(0",
        " ",
        ",",
        ".",
        "\n",
        "é",
        "电话",
        "🙂",
        "tel",
        "born ",
        "EMP-123456",
        "straße",
        "кот",
        "AKIA",
        "eyJ",
        "4111 1111 ",
        "::",
        "+1 ",
        "\\",
        "\\n",
        "\\u003c",
        "\\x41",
        "_",
        "＿",
        "‑",
        "—",
        "\u{a0}",
        "４１",
        "：",
        "\\\"",
    ];
    let piece = prop_oneof![
        3 => proptest::sample::select(lines),
        3 => proptest::sample::select(scraps.to_vec()).prop_map(String::from),
        1 => "\\PC{0,12}",
        1 => "[0-9 ().+-]{0,30}",
        1 => "[a-zA-Z0-9_/+.=-]{0,60}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_chunking_finds_what_the_whole_text_gives(
        text in mixed_text(), cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
    ) {
        let set = everything();
        let mut cuts: Vec<usize> = cuts.iter().map(|i| floor(&text, i.index(text.len() + 1))).collect();
        cuts.sort_unstable();
        let whole = set.scan(&text);
        prop_assert_eq!(&streamed(&set, &text, &cuts), &whole);
        let every: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        prop_assert_eq!(&streamed(&set, &text, &every), &whole);
        for pair in whole.windows(2) {
            prop_assert!((pair[0].span.start, pair[0].span.end) <= (pair[1].span.start, pair[1].span.end));
        }
        for found in &whole {
            prop_assert!(text.get(found.span.clone()).is_some_and(|t| !t.is_empty()));
            prop_assert!((rule::FLOOR..=1.0).contains(&found.score));
        }
    }

    #[test]
    fn matches_of_one_family_never_overlap(text in mixed_text()) {
        for family in Family::ALL {
            for pair in set(family).scan(&text).windows(2) {
                prop_assert!(pair[0].span.end <= pair[1].span.start, "{pair:?}");
            }
        }
    }

    #[test]
    fn a_planted_value_is_found_in_any_prose(
        before in "([A-Za-z]{1,9}[ ,.] ?){0,20}", after in "( [a-z]{1,9}){0,8}",
        row in proptest::sample::select(rows(SECRETS).into_iter().filter(|r| r.0 != "-").collect::<Vec<_>>()),
    ) {
        let text = format!("{before}\n{}\n{after}", row.1);
        let found = set(Family::Secrets).scan(&text);
        for span in &row.2 {
            let at = before.len() + 1;
            let covered = found.iter().any(|m| m.span.start <= at + span.start && at + span.end <= m.span.end);
            prop_assert!(covered, "{} in {text:?}: {found:?}", row.0);
        }
    }

    #[test]
    fn arbitrary_text_is_no_trouble(text in prop_oneof!["(?s).{0,400}", mixed_text()]) {
        static SET: LazyLock<PatternSet> = LazyLock::new(|| {
            let custom = [custom(), any_start()].concat();
            PatternSet::new(&Family::ALL, &custom).unwrap()
        });
        let found = SET.scan(&text);
        for found in &found {
            prop_assert!(text.get(found.span.clone()).is_some_and(|t| !t.is_empty()), "{found:?}");
        }
        let spans: Vec<_> = found.iter().map(|m| (m.span.start, m.span.end)).collect();
        prop_assert!(spans.is_sorted(), "{spans:?}");
        let every: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        prop_assert_eq!(&streamed(&SET, &text, &every), &found);
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[test]
fn prose_is_held_back_by_no_more_than_the_word_at_its_end() {
    let text = "The password policy was discussed again, and nobody born before the war could call it useful. ".repeat(20);
    let mut stream = PatternSet::new(&Family::ALL, &[]).unwrap().stream();
    let mut most = 0;
    for (at, c) in text.char_indices() {
        let released = stream.push(c.encode_utf8(&mut [0; 4]));
        most = most.max(at + c.len_utf8() - released.safe);
    }
    assert!(most <= 32, "{most} bytes were held back");
}

#[test]
fn a_private_key_is_held_back_from_its_first_line_to_its_bound() {
    let set = set(Family::Secrets);
    let mut stream = set.stream();
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n".repeat(1000);
    assert_eq!(stream.push("key: -----BEGIN PRIVATE KEY-----\n").safe, 5);
    let released = stream.push(&body);
    assert!(released.safe > lexer::MAX_MATCH, "the bound ends it");
    assert_eq!(released.matches[0].span.start, 5);
    assert!(released.matches[0].span.len() > lexer::MAX_MATCH - 64);
}

#[test]
fn a_private_key_beyond_the_bound_is_found_to_its_end_whatever_it_begins_with() {
    let set = set(Family::Secrets);
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n";
    let whole = "aB3x9ZkQ".repeat(6000);
    for (begin, body) in [
        ("\n", line.repeat(1000)),
        (&*"\n".repeat(20_000), line.repeat(9)),
        (&*" .".repeat(20_000), line.repeat(500)),
        ("", whole),
        ("\\n", line.replace('\n', "\\n").repeat(1500)),
    ] {
        let key = format!("-----BEGIN PRIVATE KEY-----{begin}{body}-----END PRIVATE KEY-----");
        let text = format!("key: {key}\nthanks, ann@example.com password: Tiger!2201");
        let found = set.scan(&text);
        let (last, key_parts) = found.split_last().unwrap();
        assert_eq!(&text[last.span.clone()], "Tiger!2201");
        assert_eq!(key_parts[0].span.start, 5);
        assert_eq!(key_parts.last().unwrap().span.end, 5 + key.len());
        for pair in key_parts.windows(2) {
            assert_eq!(pair[0].span.end, pair[1].span.start, "nothing is left out");
            assert_eq!(&*pair[1].rule, "private-key");
        }
        let cuts: Vec<usize> = (1..text.len()).step_by(777).collect();
        assert_eq!(streamed(&set, &text, &cuts), found);
    }
}

#[test]
fn the_better_of_two_overlapping_matches_is_reported() {
    let set = set(Family::Pii);
    let found = set.scan("call 4111 1111 1111 1111 now");
    assert_eq!(found.len(), 1);
    assert_eq!(
        &*found[0].label, "CREDIT_CARD",
        "Luhn's checksum outweighs the word before"
    );
    let found = set.scan("https://ann@example.com/x?tel=+442079460958");
    assert_eq!(found.len(), 1);
    assert_eq!(&*found[0].rule, "url");
}

#[test]
fn a_day_beside_a_social_security_number_in_a_list_is_one_of_birth() {
    let labels = |text: &str| -> Vec<String> {
        let found = set(Family::Pii).scan(text);
        found.iter().map(|m| m.label.to_string()).collect()
    };
    let both = ["SSN", "DATE_OF_BIRTH"];
    assert_eq!(labels("Ann Lee, 536-22-1234, 7/14/89, 12 Main St"), both);
    assert_eq!(labels("Ann Lee;536-22-1234;14 July 1989"), both);
    assert_eq!(labels("536-22-1234 was filed on 7/14/1989"), ["SSN"]);
    assert_eq!(labels("7/14/1989, 536-22-1234"), ["SSN"]);
}

#[test]
fn custom_patterns_are_found_beside_the_built_in_ones() {
    let set = everything();
    let labels = |text: &str| -> Vec<String> {
        set.scan(text).iter().map(|m| m.label.to_string()).collect()
    };
    assert_eq!(labels("ask EMP-123456 or ctr-1"), ["STAFF"]);
    assert_eq!(
        labels("the PROJECT FALKE of STRASSE and Straße"),
        ["LISTED", "LISTED"]
    );
    assert_eq!(labels("который КОТ"), ["LISTED"], "whole words only");
    assert_eq!(
        labels("这是机密文件"),
        ["LISTED"],
        "no spaces are needed where none are written"
    );
    assert_eq!(
        labels("mail EMP-123456@example.com"),
        ["STAFF", "EMAIL"],
        "families do not compete"
    );
}

#[test]
fn custom_patterns_may_begin_with_a_backslash_or_any_character() {
    let set = PatternSet::new(&Family::ALL, &any_start()).unwrap();
    for text in [
        "a\\b",
        "\\",
        "\\\\srv\\home",
        "a\\\\n",
        "é\\n\\",
        "abc",
        "a\nb",
    ] {
        let found = set.scan(text);
        let spans = |rule: &str| -> Vec<_> {
            let of = found.iter().filter(|m| &*m.rule == rule);
            of.map(|m| &text[m.span.clone()]).collect()
        };
        assert_eq!(spans("any-0").len(), text.matches("\\\\srv").count());
        let others = text.chars().filter(|c| *c != 'a').count();
        assert_eq!(spans("any-3").len(), others, "{text:?}");
    }
}

#[test]
fn a_letter_behind_a_backslash_is_not_cut_off_where_it_may_be_a_name_s() {
    let set = set(Family::Pii);
    let spans = |text: &str| -> Vec<String> {
        let found = set.scan(text).into_iter();
        found.map(|m| text[m.span].to_owned()).collect()
    };
    for (text, found) in [
        (r"CORP\nancy@example.com", r"\nancy@example.com"),
        (r"..\users\tina@example.com", r"\tina@example.com"),
        (r"..\tina@example.com", r"\tina@example.com"),
        (r"end.\ntina@example.com", "tina@example.com"),
        (r"a: b@x.example\ntina@example.com", "tina@example.com"),
        (r"a\r\ntina@example.com", "tina@example.com"),
        (r#"{"a":"\ntina@example.com"}"#, "tina@example.com"),
        // What is left is valid JSON, whichever it was.
        (r#"{"a":"CORP\nancy@example.com"}"#, r"\nancy@example.com"),
        (r#"{"a":"CORP\\nancy@example.com"}"#, "nancy@example.com"),
    ] {
        assert_eq!(
            spans(text).last().map(String::as_str),
            Some(found),
            "{text}"
        );
    }
    // A backslash is held back until what follows it is known.
    let mut stream = set.stream();
    assert_eq!(stream.push("(CORP)\\").safe, 6);
}

#[test]
fn patterns_that_cannot_be_bounded_are_refused_with_a_reason() {
    let problem = |regex: &str| {
        let pattern = CustomPattern {
            name: "mine".into(),
            label: "X".into(),
            shape: CustomShape::Regex(regex.into()),
        };
        PatternSet::new(&[], &[pattern]).unwrap_err().to_string()
    };
    for (regex, reason) in [
        ("a+", "bound its repetitions"),
        ("a*", "empty"),
        ("(", "unclosed group"),
        ("x{600}", "at most 512"),
        (r"\bx\b", r"(?-u:\b)"),
        (r"(?:[a-z0-9]{1,40}[0-9a-f]{1,40}){5}x", "size limit"),
    ] {
        let problem = problem(regex);
        assert!(
            problem.contains(reason) && problem.contains("\"mine\""),
            "{regex}: {problem}"
        );
    }
}

/// Texts that make a backtracking or restarting matcher slow.
fn adversarial(length: usize) -> Vec<(&'static str, String)> {
    [
        ("digits", "1234567890"),
        ("digits and spaces", "1 2 34 5 "),
        ("digits and dashes", "1-2-3-"),
        ("ats", "@"),
        ("addresses", "a@b.c@d.e"),
        ("dots", "a."),
        ("colons", "ab:"),
        ("key heads", "-----BEGIN PRIVATE KEY-----"),
        (
            "endless keys",
            "-----BEGIN PRIVATE KEY-----\nA: b\nC-D: e\n",
        ),
        ("dashes", "-"),
        ("schemes", "http://a"),
        ("userinfo", "a://b:c"),
        ("passwords", "password="),
        ("topics", "call tel card born "),
        ("token heads", "eyJhbGciOi."),
        ("letters", "abcdefghijklm"),
        ("base64", "aB3/x+9ZkQ"),
        ("brackets", "(0)"),
        ("plus", "+1"),
        ("cards", "4111 1111 1111 1111 "),
        ("tokens", "token="),
        ("commands", "-u=a:b"),
        ("hosts", "http://a/"),
        ("users", "http://user:p@"),
        ("addresses of the net", "http://a.b/"),
        ("accents", "ɏ"),
        ("cyrillic", "абвгд"),
        ("cyrillic words", "анна@пример. "),
        ("elisions", "o'"),
        ("numbers", "12 "),
        ("accounts", "DE89 3704 "),
        ("octets", "00:11:"),
        ("groups", "1:2:"),
        ("assignments", "password: a1!"),
        ("underscores", "_a_1"),
        ("emphasis", "_1 _"),
        ("rows", "password | a1!B"),
        ("elements", "password>a1!"),
        ("cells", "password,x\na,b\n"),
        ("names", "passwordpassword"),
        ("hyphens", "12‑"),
        ("full width", "４１ａ："),
        ("backslashes", "\\"),
        ("escapes", "\\nann\\u003c12"),
        ("escaped quotes", "password=\\\""),
        ("keys", "api_key=a1B2c3D4e5F6g7H8"),
    ]
    .into_iter()
    .map(|(name, unit)| (name, unit.repeat(length / unit.len())))
    .chain([(
        "a long key",
        format!("token={}", "a1B2c3D4".repeat(length / 8)),
    )])
    .collect()
}

/// How many bytes a scan reads, those read several times counted as often.
fn work(set: &PatternSet, text: &str) -> usize {
    work::read();
    std::hint::black_box(set.scan(text));
    work::read()
}

#[test]
fn adversarial_text_is_a_few_times_the_work_of_prose() {
    const LENGTH: usize = 100_000;
    let sentence =
        "On 12 May the board met again; 14 of its 20 members agreed to pay $1,200 by card. ";
    for family in Family::ALL {
        let set = set(family);
        let prose = work(&set, &sentence.repeat(LENGTH / sentence.len()));
        assert!(prose < 8 * LENGTH, "{prose}");
        for (name, text) in adversarial(LENGTH) {
            let read = work(&set, &text);
            assert!(read < 8 * prose, "{name}: {read} bytes, prose {prose}");
        }
    }
}

#[test]
fn work_is_linear_in_adversarial_text() {
    let set = everything();
    for ((name, short), (_, long)) in adversarial(100_000).into_iter().zip(adversarial(800_000)) {
        let (short, long) = (work(&set, &short), work(&set, &long));
        assert!(long < 9 * short, "{name}: {short} bytes then {long}");
    }
}

#[test]
fn work_is_linear_in_text_that_comes_in_single_characters() {
    let set = everything();
    for (name, text) in adversarial(50_000) {
        work::read();
        let mut stream = set.stream();
        for c in text.chars() {
            stream.push(c.encode_utf8(&mut [0; 4]));
        }
        let _ = stream.finish();
        let (pieces, whole) = (work::read(), work(&set, &text));
        assert!(
            pieces < 4 * whole,
            "{name}: {pieces} bytes, at once {whole}"
        );
    }
}

#[test]
fn a_megabyte_in_single_characters_gives_what_the_whole_does() {
    let text = adversarial(50_000)
        .into_iter()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .concat();
    let set = everything();
    let mut stream = set.stream();
    let mut found = Vec::new();
    for c in text.chars() {
        found.extend(stream.push(c.encode_utf8(&mut [0; 4])).matches);
    }
    found.extend(stream.finish().matches);
    assert_eq!(found, set.scan(&text));
}
