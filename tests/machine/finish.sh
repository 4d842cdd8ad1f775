# Turns a fresh Debian into the tree that the lab's machines share. Runs in a chroot of it; part of the image's key.
set -eu

# Small: nobody reads manuals in there.
rm -rf /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/lib/apt/lists/* \
	/usr/share/doc /usr/share/man /usr/share/info /usr/share/locale
# Each machine gets its own.
rm -f /etc/hostname /etc/resolv.conf /etc/ssh/ssh_host_*
: > /etc/machine-id

# Quick: started only when somebody asks. Docker comes with the first use of its socket.
systemctl --quiet disable etcd.service docker.service containerd.service ssh.service remote-fs.target \
	netavark-dhcp-proxy.socket netavark-dhcp-proxy.service systemd-pstore.service getty@tty1.service \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer
# What a machine in the lab has no use for: consoles, hardware, boot-time upkeep.
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

# A container image that needs no network: a static busybox that serves /www.
tree=$(mktemp -d)
mkdir -p "$tree/bin" "$tree/etc" "$tree/tmp" "$tree/www" /usr/share/lab
cp /usr/bin/busybox "$tree/bin/"
chroot "$tree" /bin/busybox --install -s /bin
echo 'served by busybox' > "$tree/www/index.html"
# As PID 1 httpd would ignore SIGTERM, and each stop would take ten seconds.
cat > "$tree/bin/serve" <<'SERVE'
#!/bin/sh
trap 'exit 0' TERM INT
httpd -f -p "${1:-80}" -h /www &
wait
SERVE
chmod 755 "$tree/bin/serve" "$tree"
tar -C "$tree" --owner=0 --group=0 -cf /usr/share/lab/busybox.tar .
rm -rf "$tree"
