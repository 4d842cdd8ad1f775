//! The form of `fleet.conf`: `key=value` lines outside any section, as fleet took them (fleet-reference §6).
//!
//! A value that is quoted or bracketed is TOML; anything else is taken as it stands, up to a `#` or `;`.

use super::{ConfigError, Value, Values};

/// Reads the text of a file called `name` in messages.
///
/// # Errors
/// The first line that is no assignment.
pub fn parse(text: &str, name: &str) -> Result<Values, ConfigError> {
    let mut values = Values::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut line = line.trim().to_owned();
        while line.ends_with('\\') {
            line.pop();
            match lines.next() {
                Some((_, more)) => line.push_str(more.trim()),
                None => break,
            }
        }
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let origin = format!("{name} line {}", index + 1);
        let syntax = |why: &str| ConfigError::Syntax {
            origin: origin.clone(),
            why: why.to_owned(),
        };
        if line.starts_with('[') {
            return Err(syntax("sections have no meaning here: expected key=value"));
        }
        let (key, text) = line.split_once('=').ok_or_else(|| syntax("expected key=value"))?;
        let key = key.trim().to_ascii_lowercase();
        if key.is_empty() {
            return Err(syntax("expected a key before the ="));
        }
        let text = value(text.trim()).map_err(|why| syntax(&why))?;
        values.insert(key, Value { text, origin });
    }
    Ok(values)
}

fn value(text: &str) -> Result<String, String> {
    if !text.starts_with(['"', '\'', '[']) {
        let end = text.find(['#', ';']).unwrap_or(text.len());
        return Ok(text[..end].trim_end().to_owned());
    }
    let table: toml::Table = format!("value = {text}")
        .parse()
        .map_err(|e: toml::de::Error| format!("the value {}", e.message()))?;
    match table.get("value") {
        Some(toml::Value::String(text)) => Ok(text.clone()),
        Some(toml::Value::Array(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            items
                .map(|items| items.join(","))
                .ok_or_else(|| "expected a list of quoted texts".to_owned())
        }
        _ => Err("expected a text or a list".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Result<String, String> {
        let values = parse(text, "f").map_err(|e| e.to_string())?;
        let (key, value) = values.into_iter().next().unwrap();
        Ok(format!("{key}={}", value.text))
    }

    #[test]
    fn every_form_of_a_value_is_read() {
        for (text, expected) in [
            ("a=b", "a=b"),
            ("  A = b c  ", "a=b c"),
            ("a=b # said", "a=b"),
            ("a=b ; said", "a=b"),
            ("a=\"b # c\"", "a=b # c"),
            ("a='b'", "a=b"),
            ("a=", "a="),
            ("# x\n; y\n\na=1", "a=1"),
            ("a=[\"x\", \"y\"]", "a=x,y"),
            ("a=b\\\n  c", "a=bc"),
        ] {
            assert_eq!(get(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_an_error_with_its_line() {
        for (text, expected) in [
            ("a=1\nhello", "f line 2: expected key=value"),
            (
                "[fleet]\na=1",
                "f line 1: sections have no meaning here: expected key=value",
            ),
            ("=1", "f line 1: expected a key before the ="),
        ] {
            assert_eq!(get(text).unwrap_err(), expected);
        }
        assert!(get("a=\"b").unwrap_err().starts_with("f line 1: the value "));
    }
}
