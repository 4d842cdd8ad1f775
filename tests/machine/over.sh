# Runs a command in a tree that is laid over others: $1 the trees below, topmost first, $2 what is changed, then the
# command. In mount and process namespaces of its own, which end with it.
set -eu
exec 2>&1
lower=$1 upper=$2
shift 2
# The workdir has to be on the file system of what is changed, and not in it.
scratch=$(mktemp -d "$(dirname "$upper")/partial-XXXXXX")
trap 'umount -R "$scratch/root" || true; rm -rf "$scratch"' EXIT
mkdir "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
mount -t devpts devpts "$root/dev/pts"
# The host's way to names, and no service starts.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
code=0
chroot "$root" "$@" || code=$?
rm -f "$root/etc/resolv.conf" "$root/usr/sbin/policy-rc.d"
exit $code
