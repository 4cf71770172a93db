//! Lists: which records of a noun are asked for, and in which order; and how a caller writes it.

use super::{
    bindings::Binding,
    budgets::Budget,
    invitations::Invitation,
    keys::Key,
    projects::Project,
    service_accounts::ServiceAccount,
    teams::Team,
    tenants::Tenant,
    time::Timestamp,
    users::{User, fold_email},
    workspaces::Workspace,
};

/// Longest filter, in characters.
const MAX_FILTER: usize = 1024;
/// Most terms of a filter.
const MAX_TERMS: usize = 16;

/// A field that lists of a noun can be asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name in messages.
    pub name: &'static str,
    /// What it can be compared with.
    pub kind: Kind,
    /// Whether lists can be ordered by it.
    pub sorts: bool,
}

/// What a field can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: it only gives an order.
    Order,
    /// A text, for equality.
    Text,
    /// One of these, for equality; stored in lower case.
    Choice(&'static [&'static str]),
    /// A text, for equality whatever its case.
    Email,
    /// The name of a role or of another record, found by whoever reads the list; only for `=`.
    Name,
    /// A point in time.
    Time,
    /// Stands for the words that are looked for, which no comparison names.
    Words,
}

/// Lists can be searched for words.
pub const WORDS: Field = Field { name: "", kind: Kind::Words, sorts: false };

impl Kind {
    /// Whether a comparison can name the field.
    const fn compares(self) -> bool {
        !matches!(self, Self::Order | Self::Words)
    }
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A point in time.
    Time(Timestamp),
}

/// What every record of a list has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A field compares so.
    Compares(&'static Field, Comparator, Value),
    /// A word of the record begins with this; in lower case.
    Mentions(String),
    /// They are bound to a role on the whole tenant by themselves: its id, and when.
    Holds(String, Timestamp),
    /// They are in a team: its id.
    IsIn(String),
}

/// In which order a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// By which field; ties by creation.
    pub field: &'static str,
    /// The largest first.
    pub descending: bool,
}

/// The order of creation.
pub const CREATION: Order = Order { field: "create_time", descending: false };

/// A record that lists can be ordered by.
pub trait Sorted {
    /// Its id, as the list has it.
    fn id(&self) -> String;
    /// Its value of a field that sorts by text; empty for any other.
    fn key(&self, field: &str) -> String;
}

macro_rules! sorted {
    ($($record:ident by $($field:literal $value:expr),*;)+) => {$(
        impl Sorted for $record {
            fn id(&self) -> String {
                self.id.to_string()
            }

            fn key(&self, field: &str) -> String {
                // Told apart by type: some records have no text to sort by.
                let value: &[(&str, fn(&Self) -> String)] = &[$(($field, $value)),*];
                value.iter().find(|(name, _)| *name == field).map(|(_, value)| value(self)).unwrap_or_default()
            }
        }
    )+};
}

sorted! {
    Tenant by "name" |it| it.slug.to_string(), "display_name" |it| it.display_name.clone();
    Workspace by "name" |it| it.slug.to_string(), "display_name" |it| it.display_name.clone();
    Project by "name" |it| it.slug.to_string(), "display_name" |it| it.display_name.clone();
    Team by "name" |it| it.slug.to_string(), "display_name" |it| it.display_name.clone();
    ServiceAccount by "name" |it| it.slug.to_string(), "display_name" |it| it.display_name.clone();
    User by "email" |it| fold_email(&it.email), "display_name" |it| it.display_name.clone(),
        "state" |it| it.state.as_str().to_owned();
    Invitation by "email" |it| fold_email(&it.email);
    Key by "display_name" |it| it.display_name.clone();
    Budget by "display_name" |it| it.display_name.clone();
    Binding by;
}

/// The text is not a filter, or not an order, of the noun; and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListingError(String);

type Result<T> = std::result::Result<T, ListingError>;

fn wrong<T>(why: impl Into<String>) -> Result<T> {
    Err(ListingError(why.into()))
}

fn names(fields: &[Field], wanted: impl Fn(&Field) -> bool) -> String {
    fields.iter().filter(|field| wanted(field)).map(|field| field.name).collect::<Vec<_>>().join(", ")
}

