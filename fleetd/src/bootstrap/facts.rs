//! What has to be known of the machine to read a cloud-config for it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;

use super::system::{System, SystemError};

/// The machine as its cloud-config sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub hostname: String,
    /// Of `/etc/machine-id`.
    pub machine_id: String,
    /// Of all interfaces, in their order.
    pub addresses: Vec<IpAddr>,
    /// Those of them on interfaces with no hardware behind them: bridges for containers, tunnels.
    pub virtual_addresses: Vec<IpAddr>,
    /// The one on the interface that the default route leaves by.
    pub default_address: Option<IpAddr>,
    /// What the command line gives for `$private_ipv4`.
    pub private_ipv4: Option<Ipv4Addr>,
    /// What the command line gives for `$public_ipv4`.
    pub public_ipv4: Option<Ipv4Addr>,
    /// `/etc/environment`.
    pub environment: BTreeMap<String, String>,
}

impl Facts {
    /// Those of this machine; what cannot be found out is left empty.
    ///
    /// # Errors
    /// If `/etc/environment` is there and cannot be read.
    pub fn gather(system: &dyn System) -> Result<Self, SystemError> {
        let environment = system.read("/etc/environment".as_ref())?.unwrap_or_default();
        let address = |a: nix::ifaddrs::InterfaceAddress| {
            let address = a.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            let ip = v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
            Some((a.interface_name, ip))
        };
        let all: Vec<(String, IpAddr)> = getifaddrs()
            .map(|all| all.filter_map(address).collect())
            .unwrap_or_default();
        let is_virtual = |name: &str| {
            // `eth0:1` is another name of eth0's.
            let name = name.split(':').next().unwrap_or(name);
            let device = format!("/sys/class/net/{name}/device");
            !system.is_there(device.as_ref()).unwrap_or(false)
        };
        let virtual_addresses = all.iter().filter(|(name, _)| is_virtual(name));
        Ok(Self {
            hostname: nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            machine_id: crate::host::machine_id()
                .map(|id| id.to_string())
                .unwrap_or_default(),
            virtual_addresses: virtual_addresses.map(|(_, ip)| *ip).collect(),
            addresses: all.into_iter().map(|(_, ip)| ip).collect(),
            default_address: crate::host::default_address(),
            private_ipv4: None,
            public_ipv4: None,
            environment: read_environment(&String::from_utf8_lossy(&environment)),
        })
    }

    /// What `$private_ipv4` stands for.
    pub fn private_ipv4(&self) -> Option<Ipv4Addr> {
        let is_real = |address: &IpAddr| !self.virtual_addresses.contains(address);
        // The default route's interface first, whatever it is made of.
        let default = self.default_address.into_iter();
        let own = default.chain(self.addresses.iter().copied().filter(is_real));
        self.given_private()
            .or_else(|| own.filter_map(v4).find(Ipv4Addr::is_private))
            .or_else(|| self.default_address.and_then(v4))
            .or_else(|| self.virtual_private())
    }

    /// What to say of [`Self::private_ipv4`], if it is only a guess.
    pub fn private_doubt(&self) -> Option<String> {
        let (address, other) = (self.private_ipv4()?, self.virtual_private()?);
        let is_default = self.default_address == Some(IpAddr::V4(address));
        let what = if self.given_private().is_some() || (is_default && address.is_private()) {
            return None;
        } else if address == other {
            format!("{address} is taken")
        } else if !address.is_private() {
            format!("{address} is taken, though it is public, and not {other}")
        } else {
            return None;
        };
        Some(format!(
            "{what}, of an interface without hardware, maybe a bridge for containers: --private-ipv4 says it otherwise"
        ))
    }

    fn given_private(&self) -> Option<Ipv4Addr> {
        let given = || self.environment.get("COREOS_PRIVATE_IPV4")?.parse().ok();
        self.private_ipv4.or_else(given)
    }

    fn virtual_private(&self) -> Option<Ipv4Addr> {
        let all = self.virtual_addresses.iter().copied();
        all.filter_map(v4).find(Ipv4Addr::is_private)
    }

    /// What `$public_ipv4` stands for, and whether it is the private address for want of another.
    pub fn public_ipv4(&self) -> Option<(Ipv4Addr, bool)> {
        let own = self
            .default_address
            .into_iter()
            .chain(self.addresses.iter().copied());
        let mut own = own.filter_map(v4);
        let public = self
            .public_ipv4
            .or_else(|| self.environment.get("COREOS_PUBLIC_IPV4")?.parse().ok())
            .or_else(|| own.find(is_global));
        public
            .map(|address| (address, false))
            .or_else(|| Some((self.private_ipv4()?, true)))
    }

    /// Whether `host` is this machine, by name or address.
    pub fn is_own(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(address) = host.parse::<IpAddr>() else {
            return host.eq_ignore_ascii_case(&self.hostname);
        };
        let given = [self.private_ipv4(), self.public_ipv4().map(|(a, _)| a)];
        !address.is_loopback()
            && (self.addresses.contains(&address)
                || self.default_address == Some(address)
                || given.into_iter().flatten().any(|a| IpAddr::V4(a) == address))
    }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) if !address.is_loopback() && !address.is_link_local() => Some(address),
        _ => None,
    }
}

fn is_global(address: &Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || is_shared
        || first == 0
        || first >= 240)
}

/// `KEY=value` lines, quotes taken off.
fn read_environment(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        let value = value.trim().trim_matches(['"', '\'']);
        Some((key.trim().to_owned(), value.to_owned()))
    });
    pairs.collect()
}
