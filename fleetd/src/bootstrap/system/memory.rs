//! A machine in memory: files, users, units, and a list of everything that was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{Ended, File, System, SystemError};

/// The twin of [`super::ThisMachine`]. It knows the programs that bootstrap uses; others succeed and say nothing, unless
/// they are given an answer.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    users: BTreeMap<String, String>,
    groups: BTreeSet<String>,
    active: BTreeSet<String>,
    /// `enabled`, `masked`, …
    enabled: BTreeMap<String, String>,
    changes: Vec<String>,
    answers: Vec<Answer>,
}

#[derive(Debug)]
struct Answer {
    command: String,
    ended: Ended,
    is_change: bool,
}

fn ended(success: bool, stdout: &str) -> Ended {
    Ended {
        success,
        stdout: stdout.to_owned(),
        stderr: String::new(),
    }
}

impl Memory {
    /// A machine called `name`, with the group `sudo`.
    pub fn new(name: &str) -> Self {
        let memory = Self::default();
        memory.put("/etc/hostname", name);
        memory.put("/proc/sys/kernel/hostname", name);
        memory.put("/etc/hosts", "127.0.0.1 localhost\n");
        memory.state(|s| s.groups.insert("sudo".to_owned()));
        memory
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.lock().unwrap())
    }

    /// Puts a file there, which is no change.
    pub fn put(&self, path: &str, content: &str) {
        let file = File::plain(path, content);
        self.state(|s| s.files.insert(file.path.clone(), file));
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> Option<String> {
        self.state(|s| s.files.get(Path::new(path)).cloned())
            .map(|file| String::from_utf8(file.content).unwrap())
    }

    /// A file.
    pub fn file(&self, path: &str) -> Option<File> {
        self.state(|s| s.files.get(Path::new(path)).cloned())
    }

    /// A unit runs, or does not.
    pub fn set_active(&self, unit: &str, active: bool) {
        self.state(|s| match active {
            true => s.active.insert(unit.to_owned()),
            false => s.active.remove(unit),
        });
    }

    /// Everything that was changed so far, in words; forgotten with that.
    pub fn changes(&self) -> Vec<String> {
        self.state(|s| std::mem::take(&mut s.changes))
    }

    /// A command line that begins so ends so; the latest answer given wins.
    pub fn answer(&self, command: &str, answer: Ended) {
        self.teach(command, answer, true);
    }

    /// As [`Self::answer`], to a question: asking it is no change.
    pub fn reply(&self, command: &str, answer: Ended) {
        self.teach(command, answer, false);
    }

    fn teach(&self, command: &str, ended: Ended, is_change: bool) {
        let answer = Answer {
            command: command.to_owned(),
            ended,
            is_change,
        };
        self.state(|s| s.answers.insert(0, answer));
    }
}

impl System for Memory {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, SystemError> {
        Ok(self.state(|s| s.files.get(path).map(|file| file.content.clone())))
    }

    fn is_there(&self, path: &Path) -> Result<bool, SystemError> {
        Ok(self.state(|s| s.files.keys().any(|file| file.starts_with(path))))
    }

    fn write(&self, file: &File) -> Result<bool, SystemError> {
        if self.holds(file)? {
            return Ok(false);
        }
        self.state(|s| {
            s.changes.push(format!("write {}", file.path.display()));
            s.files.insert(file.path.clone(), file.clone());
        });
        Ok(true)
    }

    fn holds(&self, file: &File) -> Result<bool, SystemError> {
        Ok(self.state(|s| s.files.get(&file.path) == Some(file)))
    }

    fn remove(&self, path: &Path) -> Result<bool, SystemError> {
        Ok(self.state(|s| {
            let before = s.files.len();
            s.files.retain(|other, _| !other.starts_with(path));
            let removed = s.files.len() < before;
            if removed {
                s.changes.push(format!("remove {}", path.display()));
            }
            removed
        }))
    }

    fn run_with(&self, program: &str, arguments: &[&str], input: &str) -> Result<Ended, SystemError> {
        let command = [&[program], arguments].concat().join(" ");
        Ok(self.state(|s| {
            let answer = s.answers.iter().find(|a| command.starts_with(&a.command));
            match answer.map(|a| (a.ended.clone(), a.is_change)) {
                Some((ended, is_change)) => {
                    if is_change {
                        s.changes.push(command);
                    }
                    ended
                }
                None => s.run(program, arguments, &command, input),
            }
        }))
    }
}

