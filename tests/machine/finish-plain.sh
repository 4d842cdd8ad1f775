# Turns a fresh Debian into the tree of a bare machine. Runs in a chroot of it; part of the tree's key. It stays a
# Debian as a hoster hands it out: only what a container cannot do or what slows its boot down is taken away.
set -eu

rm -rf /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/lib/apt/lists/*
# Each machine gets its own.
rm -f /etc/hostname /etc/resolv.conf
: > /etc/machine-id

systemctl --quiet disable remote-fs.target systemd-pstore.service getty@tty1.service \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer
systemctl --quiet mask getty.target console-getty.service systemd-logind.service systemd-udevd.service \
	systemd-ask-password-wall.path systemd-ask-password-console.path \
	systemd-modules-load.service kmod-static-nodes.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
	dev-hugepages.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
	sys-fs-fuse-connections.mount systemd-hibernate-clear.service systemd-random-seed.service \
	systemd-pcrmachine.service systemd-pcrphase-sysinit.service systemd-pcrphase.service \
	systemd-pcrextend.socket systemd-pcrlock.socket systemd-tpm2-setup-early.service systemd-tpm2-setup.service \
	systemd-creds.socket systemd-sysext.socket systemd-hostnamed.socket systemd-initctl.socket \
	systemd-firstboot.service systemd-machine-id-commit.service systemd-update-done.service ldconfig.service \
	systemd-journal-catalog-update.service systemd-tmpfiles-clean.timer
# Journals survive a power cut.
mkdir -p /var/log/journal
