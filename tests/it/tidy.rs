//! The house rules that no compiler checks: who may know whom, and how large things may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Most lines of a file, and of the body of a function.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const MAIN_LINES: usize = 40;

/// Each folder or file below `src`, and those that it may know beside itself.
const LAYERS: [(&str, &[&str]); 8] = [
    ("domain", &[]),
    ("engine", &["domain"]),
    ("store", &["engine", "domain"]),
    ("app", &["engine", "store", "domain"]),
    ("grpc", &["app", "engine", "store", "domain", "pb"]),
    ("config", &["grpc", "store", "domain"]),
    ("runtime", &["config", "grpc", "app", "engine", "store", "domain", "pb"]),
    ("cli", &["runtime", "config", "grpc", "app", "engine", "store", "domain", "pb"]),
];

/// A file of ours: its path from the root, its text, and the text without comments and without what is in quotes.
struct Source {
    path: String,
    text: String,
    code: String,
    quoted: Vec<String>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a file");
        let (code, quoted) = split(&text);
        let path = path.strip_prefix(root()).expect("ours").to_string_lossy().into_owned();
        Self { path, text, code, quoted }
    }

    /// The folder or file below `src` that it belongs to.
    fn layer(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        Some(rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs"))
    }

    fn words(&self) -> BTreeSet<&str> {
        self.code.split(|c: char| !c.is_alphanumeric() && c != '_').collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> =
        folders.iter().map(|folder| root().join(folder)).filter(|path| path.exists()).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(Source::read(&path));
        }
    }
    assert!(!found.is_empty());
    found
}

fn everything() -> Vec<Source> {
    sources(&["src", "tests", "benches", "build.rs"])
}

/// Parts code from what is in comments (dropped) and in quotes (collected). Line ends stay.
fn split(text: &str) -> (String, Vec<String>) {
    let (mut code, mut quoted) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            quoted.push(rest[..length].to_owned());
            length
        } else if next == '"' {
            let length = string(rest);
            quoted.push(rest[..length].to_owned());
            length
        } else if let Some(length) = character(rest) {
            length
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        let lines = rest[..taken].matches('\n').count();
        code.extend(std::iter::repeat_n('\n', lines));
        rest = &rest[taken..];
    }
    (code, quoted)
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opened = rest.len() - after.len() + hashes + 1;
    Some(opened + rest[opened..].find(&end).expect("it ends") + end.len())
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of a character in quotes; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if let Some(escape) = body.strip_prefix('\\') {
        return Some(3 + escape.char_indices().skip(1).find(|(_, c)| *c == '\'')?.0);
    }
    let first = body.chars().next()?;
    body[first.len_utf8()..].starts_with('\'').then(|| 2 + first.len_utf8())
}

/// The modules of this crate that a file names: after `crate::`, also in a group.
fn known(code: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = code[at + start.len()..].trim_start();
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if !rest.starts_with('{') {
            known.insert(word(rest));
            continue;
        }
        let mut depth = 0;
        let mut begins = false;
        for (at, c) in rest.char_indices() {
            match c {
                '{' => {
                    depth += 1;
                    begins = depth == 1;
                }
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                c if begins && !c.is_whitespace() => {
                    known.insert(word(&rest[at..]));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    known.retain(|name| LAYERS.iter().any(|(layer, _)| layer == name) || name == "pb");
    known
}

/// Each function with a body: its name, and how many lines the body has.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(open) = code[at..].find(['{', ';']).filter(|open| code[at + open..].starts_with('{')) else {
            continue;
        };
        let mut depth = 0;
        let body = &code[at + open..];
        let end = body.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        if let Some((end, _)) = end.filter(|_| !name.is_empty()) {
            found.push((name, body[..end].matches('\n').count() + 1));
        }
    }
    found
}

#[track_caller]
fn assert_none(what: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{what}:\n  {}", broken.join("\n  "));
}

#[test]
fn each_layer_knows_only_those_below_it() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let Some((layer, may)) = LAYERS.iter().find(|(layer, _)| source.layer() == Some(layer)) else { continue };
        let known = known(&source.code);
        let strangers = known.iter().filter(|name| *name != layer && !may.contains(&name.as_str()));
        broken.extend(strangers.map(|name| format!("{} knows {name}", source.path)));
    }
    assert_none("a layer knows one that it may not", &broken);
}

