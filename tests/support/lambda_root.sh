#!/bin/sh
# lambda_root.sh [--userspec=USER:GROUP] ROOT LANG OPT TASK RUNTIME TEMPORARY COMMAND...
# Runs a command in a root laid out like Lambda's; it has a mount namespace of its own already.
set -eu
who=
case $1 in --userspec=*) who=$1; shift ;; esac
root=$1 lang=$2 opt=$3 task=$4 runtime=$5 temporary=$6
shift 6

mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p dev etc opt proc tmp usr var/lang var/runtime var/task
for name in bin lib lib64 sbin; do
    if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$name"
    elif [ -d "/$name" ]; then mkdir "$name"; mount --bind "/$name" "$name"; fi
done
for name in null zero full random urandom; do touch "dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
ln -s /proc/self/fd dev/fd
mount --rbind /proc proc
mount --bind "$temporary" tmp
for pair in "/etc etc" "/usr usr" "$lang var/lang" "$opt opt" "$task var/task" "$runtime var/runtime"; do
    mount --bind "${pair% *}" "${pair#* }"
    mount -o remount,bind,ro "${pair#* }"
done
# The interpreter alone, without what is installed for it here.
for packages in var/lang/lib/python3.*/site-packages; do mount -t tmpfs -o ro tmpfs "$packages"; done
mount -o remount,ro,mode=755 "$root"
exec /usr/sbin/chroot ${who:+"$who"} . "$@"
