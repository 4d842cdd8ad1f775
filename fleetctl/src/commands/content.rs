//! Where the content of a unit comes from (fleet-reference §1.4), and its check before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use units::{
    OptionError, ParseError, Position, RequirementError, UnitFile, UnitName, ValidateError, validate,
};

use super::Named;
use crate::api::{Api, ApiError};
use crate::printer::Printer;

/// The content of a unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    pub(super) file: UnitFile,
    pub(super) origin: Origin,
}

/// Where content was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file an argument names.
    File(PathBuf),
    /// The template beside it.
    Template(PathBuf),
    /// The template in the registry.
    Registry(UnitName),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Template(path) => path.display().fmt(f),
            Self::Registry(template) => write!(f, "{template} (in the registry)"),
        }
    }
}

/// Why there is no content to send, in one line.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub(super) enum ContentError {
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}:{}:{}: expected UTF-8 text", path.display(), position.line, position.column)]
    NotText { path: PathBuf, position: Position },
    #[error("{}:{}:{}: {}", path.display(), error.line, error.column, error.fault)]
    Parse { path: PathBuf, error: ParseError },
    #[error("{origin}: {error}")]
    Registry { origin: Origin, error: OptionError },
    #[error("{}", invalid(origin, error))]
    Invalid {
        origin: Origin,
        error: Box<ValidateError>,
    },
    #[error("unable to find Unit({0}) in Registry or on filesystem")]
    NoUnit(UnitName),
    #[error(
        "failed getting Unit({unit}) from template: unable to find template Unit({template}) in Registry or on filesystem"
    )]
    NoTemplate { unit: UnitName, template: UnitName },
    #[error("unable to find a local unit file for Unit({0}) to replace it with")]
    NothingToReplaceWith(UnitName),
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// An error of the check, at the place in the file it is about.
fn invalid(origin: &Origin, error: &ValidateError) -> String {
    let ValidateError::Requirement(fault) = error else {
        return format!("{origin}: {error}");
    };
    let position = fault.location().and_then(|location| location.position);
    let Some(Position { line, column }) = position else {
        return format!("{origin}: {error}");
    };
    let text = match fault {
        RequirementError::Malformed {
            key, value, expected, ..
        } => format!("{key}={value:?}: {expected}"),
        other => other.to_string(),
    };
    format!("{origin}:{line}:{column}: {text}")
}

/// Finds content.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    api: &'a Api,
    printer: Printer,
    /// Templates asked for: three hundred instances need one answer.
    templates: BTreeMap<UnitName, Option<UnitFile>>,
    /// Warnings that have been given, for the same reason.
    warned: BTreeSet<String>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(api: &'a Api, printer: Printer) -> Self {
        Self {
            api,
            printer,
            templates: BTreeMap::new(),
            warned: BTreeSet::new(),
        }
    }

    /// The content for a unit that the registry does not have.
    ///
    /// The registry's template goes before the one that lies here, unless `replace` says that what lies here is what
    /// is wanted.
    pub(super) async fn create(&mut self, named: &Named, replace: bool) -> Result<Content, ContentError> {
        let unit = &named.unit;
        if let Some(content) = local_file(named)? {
            return Ok(content);
        }
        let Some(template) = unit.template() else {
            return Err(ContentError::NoUnit(unit.clone()));
        };
        let found = match replace {
            true => match local_template(named, &template)? {
                Some(content) => Some(content),
                None => self.registry_template(&template).await?,
            },
            false => match self.registry_template(&template).await? {
                Some(content) => Some(content),
                None => local_template(named, &template)?,
            },
        };
        found.ok_or_else(|| ContentError::NoTemplate {
            unit: unit.clone(),
            template,
        })
    }

    /// The content to give a unit that the registry has.
    pub(super) async fn replace(&mut self, named: &Named) -> Result<Content, ContentError> {
        match self.create(named, true).await {
            Err(ContentError::NoUnit(unit) | ContentError::NoTemplate { unit, .. }) => {
                Err(ContentError::NothingToReplaceWith(unit))
            }
            result => result,
        }
    }

    /// Checks content before it is sent, and passes on what its author should know. Gives whether it makes the unit run
    /// on every machine that fits.
    pub(super) fn check(&mut self, unit: &UnitName, content: &Content) -> Result<bool, ContentError> {
        let parsed = validate(unit, &content.file).map_err(|error| ContentError::Invalid {
            origin: content.origin.clone(),
            error: Box::new(error),
        })?;
        for warning in parsed.warnings {
            let mut message = warning.message.as_str();
            let mut at = String::new();
            if let Some(position) = warning.position {
                at = format!(":{}:{}", position.line, position.column);
                message = message.strip_prefix(&format!("{position}: ")).unwrap_or(message);
            }
            let hint = warning.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            let text = format!("{}{at}: {message}{hint}", content.origin);
            if self.warned.insert(text.clone()) {
                self.printer.warning(text);
            }
        }
        Ok(parsed.requirements.global)
    }

    async fn registry_template(&mut self, template: &UnitName) -> Result<Option<Content>, ContentError> {
        let origin = Origin::Registry(template.clone());
        if !self.templates.contains_key(template) {
            let unit = self.api.unit(template).await?;
            let file = unit.map(|unit| UnitFile::from_options(unit.options)).transpose();
            let file = file.map_err(|error| ContentError::Registry {
                origin: origin.clone(),
                error,
            })?;
            self.templates.insert(template.clone(), file);
        }
        let file = self.templates.get(template).cloned().flatten();
        Ok(file.map(|file| Content { file, origin }))
    }
}

/// The content that lies here for a unit: its own file, or its template.
pub(super) fn local(named: &Named) -> Result<Option<Content>, ContentError> {
    match (local_file(named)?, named.unit.template()) {
        (None, Some(template)) => local_template(named, &template),
        (file, _) => Ok(file),
    }
}

/// The file that the argument names, or, where `.service` was left out, the one it means.
fn local_file(named: &Named) -> Result<Option<Content>, ContentError> {
    let argument = Path::new(&named.argument);
    for path in [argument.to_owned(), argument.with_file_name(named.unit.as_str())] {
        if path.is_file() {
            let file = read(&path)?;
            return Ok(Some(Content {
                file,
                origin: Origin::File(path),
            }));
        }
    }
    Ok(None)
}

/// The template in the directory of the argument.
fn local_template(named: &Named, template: &UnitName) -> Result<Option<Content>, ContentError> {
    let path = Path::new(&named.argument).with_file_name(template.as_str());
    if !path.is_file() {
        return Ok(None);
    }
    let file = read(&path)?;
    Ok(Some(Content {
        file,
        origin: Origin::Template(path),
    }))
}

fn read(path: &Path) -> Result<UnitFile, ContentError> {
    let path = path.to_owned();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(ContentError::Read { path, error }),
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let last = before.rsplit('\n').next().unwrap_or_default();
            let position = Position {
                line: before.matches('\n').count() + 1,
                column: last.chars().count() + 1,
            };
            return Err(ContentError::NotText { path, position });
        }
    };
    UnitFile::parse(text).map_err(|error| ContentError::Parse { path, error })
}