#[test]
fn the_libraries_of_a_layer_stay_in_it() {
    let homes: [(&str, &[&str]); 7] = [
        ("sqlx", &["store"]),
        ("tonic", &["grpc", "runtime", "cli"]),
        ("prost", &["grpc", "runtime", "cli"]),
        ("prost_types", &["grpc", "runtime", "cli"]),
        ("clap", &["cli", "config", "main"]),
        ("jsonwebtoken", &["engine"]),
        ("lettre", &["config", "runtime"]),
    ];
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let words = source.words();
        for (library, layers) in &homes {
            if words.contains(library) && !layers.contains(&source.layer().unwrap_or_default()) {
                broken.push(format!("{} uses {library}", source.path));
            }
        }
    }
    assert_none("a library is used outside of its layer", &broken);
}

#[test]
fn the_domain_has_no_input_no_output_and_no_clock() {
    let banned = ["tokio", "async", "await", "SystemTime", "Instant", "fs", "File", "env", "getrandom", "println"];
    let domain = sources(&["src/domain"]);
    let found = |source: &Source| {
        let words = source.words();
        banned.iter().find(|word| words.contains(**word)).map(|word| format!("{} says {word}", source.path))
    };
    assert_none("the domain does more than compute", &domain.iter().filter_map(found).collect::<Vec<_>>());
}

#[test]
fn sql_stands_only_in_the_store() {
    let statements = ["SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE ", "PRAGMA "];
    let mut broken = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| source.layer() != Some("store")) {
        let quoted = source.quoted.iter().filter(|text| statements.iter().any(|statement| text.contains(statement)));
        broken.extend(quoted.map(|text| format!("{}: {text}", source.path)));
    }
    assert_none("SQL outside of src/store", &broken);
}

#[test]
fn a_clock_is_read_in_one_place() {
    let reads = ["SystemTime::now", "Instant::now", "Zoned::now", "Timestamp::now", "UNIX_EPOCH"];
    let mut broken = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| source.path != "src/runtime/clock.rs") {
        let read = reads.iter().filter(|read| source.code.contains(**read));
        broken.extend(read.map(|read| format!("{} says {read}", source.path)));
    }
    assert_none("a clock is read outside of src/runtime/clock.rs", &broken);
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let mut broken = Vec::new();
    for source in everything() {
        let lines = source.text.lines().count();
        let most = if source.path == "src/main.rs" { MAIN_LINES } else { FILE_LINES };
        if lines > most {
            broken.push(format!("{} has {lines} lines of {most}", source.path));
        }
        if !source.text.starts_with("//! ") {
            broken.push(format!("{} does not begin with //!", source.path));
        }
    }
    assert_none("a file is too long, or does not say what it is for", &broken);
}

#[test]
fn every_function_is_short() {
    let mut broken = Vec::new();
    for source in everything() {
        let long = functions(&source.code).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES);
        broken.extend(long.map(|(name, lines)| format!("{} in {} has {lines} lines", name, source.path)));
    }
    assert_none("a function is too long", &broken);
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |database: &str| {
        let folder = root().join("migrations").join(database);
        let entries = fs::read_dir(folder).expect("migrations").map(|entry| entry.expect("an entry").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
    };
    let sqlite = names("sqlite");
    assert_eq!(sqlite, names("postgres"));
    for (n, name) in sqlite.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}_", n + 1)), "{name} is not number {}", n + 1);
    }
}

#[test]
fn no_test_is_skipped_and_none_sleeps() {
    // Put together here, so that this file does not say them.
    let (ignored, sleeping) = (["#[", "ignore"].concat(), ["thread::", "sleep"].concat());
    let mut broken = Vec::new();
    for source in everything() {
        if source.code.contains(&ignored) {
            broken.push(format!("{} skips a test", source.path));
        }
        if source.code.contains(&sleeping) {
            broken.push(format!("{} sleeps", source.path));
        }
    }
    assert_none("a test is skipped or sleeps", &broken);
}

#[test]
fn no_two_tests_of_a_file_have_one_name_and_each_is_a_sentence() {
    let mut broken = Vec::new();
    for source in sources(&["tests"]) {
        let mut seen = BTreeMap::new();
        for (at, attribute) in source.code.match_indices("#[test]\nfn ") {
            let name: String =
                source.code[at + attribute.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name.split('_').count() < 4 {
                broken.push(format!("{name} in {} is no sentence", source.path));
            }
            *seen.entry(name).or_insert(0) += 1;
        }
        broken.extend(seen.into_iter().filter(|(_, n)| *n > 1).map(|(name, _)| format!("{name} in {}", source.path)));
    }
    assert_none("a test has no name of its own", &broken);
}
