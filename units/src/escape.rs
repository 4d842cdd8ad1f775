//! Paths inside unit names: `/srv/my data` is `srv-my\x20data` (systemd.unit(5), "String Escaping for Inclusion in
//! Unit Names"; `systemd-escape --path`).

/// The name, without a suffix, that systemd gives a mount, automount or swap of that path.
///
/// `None` for what systemd takes for no such path: relative ones, and those with `..` in them.
pub fn path(path: &str) -> Option<String> {
    let mut escaped = String::new();
    let parts = path.strip_prefix('/')?.split('/');
    for part in parts.filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return None;
        }
        if !escaped.is_empty() {
            escaped.push('-');
        }
        for byte in part.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b":_.".contains(&byte);
            // A name that begins with a dot would be a hidden file.
            if plain && !(byte == b'.' && escaped.is_empty()) {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("\\x{byte:02x}"));
            }
        }
    }
    Some(match escaped.is_empty() {
        true => "-".to_owned(),
        false => escaped,
    })
}

/// The path that such a name stands for; `None` if it is not one that [`path`] makes.
pub fn unescape(name: &str) -> Option<String> {
    if name == "-" {
        return Some("/".to_owned());
    }
    let mut bytes = vec![b'/'];
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'-' => b'/',
            b'\\' => {
                let (x, digits) = (rest.next()?, [rest.next()?, rest.next()?]);
                let digits = std::str::from_utf8(&digits).ok()?.to_owned();
                u8::from_str_radix(&digits, 16).ok().filter(|_| x == b'x')?
            }
            plain => plain,
        });
    }
    let unescaped = String::from_utf8(bytes).ok()?;
    (path(&unescaped).as_deref() == Some(name)).then_some(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `systemd-escape --path` of systemd 252 and 257 has it.
    const PATHS: [(&str, &str); 8] = [
        ("/", "-"),
        ("/mnt", "mnt"),
        ("/srv/data/x", "srv-data-x"),
        ("/srv/my-data", r"srv-my\x2ddata"),
        ("/srv/my data", r"srv-my\x20data"),
        ("/.hidden/.x", r"\x2ehidden-.x"),
        ("/dev/disk/by-uuid/a:b_c", r"dev-disk-by\x2duuid-a:b_c"),
        ("/é", r"\xc3\xa9"),
    ];

    #[test]
    fn names_are_those_of_systemd() {
        for (plain, name) in PATHS {
            assert_eq!(path(plain).as_deref(), Some(name));
            assert_eq!(unescape(name).as_deref(), Some(plain));
        }
        for (plain, name) in [("//mnt//a/./b/", "mnt-a-b"), ("///", "-")] {
            assert_eq!(path(plain).as_deref(), Some(name), "systemd tidies it first");
        }
    }

    #[test]
    fn what_is_no_path_has_no_name() {
        for text in ["", "mnt", "/a/../b", "UUID=1"] {
            assert_eq!(path(text), None, "{text}");
        }
        for name in [
            "", "a--b", "-a", "a-", r"a\x2", r"a\xzz", r"a\y20", r"a\x61", "a b",
        ] {
            assert_eq!(unescape(name), None, "{name}");
        }
    }
}
