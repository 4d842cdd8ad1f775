//! Cloud-configs as CoreOS' documentation of 2015 had them.

use std::fmt::Write as _;

use crate::cluster::Cluster;

/// What differs between the files of one cluster.
#[derive(Debug, Clone, Copy)]
pub struct CloudConfig<'a> {
    /// Machines named in `initial-cluster`.
    pub cluster: &'a [usize],
    /// `initial-cluster-state: existing`.
    pub existing: bool,
    /// `proxy: on`.
    pub proxy: bool,
    /// Metadata `role`.
    pub role: &'a str,
}

impl CloudConfig<'_> {
    /// The file. There is no `name` in it, and no address of the machine that gets it: one file does for many.
    pub fn text(&self, cluster: &Cluster) -> String {
        let mut text = String::from("#cloud-config\n\ncoreos:\n  etcd2:\n");
        let members: Vec<String> = self
            .cluster
            .iter()
            .map(|number| {
                let address = cluster.index().address(*number);
                format!("infra{number}=http://{address}:2380")
            })
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    initial-cluster: {}", members.join(","));
        if self.existing {
            text += "    initial-cluster-state: existing\n";
        }
        if self.proxy {
            text += "    proxy: on\n";
        } else {
            text += "    initial-cluster-token: etcd-cluster-1\n";
        }
        let _ = write!(
            text,
            "    # multi-region and multi-cloud deployments need to use $public_ipv4\n\
            \x20   advertise-client-urls: http://$private_ipv4:2379,http://$private_ipv4:4001\n\
            \x20   initial-advertise-peer-urls: http://$private_ipv4:2380\n\
            \x20   # listen on both the official ports and the legacy ports\n\
            \x20   # legacy ports can be omitted if your application doesn't depend on them\n\
            \x20   listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001\n\
            \x20   listen-peer-urls: http://$private_ipv4:2380,http://$private_ipv4:7001\n\
            \x20 fleet:\n\
            \x20   public-ip: $private_ipv4   # used for fleetctl ssh command\n\
            \x20   metadata: role={}\n\
            \x20 units:\n\
            \x20   - name: etcd2.service\n\
            \x20     command: start\n\
            \x20   - name: fleet.service\n\
            \x20     command: start\n",
            self.role
        );
        text
    }
}
