#!/bin/sh
# PID 1 of a test host until systemd is: makes the host's file systems in a mount namespace of its own, and becomes
# systemd. Called by machine.py in fresh pid, mount, uts, ipc, net and cgroup namespaces.
#
#   boot.sh DIRECTORY LOWER HOSTNAME
#
# DIRECTORY holds upper, work, root, and state/{containers,pool,nix}: plain directories for what cannot lie on an
# overlay (container roots, which overlays lie on; the pool's file; /nix, which is bound with mapped ids).
set -eu
dir=$1 lower=$2 name=$3
root=$dir/root
read -r pid _ </proc/self/stat   # the machine's own number: its /proc is still in sight

mount -t overlay overlay -o "lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"

# Devices are made here: those of the machine are shared with it.
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
device() { mknod -m "$2" "$root/dev/$1" c "$3" "$4"; }
mkdir -p "$root/dev/net" "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
device null 666 1 3
device zero 666 1 5
device full 666 1 7
device random 666 1 8
device urandom 666 1 9
device tty 666 5 0
device fuse 666 10 229
device net/tun 666 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${number%:*}" "$root/dev/${number#*:}"; done

# What systemd would mount itself: it looks at five changed mounts a second, and each more makes the boot longer.
mount -t mqueue -o nosuid,nodev,noexec mqueue "$root/dev/mqueue"
mkdir "$root/run/lock"
mount -t tmpfs -o nosuid,nodev,noexec,size=5m tmpfs "$root/run/lock"

# Each boot has an id of its own. An uncovered /proc is left elsewhere: without one in sight, a user namespace may not
# mount its own.
cat /proc/sys/kernel/random/uuid >"$root/run/boot_id"
mount --bind "$root/run/boot_id" "$root/proc/sys/kernel/random/boot_id"
mkdir -p "$root/run/testhost/proc"
mount -t proc -o nosuid,nodev,noexec proc "$root/run/testhost/proc"

bound() { mkdir -p "$2"; mount --bind "$1" "$2"; }
bound "$dir/state/containers" "$root/var/lib/nixos-containers"
bound "$dir/state/pool" "$root/var/lib/testhost"
bound "$dir/state/nix" "$root/nix"

hostname "$name"
echo "$name" >"$root/etc/hostname"
ip link set lo up

mkdir -p "$root/outside"
cd "$root"
pivot_root . outside
echo "$pid" >"/outside$dir/pid.new"
mv "/outside$dir/pid.new" "/outside$dir/pid"
umount -l /outside
mount --make-rshared /
# NixOS tells systemd of the directory of units that are linked in at run time in the same way.
exec env -i container=testhost PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    SYSTEMD_UNIT_PATH=/etc/systemd-mutable/system: /usr/lib/systemd/systemd --show-status=false
