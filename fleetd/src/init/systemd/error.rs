//! What systemd and the bus say, in our words.

use zbus::DBusError as _;

use crate::init::InitError;

/// An error by its D-Bus name; messages are for people and change.
pub(super) fn init_error(about: &str, error: &zbus::Error) -> InitError {
    let (name, message) = match error {
        zbus::Error::MethodError(name, message, _) => (name.to_string(), message.clone().unwrap_or_default()),
        zbus::Error::FDO(error) => (
            error.name().to_string(),
            error.description().unwrap_or_default().to_owned(),
        ),
        other => return InitError::Unreachable(other.to_string()),
    };
    match name.as_str() {
        "org.freedesktop.systemd1.NoSuchUnit" => InitError::NoSuchUnit(about.to_owned()),
        "org.freedesktop.DBus.Error.NoReply"
        | "org.freedesktop.DBus.Error.Disconnected"
        | "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.DBus.Error.NoServer"
        | "org.freedesktop.DBus.Error.Timeout"
        | "org.freedesktop.DBus.Error.TimedOut" => InitError::Unreachable(message),
        _ => InitError::Refused { name, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_by_name() {
        let gone = zbus::Error::from(zbus::fdo::Error::NoReply("gone".to_owned()));
        assert_eq!(
            init_error("a.service", &gone),
            InitError::Unreachable("gone".to_owned())
        );
        let no = zbus::Error::from(zbus::fdo::Error::AccessDenied("no".to_owned()));
        assert!(
            matches!(init_error("a.service", &no), InitError::Refused { message, .. } if message == "no")
        );
    }
}
