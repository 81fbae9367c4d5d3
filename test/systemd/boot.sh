#!/bin/sh
# Becomes process 1 of a system of its own: a real systemd over this machine's /usr, with nothing else running.
# To be started as root in new mount, pid, ipc, uts and cgroup namespaces; the network is the machine's.
#
#   boot.sh ROOT UNITS [FOLDER …]
#
# ROOT   an empty folder for the new root
# UNITS  a folder with every unit that systemd may know
# FOLDER is visible at its own path
# $MOULT_LAB_USR, where it is set, is laid over /usr: another version of systemd
set -eu
root=$1 units=$2
shift 2

mount --make-rprivate /
mount -t tmpfs -o mode=0755 lab "$root"
cd "$root"
mkdir usr etc proc sys dev run tmp var root
chmod 1777 tmp
for name in bin sbin lib lib32 lib64 libx32; do
  [ ! -L "/$name" ] || cp -P "/$name" "$name"
  [ -L "/$name" ] || [ ! -d "/$name" ] || { mkdir "$name" && mount --rbind "/$name" "$name"; }
done
if [ -n "${MOULT_LAB_USR:-}" ]; then
  mount -t overlay -o "ro,lowerdir=$MOULT_LAB_USR:/usr" overlay usr
else
  mount --rbind /usr usr
fi
for folder in "$@"; do
  mkdir -p ".$folder"
  mount --rbind "$folder" ".$folder"
done
for file in passwd group ld.so.cache ld.so.conf nsswitch.conf; do
  [ ! -e "/etc/$file" ] || cp "/etc/$file" "etc/$file"
done
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >etc/machine-id
mkdir -p var/log/journal

mount -t proc proc proc
mount --bind -o ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755 dev dev
for node in null zero full random urandom tty; do
  touch "dev/$node"
  mount --bind "/dev/$node" "dev/$node"
done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=0755 run run
mkdir -p run/lab
mount --bind "$units" run/lab

mkdir old
pivot_root . old
cd /
umount -l /old
rmdir /old
hostname moult-lab
# Nothing but the units of the lab is there to be started.
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin container=moult-lab \
  SYSTEMD_UNIT_PATH=/run/lab SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=info \
  /lib/systemd/systemd --system --unit=lab.target --show-status=no
