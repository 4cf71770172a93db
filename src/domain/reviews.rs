//! Reviews of access: what they look at.

/// A kind of record that gives access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A person.
    User,
    /// A program.
    ServiceAccount,
    /// An API key.
    Key,
    /// A role given to somebody.
    Binding,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::User, Self::ServiceAccount, Self::Key, Self::Binding];

    /// The kind as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceAccount => "service_account",
            Self::Key => "key",
            Self::Binding => "binding",
        }
    }

    /// The kind that a word is.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}
