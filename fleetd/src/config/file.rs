//! The form of `fleet.conf`: `key=value` lines outside any section, as fleet took them (fleet-reference §6).
//!
//! A value in quotes is what stands between them, without escapes. Any other is taken as it stands, up to a `#` or `;`.
//! A line that ends in `\` goes on with the next one; a comment does not, else it would swallow a setting.

use super::{ConfigError, Value, Values};

/// Reads the text of a file called `name` in messages. The last of several lines for one key counts.
///
/// # Errors
/// The first line that is no assignment.
pub fn parse(text: &str, name: &str) -> Result<Values, ConfigError> {
    let mut values = Values::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut line = line.trim().to_owned();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        while line.ends_with('\\') {
            line.pop();
            match lines.next() {
                Some((_, more)) => line.push_str(more.trim()),
                None => break,
            }
        }
        let origin = format!("{name} line {}", index + 1);
        let (key, text) = assignment(&line).map_err(|why| ConfigError::Syntax {
            origin: origin.clone(),
            why: why.to_owned(),
        })?;
        values.insert(key.to_ascii_lowercase(), Value { text, origin });
    }
    Ok(values)
}

fn assignment(line: &str) -> Result<(&str, String), &'static str> {
    if line.starts_with('[') {
        return Err("sections have no meaning here: expected key=value");
    }
    let (key, text) = line.split_once('=').ok_or("expected key=value")?;
    match key.trim() {
        "" => Err("expected a key before the ="),
        key if key.contains(char::is_whitespace) => Err("expected a key without blanks before the ="),
        key => Ok((key, value(text.trim())?.to_owned())),
    }
}

fn value(text: &str) -> Result<&str, &'static str> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let end = text.find(['#', ';']).unwrap_or(text.len());
        return Ok(text[..end].trim_end());
    };
    let (quoted, rest) = text[1..]
        .split_once(quote)
        .ok_or("the value begins with a quote that does not end")?;
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with(['#', ';']) {
        Ok(quoted)
    } else {
        Err(
            "expected nothing after the quoted value; a value that contains quotes of one kind goes into the other kind",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Result<String, String> {
        let values = parse(text, "f").map_err(|e| e.to_string())?;
        let shown = values
            .into_iter()
            .map(|(key, value)| format!("{key}={}", value.text));
        Ok(shown.collect::<Vec<_>>().join(" & "))
    }

    /// fleet-reference §6, "File".
    #[test]
    fn every_form_of_a_line_is_read() {
        for (text, expected) in [
            ("a=b", "a=b"),
            ("  A = b c  ", "a=b c"),
            ("METADATA=Zone=A", "metadata=Zone=A"),
            ("a=\"b\"", "a=b"),
            ("a='b'", "a=b"),
            ("a = \" b \"", "a= b "),
            ("a=b # said", "a=b"),
            ("a=b ; said", "a=b"),
            ("a=b#said", "a=b"),
            ("a=\"b # c; d\"", "a=b # c; d"),
            ("a='b' # said", "a=b"),
            ("a=\"it's\"", "a=it's"),
            ("a='say \"x\"'", "a=say \"x\""),
            ("a=\"C:\\temp\"", "a=C:\\temp"),
            ("a=b\"c\"", "a=b\"c\""),
            ("a=b=c", "a=b=c"),
            ("a=", "a="),
            ("a=# said", "a="),
            ("a=\"\"", "a="),
            ("# x\n; y\n\n \t\na=1", "a=1"),
            ("# x \\\na=1", "a=1"),
            ("a=[\"x\", \"y\"]", "a=[\"x\", \"y\"]"),
            ("a=b\\\n  c\nd=e", "a=bc & d=e"),
            ("a=b,\\\n c,\\\n d", "a=b,c,d"),
            ("a=\"b\\\n  c\"", "a=bc"),
            ("a=b\\", "a=b"),
            ("a=1\r\nb=2\r\n", "a=1 & b=2"),
            ("a=1\na=2", "a=2"),
            ("a=ä", "a=ä"),
            ("", ""),
        ] {
            assert_eq!(get(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_an_error_with_its_line() {
        for (text, expected) in [
            ("a=1\nhello", "f line 2: expected key=value"),
            ("a=1\\\n2\nhello \\\nworld", "f line 3: expected key=value"),
            (
                "[fleet]\na=1",
                "f line 1: sections have no meaning here: expected key=value",
            ),
            ("=1", "f line 1: expected a key before the ="),
            ("a b=1", "f line 1: expected a key without blanks before the ="),
            (
                "a=\"b",
                "f line 1: the value begins with a quote that does not end",
            ),
            (
                "a='b'c",
                "f line 1: expected nothing after the quoted value; a value that contains quotes of one kind goes into \
                 the other kind",
            ),
        ] {
            assert_eq!(get(text).unwrap_err(), expected);
        }
    }
}