/// Reads an order: a field, and perhaps ` desc`. Empty: that of creation.
///
/// # Errors
/// [`ListingError`] for anything else.
pub fn order(text: &str, fields: &'static [Field]) -> Result<Order> {
    let mut words = text.split_whitespace();
    let Some(name) = words.next() else { return Ok(CREATION) };
    let descending = match (words.next(), words.next()) {
        (None, None) => false,
        (Some("desc"), None) => true,
        _ => return wrong("must be one field, and perhaps ` desc`"),
    };
    match fields.iter().find(|field| field.name == name && field.sorts) {
        Some(field) => Ok(Order { field: field.name, descending }),
        None => wrong(format!("there is no order by `{name:.64}`; fields: {}", names(fields, |field| field.sorts))),
    }
}

/// Reads a filter: comparisons and words, perhaps with `AND` between them. Empty: no terms.
///
/// # Errors
/// [`ListingError`] for anything else, and for what is too long.
pub fn filter(text: &str, fields: &'static [Field]) -> Result<Vec<Term>> {
    if text.chars().count() > MAX_FILTER {
        return wrong(format!("must have at most {MAX_FILTER} characters"));
    }
    let mut rest = Reader(text.trim());
    let mut terms = Vec::new();
    while !rest.0.is_empty() {
        if terms.len() == MAX_TERMS {
            return wrong(format!("must have at most {MAX_TERMS} terms"));
        }
        terms.push(rest.term(fields)?);
        if let Some(after) = rest.0.strip_prefix("AND").filter(|after| after.starts_with(char::is_whitespace)) {
            rest.0 = after.trim_start();
            if rest.0.is_empty() {
                return wrong("nothing comes after AND");
            }
        }
    }
    Ok(terms)
}

/// What is left to read of a filter, without spaces before it.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn term(&mut self, fields: &'static [Field]) -> Result<Term> {
        let quoted = self.0.starts_with('"');
        let word = self.value()?;
        let Some(comparator) = self.comparator().filter(|_| !quoted) else {
            if !quoted && matches!(word.as_str(), "AND" | "OR" | "NOT") {
                return wrong(format!("{word} cannot stand here; terms can only be joined, by AND"));
            }
            if !fields.contains(&WORDS) {
                return wrong(format!("this list is not searched for words, such as `{word:.64}`"));
            }
            return Ok(Term::Mentions(word.to_lowercase()));
        };
        let known = fields.iter().find(|field| field.name == word && field.kind.compares());
        let Some(field) = known else {
            let fields = names(fields, |field| field.kind.compares());
            return wrong(format!("there is no field `{word:.64}` to compare; fields: {fields}"));
        };
        let value = self.value()?;
        compares(field, comparator, value)
    }

    /// A word, or a text in quotes.
    fn value(&mut self) -> Result<String> {
        let Some(quoted) = self.0.strip_prefix('"') else {
            let special = |c: char| c.is_whitespace() || "=!<>()\"".contains(c);
            let (word, rest) = self.0.split_at(self.0.find(special).unwrap_or(self.0.len()));
            if word.is_empty() {
                return wrong(match rest.chars().next() {
                    Some(sign) => format!("a word or a text in quotes must stand where `{sign}` is"),
                    None => "ends where a value must stand".to_owned(),
                });
            }
            self.0 = rest.trim_start();
            return Ok(word.to_owned());
        };
        let mut text = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = quoted[at + 1..].trim_start();
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    _ => return wrong("a `\\` must have `\"` or `\\` after it"),
                },
                _ => text.push(c),
            }
        }
        wrong("a quote is not closed")
    }

    fn comparator(&mut self) -> Option<Comparator> {
        // The longer ones first.
        const SIGNS: [(&str, Comparator); 6] = [
            ("!=", Comparator::Unequal),
            ("<=", Comparator::LessOrEqual),
            (">=", Comparator::GreaterOrEqual),
            ("=", Comparator::Equal),
            ("<", Comparator::Less),
            (">", Comparator::Greater),
        ];
        let (sign, comparator) = SIGNS.iter().find(|(sign, _)| self.0.starts_with(sign))?;
        self.0 = self.0[sign.len()..].trim_start();
        Some(*comparator)
    }
}

