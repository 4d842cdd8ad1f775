//! What the user's configuration of ssh says, as `ssh -G` prints it.

/// The part of it that decides what we add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Configured {
    /// `ConnectTimeout` is set.
    pub(super) has_time_limit: bool,
    pub(super) sharing: Sharing,
}

/// Whether connections to the host share one that was authenticated before (`ControlPath`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// No.
    None,
    /// If there happens to be one.
    Perhaps,
    /// Yes: the first one stays for those that follow (`ControlPersist`).
    Yes,
}

impl Configured {
    /// Keywords in lower case, one a line; what is not there is not set, or this ssh does not know it.
    pub(super) fn read(text: &str) -> Self {
        let value = |keyword: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let (_, value) = lines.find(|(name, _)| *name == keyword)?;
            Some(value.trim()).filter(|value| !matches!(*value, "none" | "no" | "false"))
        };
        let sharing = match (
            value("controlpath"),
            value("controlmaster"),
            value("controlpersist"),
        ) {
            (None, ..) => Sharing::None,
            (Some(_), Some(_), Some(_)) => Sharing::Yes,
            (Some(_), ..) => Sharing::Perhaps,
        };
        Self {
            has_time_limit: value("connecttimeout").is_some(),
            sharing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_prints() {
        use Sharing::{None, Perhaps, Yes};
        let table = [
            ("", false, None),
            (
                "connecttimeout none\ncontrolmaster false\ncontrolpersist no\n",
                false,
                None,
            ),
            ("user root\nconnecttimeout 30\n", true, None),
            (
                "controlmaster auto\ncontrolpath none\ncontrolpersist yes\n",
                false,
                None,
            ),
            (
                "controlmaster false\ncontrolpath /run/s\ncontrolpersist no\n",
                false,
                Perhaps,
            ),
            (
                "controlmaster auto\ncontrolpath /run/s\ncontrolpersist no\n",
                false,
                Perhaps,
            ),
            (
                "controlmaster false\ncontrolpath /run/s\ncontrolpersist 600\n",
                false,
                Perhaps,
            ),
            (
                "controlmaster auto\ncontrolpath /run/s\ncontrolpersist 600\n",
                false,
                Yes,
            ),
            (
                "controlmaster true\ncontrolpath /a b/s\ncontrolpersist yes\n",
                false,
                Yes,
            ),
        ];
        for (text, has_time_limit, sharing) in table {
            let expected = Configured {
                has_time_limit,
                sharing,
            };
            assert_eq!(Configured::read(text), expected, "{text}");
        }
    }
}
