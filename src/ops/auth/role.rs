//! What a caller may do.

use serde::Deserialize;

/// One thing that callers may do or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerRole {
    /// Have texts checked.
    Check,
    /// See the scores of all classes, and not only what was found: what copies of a model are trained on.
    Scores,
    /// Turn pseudonyms back into what they stand for.
    Restore,
}

impl CallerRole {
    const ALL: [Self; 3] = [Self::Check, Self::Scores, Self::Restore];

    /// As files and tokens spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Scores => "scores",
            Self::Restore => "restore",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct CallerRoles(u8);

impl CallerRoles {
    /// Each of them.
    pub const ALL: Self = Self(0b111);

    /// Those of these names that are roles; other names mean nothing here.
    pub(super) fn among<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let roles = names.filter_map(CallerRole::named);
        Self(roles.fold(0, |set, role| set | 1 << role as u8))
    }

    /// Whether `role` is one of them.
    #[must_use]
    pub fn allow(self, role: CallerRole) -> bool {
        self.0 & (1 << role as u8) != 0
    }
}

impl TryFrom<Vec<String>> for CallerRoles {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        match names.iter().find(|name| CallerRole::named(name).is_none()) {
            Some(name) => {
                let known = CallerRole::ALL.map(CallerRole::name).join(", ");
                Err(format!("{name:?} is no role; {known} are"))
            }
            None => Ok(Self::among(names.iter().map(String::as_str))),
        }
    }
}