impl State {
    fn run(&mut self, program: &str, arguments: &[&str], command: &str, input: &str) -> Ended {
        let is_question = match (program, arguments) {
            ("getent", ["passwd", user]) => Some(match self.users.get(*user) {
                Some(home) => ended(true, &format!("{user}:x:1000:1000::{home}:/bin/bash\n")),
                None => ended(false, ""),
            }),
            ("getent", ["group", group]) => Some(ended(self.groups.contains(*group), "")),
            ("runuser", ["-u", _, "--", "sh", "-c", _, "sh", path, limit])
                if limit.parse::<usize>().is_ok() =>
            {
                let text = self.files.get(Path::new(path)).map(|f| f.content.clone());
                let text = text.map(|t| String::from_utf8(t).unwrap());
                let text = text.map(|t| t.chars().take(limit.parse().unwrap()).collect::<String>());
                Some(ended(text.is_some(), &text.unwrap_or_default()))
            }
            ("ls", [.., path]) => {
                let below = self.files.keys().filter_map(|file| file.strip_prefix(path).ok());
                let names = below.filter_map(|file| file.components().next());
                let names: BTreeSet<_> = names.map(|name| name.as_os_str().to_string_lossy()).collect();
                let text: String = names.iter().map(|name| format!("{name}\n")).collect();
                Some(ended(!names.is_empty(), &text))
            }
            // All is root's here.
            ("runuser", ["-u", _, "--", "test", ..]) => Some(ended(false, "")),
            ("stat", [.., path]) => {
                let is_there = self.files.keys().any(|file| file.starts_with(path));
                Some(ended(is_there, if is_there { "root\n" } else { "" }))
            }
            ("systemctl", ["show", ..]) => Some(ended(true, "")),
            ("systemctl", ["is-active", .., unit]) => Some(ended(self.active.contains(*unit), "")),
            ("systemctl", ["is-enabled", unit]) => {
                let word = self.enabled.get(*unit).map_or("disabled", String::as_str);
                Some(ended(word.starts_with("enabled"), word))
            }
            _ => None,
        };
        if let Some(answer) = is_question {
            return answer;
        }
        if let ("systemctl", [verb, units @ ..]) = (program, arguments)
            && let Some(refused) = self.refused(verb, units)
        {
            return refused;
        }
        self.changes.push(match (program, arguments) {
            ("runuser", ["-u", user, ..]) => format!("runuser {user} appends {} lines", arguments.len() - 8),
            _ => command.to_owned(),
        });
        self.change(program, arguments, input);
        ended(true, "")
    }

    /// No socket is opened while the service behind it runs.
    fn refused(&self, verb: &str, units: &[&str]) -> Option<Ended> {
        let opens = matches!(verb, "start" | "restart" | "try-restart" | "reload-or-restart");
        let busy = units.iter().filter(|_| opens).find_map(|unit| {
            let service = format!("{}.service", unit.strip_suffix(".socket")?);
            let is_open = verb == "start" && self.active.contains(*unit);
            (!is_open && self.active.contains(&service)).then_some(service)
        })?;
        Some(Ended {
            stderr: format!("Socket service {busy} already active, refusing.\n"),
            ..ended(false, "")
        })
    }

    fn change(&mut self, program: &str, arguments: &[&str], input: &str) {
        let files = &mut self.files;
        let put = |files: &mut BTreeMap<PathBuf, File>, path: &str, text: &str| {
            let file = File::plain(path, text);
            files.insert(file.path.clone(), file);
        };
        let last = arguments.last().copied().unwrap_or_default().to_owned();
        match (program, arguments) {
            ("hostnamectl", ["set-hostname", name]) => {
                put(files, "/etc/hostname", name);
                put(files, "/proc/sys/kernel/hostname", name);
            }
            ("useradd", _) => {
                let option = |name: &str| {
                    let at = arguments.iter().position(|a| *a == name)?;
                    arguments.get(at + 1).copied()
                };
                let home = option("--home-dir").map_or_else(|| format!("/home/{last}"), str::to_owned);
                self.users.entry(last).or_insert(home);
            }
            ("chpasswd", ["--encrypted"]) => {
                let given = input.lines().filter_map(|line| line.split_once(':'));
                for (user, hash) in given {
                    let shadow = files.get(Path::new("/etc/shadow"));
                    let shadow =
                        shadow.map_or_else(String::new, |f| String::from_utf8(f.content.clone()).unwrap());
                    let others = shadow.lines().filter(|l| !l.starts_with(&format!("{user}:")));
                    let mut shadow: Vec<String> = others.map(str::to_owned).collect();
                    shadow.push(format!("{user}:{hash}:1::::::\n"));
                    put(files, "/etc/shadow", &shadow.join("\n"));
                }
            }
            ("runuser", ["-u", _, "--", "sh", "-c", _, "sh", path, keys @ ..]) => {
                let file = files.get(Path::new(path));
                let mut text =
                    file.map_or_else(String::new, |f| String::from_utf8(f.content.clone()).unwrap());
                for key in keys {
                    text.push_str(key);
                    text.push('\n');
                }
                put(files, path, &text);
            }
            ("systemctl", ["enable", rest @ ..]) => {
                let word = if rest.contains(&"--runtime") {
                    "enabled-runtime"
                } else {
                    "enabled"
                };
                self.enabled.insert(last, word.to_owned());
            }
            ("systemctl", ["mask", rest @ ..]) => {
                let word = if rest.contains(&"--runtime") {
                    "masked-runtime"
                } else {
                    "masked"
                };
                self.enabled.insert(last, word.to_owned());
            }
            ("systemctl", ["start" | "restart" | "reload-or-restart", units @ ..]) => {
                self.active.extend(units.iter().map(|unit| (*unit).to_owned()));
                // Its Wants=.
                if units.contains(&"fleet.service") {
                    self.active.insert("fleet.socket".to_owned());
                }
            }
            ("systemctl", ["stop", units @ ..]) => self.active.retain(|unit| !units.contains(&unit.as_str())),
            _ => {}
        }
    }
}
