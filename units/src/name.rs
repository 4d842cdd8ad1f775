//! Unit names: their rules, their parts, and the names people type (fleet-reference §1.3, §1.4).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The kinds of unit, told by the suffix of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // each is the systemd unit type of that name
pub enum UnitType {
    Automount,
    Busname,
    Device,
    Mount,
    Path,
    Scope,
    Service,
    Slice,
    Snapshot,
    Socket,
    Swap,
    Target,
    Timer,
}

impl UnitType {
    /// Every type a name may have.
    pub const ALL: [Self; 13] = [
        Self::Automount,
        Self::Busname,
        Self::Device,
        Self::Mount,
        Self::Path,
        Self::Scope,
        Self::Service,
        Self::Slice,
        Self::Snapshot,
        Self::Socket,
        Self::Swap,
        Self::Target,
        Self::Timer,
    ];

    /// The suffix, without the dot.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Automount => "automount",
            Self::Busname => "busname",
            Self::Device => "device",
            Self::Mount => "mount",
            Self::Path => "path",
            Self::Scope => "scope",
            Self::Service => "service",
            Self::Slice => "slice",
            Self::Snapshot => "snapshot",
            Self::Socket => "socket",
            Self::Swap => "swap",
            Self::Target => "target",
            Self::Timer => "timer",
        }
    }

    /// The type of that suffix.
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == suffix)
    }

    /// Whether the cluster runs units of this type: all that systemd starts from a file.
    pub fn is_supported(self) -> bool {
        self.unsupported().is_none()
    }

    /// Why the cluster does not run units of this type, if it does not.
    pub fn unsupported(self) -> Option<&'static str> {
        match self {
            Self::Device => Some("the kernel makes devices, and udev tells systemd of them"),
            Self::Scope => Some("programs make scopes for processes they have started"),
            Self::Busname | Self::Snapshot => Some("systemd has none of these any more"),
            Self::Automount
            | Self::Mount
            | Self::Path
            | Self::Service
            | Self::Slice
            | Self::Socket
            | Self::Swap
            | Self::Target
            | Self::Timer => None,
        }
    }

    /// Whether names of this type may contain `@`; the same five in fleet and in systemd.
    pub fn may_be_template(self) -> bool {
        matches!(
            self,
            Self::Path | Self::Service | Self::Socket | Self::Target | Self::Timer
        )
    }
}

impl fmt::Display for UnitType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a name is no unit name; the messages are those of fleet's API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum NameError {
    #[error("unit name cannot be empty")]
    Empty,
    #[error("unit name exceeds maximum length (256)")]
    TooLong,
    #[error("unit name must contain \".\"")]
    NoDot,
    #[error("unit name cannot end in \".\"")]
    TrailingDot,
    #[error("invalid unit type: {0:?}")]
    Type(String),
    #[error("invalid unit type for template: {0:?}")]
    TemplateType(String),
    #[error("invalid character {0:?} in unit name")]
    Character(char),
    #[error("unit name cannot start in \"@\"")]
    LeadingAt,
}

/// A valid unit name such as `web@1.service`; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(Arc<str>);

impl UnitName {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 256;

    /// Checks a name by the rules of fleet-reference §1.3; the first rule broken is the error.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > Self::MAX_LENGTH {
            return Err(NameError::TooLong);
        }
        let (stem, suffix) = name.rsplit_once('.').ok_or(NameError::NoDot)?;
        if suffix.is_empty() {
            return Err(NameError::TrailingDot);
        }
        let unit_type = UnitType::from_suffix(suffix).ok_or_else(|| NameError::Type(suffix.to_owned()))?;
        if stem.contains('@') && !unit_type.may_be_template() {
            return Err(NameError::TemplateType(suffix.to_owned()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
        if let Some(other) = stem.chars().find(|&c| !allowed(c)) {
            return Err(NameError::Character(other));
        }
        if stem.starts_with('@') {
            return Err(NameError::LeadingAt);
        }
        Ok(Self(name.into()))
    }

    /// The unit that a command-line argument means: the base name of the path, with `.service` appended unless it
    /// ends in the suffix of a unit type. fleet 1.0 knew only seven of them.
    pub fn from_argument(argument: &str) -> Result<Self, NameError> {
        let base = argument
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        if base.is_empty() {
            return Err(NameError::Empty);
        }
        let suffix = base
            .rsplit_once('.')
            .and_then(|(_, suffix)| UnitType::from_suffix(suffix));
        match suffix {
            Some(_) => Self::parse(base),
            None => Self::parse(&format!("{base}.service")),
        }
    }

    /// The whole name, `%n`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn split(&self) -> (&str, &str) {
        // The name has a dot: it was parsed.
        self.0.rsplit_once('.').unwrap_or((&self.0, ""))
    }

    /// What follows the last dot.
    pub fn suffix(&self) -> &str {
        self.split().1
    }

    /// The type that the suffix names.
    pub fn unit_type(&self) -> UnitType {
        // The suffix is a type: it was parsed.
        UnitType::from_suffix(self.suffix()).unwrap_or(UnitType::Service)
    }

    /// The name without its suffix, `%N`.
    pub fn stem(&self) -> &str {
        self.split().0
    }

    /// What precedes the first `@`, or the stem if there is none, `%p`.
    pub fn prefix(&self) -> &str {
        self.stem()
            .split_once('@')
            .map_or_else(|| self.stem(), |(prefix, _)| prefix)
    }

    /// What follows the first `@`, `%i`; `None` for templates and for names without `@`.
    pub fn instance(&self) -> Option<&str> {
        let (_, instance) = self.stem().split_once('@')?;
        (!instance.is_empty()).then_some(instance)
    }

    /// The template of an instance: `web@.service` of `web@1.service`; `None` for all other names.
    pub fn template(&self) -> Option<Self> {
        self.instance()?;
        Some(Self(format!("{}@.{}", self.prefix(), self.suffix()).into()))
    }

    /// Whether this names a template, such as `web@.service`.
    pub fn is_template(&self) -> bool {
        self.stem()
            .split_once('@')
            .is_some_and(|(_, instance)| instance.is_empty())
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

impl TryFrom<String> for UnitName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests;
