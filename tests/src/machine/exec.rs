//! Running commands inside a machine.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Machine;
use crate::host;

/// A command in a machine that takes longer hangs, and a scenario must not hang with it.
const LIMIT: &str = "120";

/// How a command in a machine ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Where and what, for messages.
    pub command: String,
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Its stdout, or an error if it did not end with 0.
    pub fn ok(self) -> Result<String> {
        let code = self
            .code
            .map_or_else(|| "killed".to_owned(), |code| format!("exit {code}"));
        let told = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        ensure!(
            self.code == Some(0),
            "{} failed ({code}): {}",
            self.command,
            host::last_lines(told, 5)
        );
        Ok(self.stdout)
    }
}

impl Machine {
    /// A command to run inside, with the caller's stdio: for shells and the like.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let leader = self.leader().with_context(|| {
            format!(
                "machine {} is off: `cargo lab boot {}` starts it",
                self.number, self.number
            )
        })?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={leader}"))
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--",
            ])
            .args(words)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8");
        // What makes a shell in there usable: the terminal is the caller's.
        if let Some(terminal) = std::env::var_os("TERM") {
            command.env("TERM", terminal);
        }
        Ok(command)
    }

    /// Runs a command inside to its end, however it ends; at most two minutes.
    pub fn exec(&self, words: &[&str]) -> Result<Output> {
        self.feed(words, "")
    }

    /// As [`Machine::exec`], with this on its stdin.
    pub fn feed(&self, words: &[&str], input: &str) -> Result<Output> {
        let limited = [&["timeout", "--kill-after=5", LIMIT], words].concat();
        let output = || {
            let mut command = self.command(&limited)?;
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let stdin = child.stdin.take();
            std::thread::scope(|scope| {
                // A command that does not want to hear it all is free to end.
                scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
                anyhow::Ok(child.wait_with_output()?)
            })
        };
        let output = output().with_context(|| format!("cannot run `{}`", words.join(" ")))?;
        Ok(Output {
            command: format!("`{}` in machine {}", words.join(" "), self.number),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command inside that must succeed; its stdout.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        self.exec(words)?.ok()
    }

    /// One property of a unit, as `systemctl show` has it.
    pub fn property(&self, unit: &str, property: &str) -> Result<String> {
        let value = self.run(&["systemctl", "show", "--value", "--property", property, "--", unit])?;
        Ok(value.trim().to_owned())
    }

    /// The main process of a service, by its id inside the machine; `None` if it has none now.
    pub fn main_pid(&self, unit: &str) -> Result<Option<i32>> {
        let value = self.property(unit, "MainPID")?;
        let pid: i32 = value
            .parse()
            .with_context(|| format!("{unit} has an odd MainPID: {value}"))?;
        Ok((pid != 0).then_some(pid))
    }

    /// The journal's last lines, of some units or of all; also if the machine is off.
    pub fn journal(&self, units: &[&str], lines: usize) -> Result<String> {
        let lines = format!("--lines={lines}");
        let mut words = vec![
            "journalctl",
            "--no-pager",
            "--quiet",
            "--output=short-precise",
            &lines,
        ];
        words.extend(units.iter().flat_map(|unit| ["--unit", unit]));
        if self.is_running() {
            return self.run(&words);
        }
        let root = self.root().display().to_string();
        host::run(
            "chroot",
            [&[root.as_str()], &words[..], &["--directory=/var/log/journal"]].concat(),
        )
    }
}