fn compares(field: &'static Field, comparator: Comparator, value: String) -> Result<Term> {
    let name = field.name;
    let equality = matches!(comparator, Comparator::Equal | Comparator::Unequal);
    let value = match field.kind {
        Kind::Time => match value.parse::<jiff::Timestamp>() {
            Ok(time) => Value::Time(Timestamp::from_micros(time.as_microsecond())),
            Err(_) => return wrong(format!("{name} must be compared with a time, like \"2026-01-31T12:00:00Z\"")),
        },
        _ if !equality => return wrong(format!("{name} can only be compared by = and !=")),
        Kind::Name if comparator != Comparator::Equal => return wrong(format!("{name} can only be compared by =")),
        Kind::Choice(choices) if !choices.contains(&value.as_str()) => {
            return wrong(format!("{name} must be compared with one of {}", choices.join(", ")));
        }
        Kind::Choice(_) => Value::Text(value.to_lowercase()),
        Kind::Email => Value::Text(fold_email(&value)),
        Kind::Text | Kind::Name | Kind::Order | Kind::Words => Value::Text(value),
    };
    Ok(Term::Compares(field, comparator, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field { name: "name", kind: Kind::Order, sorts: true },
        Field { name: "display_name", kind: Kind::Text, sorts: true },
        Field { name: "state", kind: Kind::Choice(&["ACTIVE", "DELETED"]), sorts: false },
        Field { name: "create_time", kind: Kind::Time, sorts: true },
        WORDS,
    ];

    #[test]
    fn a_filter_is_a_sequence_of_comparisons_and_words() {
        let text = r#" state = ACTIVE AND create_time>="2026-01-01T00:00:00Z" display_name != "a \"b\" \\" Größe "#;
        let new_year = Timestamp::from_micros(1_767_225_600_000_000);
        let wanted = vec![
            Term::Compares(&FIELDS[2], Comparator::Equal, Value::Text("active".into())),
            Term::Compares(&FIELDS[3], Comparator::GreaterOrEqual, Value::Time(new_year)),
            Term::Compares(&FIELDS[1], Comparator::Unequal, Value::Text("a \"b\" \\".into())),
            Term::Mentions("größe".into()),
        ];
        assert_eq!(filter(text, FIELDS), Ok(wanted));
        assert_eq!(filter("  ", FIELDS), Ok(vec![]));
        assert_eq!(filter("\"AND\" android", FIELDS).map(|terms| terms.len()), Ok(2));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let (long, many) = ("x".repeat(MAX_FILTER + 1), "x ".repeat(MAX_TERMS + 1));
        let bad = [
            "AND",
            "a AND",
            "a AND ",
            "a AND AND b",
            "a OR b",
            "NOT a",
            "(a)",
            "a)",
            "=",
            "state",
            "\"open",
            "\"\\n\"",
            "state =",
            "state = ",
            "state == ACTIVE",
            "state = active",
            "state = SUSPENDED",
            "state < ACTIVE",
            "name = x",
            "secret = x",
            "display_name > x",
            "create_time = yesterday",
            "create_time > 5",
            &long,
            &many,
        ];
        for text in bad.into_iter().filter(|text| *text != "state") {
            assert!(filter(text, FIELDS).is_err(), "{text}");
        }
        assert!(filter("word", &FIELDS[..4]).is_err(), "without words to look in");
    }

    #[test]
    fn an_order_is_a_field_and_perhaps_a_direction() {
        assert_eq!(order("", FIELDS), Ok(CREATION));
        assert_eq!(order("name", FIELDS), Ok(Order { field: "name", descending: false }));
        assert_eq!(order(" display_name  desc", FIELDS), Ok(Order { field: "display_name", descending: true }));
        for bad in ["state", "nothing", "name asc", "name, display_name", "name desc desc", "desc"] {
            assert!(order(bad, FIELDS).is_err(), "{bad}");
        }
    }
}
