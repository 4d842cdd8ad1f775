//! `write_files`.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use base64::Engine as _;

use super::finding::quoted;
use super::section::{Field, Section};
use crate::bootstrap::system::File;

const KEYS: [&str; 5] = ["content", "encoding", "owner", "path", "permissions"];

/// Reads the list.
pub(super) fn read(list: &Field<'_>) -> Vec<File> {
    let mut all = Vec::new();
    let mut lines = BTreeMap::new();
    for field in list.items() {
        let Some(section) = Section::open(&field, &KEYS) else {
            continue;
        };
        let Some(file) = file(&section) else { continue };
        if let Some(line) = lines.insert(file.path.clone(), field.line) {
            let path = file.path.display();
            field.error(format!("{path} is written in line {line} already"));
        }
        all.push(file);
    }
    all
}

fn file(section: &Section<'_>) -> Option<File> {
    // All of them are looked at before the first that is wrong ends it.
    let path = section.need("path").and_then(|f| path(&f));
    let mode = section.get("permissions").map_or(Some(0o644), |f| mode(&f));
    let owner = section
        .get("owner")
        .map_or_else(|| Some("root".to_owned()), |f| owner(&f));
    let encoding = section.text("encoding").unwrap_or_default();
    let content = match section.get("content") {
        None => Some(Vec::new()),
        Some(field) => match encoding.as_str() {
            "" | "text/plain" => field.text().map(String::into_bytes),
            "b64" | "base64" => base64(&field),
            other => {
                let field = section.get("encoding")?;
                if other.starts_with("gz") {
                    field.error(format!("{other} is not taken: use base64, or write the text out"));
                    None
                } else {
                    field.wrong("base64 or b64")
                }
            }
        },
    };
    Some(File {
        path: path?.into(),
        content: content?,
        mode: mode?,
        owner: owner?,
    })
}

fn path(field: &Field<'_>) -> Option<String> {
    let text = field.line_of_text()?;
    let path = Path::new(&text);
    let is_plain = |c: Component<'_>| matches!(c, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || path.file_name().is_none() || text.ends_with('/') {
        return field.wrong("the path of a file, from /");
    }
    if !path.components().all(is_plain) {
        field.error(format!("{} has a .. in it: write the path out", quoted(&text)));
        return None;
    }
    if text.contains("/system/etcd2.service.d/") {
        field.notice("is not read by etcd: its unit is etcd.service today");
    }
    Some(
        path.components()
            .collect::<std::path::PathBuf>()
            .display()
            .to_string(),
    )
}

fn mode(field: &Field<'_>) -> Option<u32> {
    let text = field.line_of_text()?;
    let digits = text.strip_prefix("0o").unwrap_or(&text);
    let is_octal = (3..=5).contains(&digits.len()) && digits.chars().all(|c| ('0'..='7').contains(&c));
    let mode = u32::from_str_radix(digits, 8)
        .ok()
        .filter(|m| is_octal && *m <= 0o7777);
    mode.or_else(|| field.wrong("octal permissions such as 0644"))
}

fn owner(field: &Field<'_>) -> Option<String> {
    let text = field.line_of_text()?;
    let (user, group) = text
        .split_once(':')
        .map_or((text.as_str(), None), |(u, g)| (u, Some(g)));
    if is_account(user) && group.is_none_or(is_account) {
        return Some(text);
    }
    field.wrong("USER or USER:GROUP")
}

/// What useradd takes for a name, or a number.
pub(super) fn is_account(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && name.len() <= 32
}

fn base64(field: &Field<'_>) -> Option<Vec<u8>> {
    let mut text = field.text()?;
    text.retain(|c| !c.is_ascii_whitespace());
    match base64::engine::general_purpose::STANDARD.decode(text) {
        Ok(content) => Some(content),
        Err(error) => {
            field.error(format!("is not base64: {error}"));
            None
        }
    }
}
