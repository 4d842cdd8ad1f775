//! Unit names inside D-Bus object paths: `web@1.service` is `/org/freedesktop/systemd1/unit/web_401_2eservice`.

/// Where the object paths of all units begin.
pub(super) const UNITS: &str = "/org/freedesktop/systemd1/unit";

/// The unit that an object path belongs to; `None` for other objects. Undoes systemd's `bus_label_escape`.
pub(super) fn unit_name(path: &str) -> Option<String> {
    let label = path.strip_prefix(UNITS)?.strip_prefix('/')?;
    let mut name = Vec::with_capacity(label.len());
    let mut bytes = label.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'_' {
            name.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        name.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_systemd() {
        for (label, name) in [
            ("a_2eservice", "a.service"),
            ("getty_40tty1_2eservice", "getty@tty1.service"),
            ("_30a_2d_5fb_2etimer", "0a-_b.timer"),
            ("system_2dx_5cx2dy_2eslice", "system-x\\x2dy.slice"),
        ] {
            assert_eq!(unit_name(&format!("{UNITS}/{label}")).as_deref(), Some(name));
        }
    }

    #[test]
    fn other_objects_are_no_units() {
        assert_eq!(unit_name("/org/freedesktop/systemd1/job/7"), None);
        assert_eq!(unit_name("/org/freedesktop/systemd1/unit/a_2"), None);
        assert_eq!(unit_name("/org/freedesktop/systemd1/unit/a_zz"), None);
    }
}
