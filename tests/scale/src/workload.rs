//! The units that the cluster is to run: many instances of not so many files, as in life.

use std::fmt::Write as _;

use anyhow::Result;
use units::{UnitFile, UnitName};

/// Instances that share one file, at most.
const INSTANCES: usize = 50;

/// What the units are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    instances: usize,
    anti_affinity: bool,
}

/// One unit.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    /// Its name.
    pub name: UnitName,
    /// Its file.
    pub file: UnitFile,
}

impl Workload {
    /// For a cluster of so many machines; with `anti_affinity` no two instances of one file may share a machine.
    pub(crate) fn new(machines: usize, anti_affinity: bool) -> Self {
        Self {
            instances: (machines / 2).clamp(1, INSTANCES),
            anti_affinity,
        }
    }

    /// The unit of this number.
    ///
    /// # Errors
    /// Never: all of them are valid.
    pub(crate) fn unit(&self, number: usize) -> Result<Unit> {
        let (app, instance) = (number / self.instances, number % self.instances);
        let mut text = format!(
            "[Unit]\nDescription=Application {app}, instance %i\nAfter=docker.service\nRequires=docker.service\n\
             [Service]\nExecStartPre=-/usr/bin/docker rm --force %p-%i\n\
             ExecStart=/usr/bin/docker run --rm --name %p-%i --env APP={app} registry.example/app:{app}\n\
             ExecStop=/usr/bin/docker stop %p-%i\nRestart=on-failure\n"
        );
        if self.anti_affinity {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "[X-Fleet]\nConflicts=%p@*");
        }
        Ok(Unit {
            name: UnitName::parse(&format!("app{app}@{instance}.service"))?,
            file: UnitFile::parse(&text)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_another_unit_and_instances_share_a_file() {
        let workload = Workload::new(20, true);
        let units: Vec<Unit> = (0..20).map(|n| workload.unit(n).unwrap()).collect();
        let names: std::collections::BTreeSet<_> = units.iter().map(|u| u.name.clone()).collect();
        assert_eq!(names.len(), 20);
        assert_eq!(units[0].file.hash(), units[9].file.hash());
        assert_ne!(units[9].file.hash(), units[10].file.hash());
        let parsed = units::validate(&units[0].name, &units[0].file).unwrap();
        assert!(parsed.requirements.conflicts[0].matches("app0@1.service"));
    }
}
