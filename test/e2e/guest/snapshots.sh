# An ext4 on the archive e1.0: snapshots of it exposed as e9.0, cloned as e2.0 and restored, beside the live disk.
. /lib/check.sh
a=/dev/etherd/e1.0 old=/dev/etherd/e9.0 clone=/dev/etherd/e2.0
mkdir -p /mnt/a /mnt/old /mnt/clone
mkfs.ext4 -q $a && mount -t ext4 $a /mnt/a && write_files /mnt/a 6 500 || exit 1
cp /mnt/a/SHA256SUMS /tmp/old-sums

frozen_snapshot() { fsfreeze --freeze /mnt/a && hostdo snapshot frozen; code=$?; fsfreeze --unfreeze /mnt/a; return $code; }
check "a snapshot is made of the frozen filesystem" frozen_snapshot
check "files are deleted and others written in their place" eval "rm /mnt/a/file-* && write_files /mnt/a 3 900"
check "a snapshot is made of the filesystem as it runs" eval "sync && hostdo snapshot running"
check "more files are written" eval "mkdir /mnt/a/more && write_files /mnt/a/more 4 400 && sync"

check "the old snapshot is exposed while the disk is mounted" hostdo expose
check "it announces itself to the client" eventually 5 test -b $old
check "it mounts read-only beside the live disk" mount -t ext4 -o ro,noload $old /mnt/old
old_files_verify() { cmp /tmp/old-sums /mnt/old/SHA256SUMS && verify_files /mnt/old && [ ! -e /mnt/old/more ]; }
check "the old files are intact in it" old_files_verify
check "the live files are intact beside it" eval "forget_caches; verify_files /mnt/a && verify_files /mnt/a/more"
umount /mnt/old
check "e2fsck finds the old filesystem clean" e2fsck -fn $old

check "the snapshot of the running filesystem is cloned" hostdo clone
check "the clone announces itself to the client" eventually 5 test -b $clone
check "the clone mounts writable" mount -t ext4 $clone /mnt/clone
check "the clone has the files of its snapshot" eval "verify_files /mnt/clone && [ ! -e /mnt/clone/more ]"
check "the clone takes files of its own" eval "mkdir /mnt/clone/own && write_files /mnt/clone/own 4 400"
umount /mnt/clone
check "e2fsck finds the clone clean" e2fsck -fn $clone
check "the live disk knows nothing of them" eval "[ ! -e /mnt/a/own ] && forget_caches && verify_files /mnt/a"

umount /mnt/a
check "the disk is restored" hostdo restore
check "the restored disk mounts" mount -t ext4 $a /mnt/a
check "the restored disk has the old files" eval "cmp /tmp/old-sums /mnt/a/SHA256SUMS && verify_files /mnt/a && [ ! -e /mnt/a/more ]"
umount /mnt/a
check "e2fsck finds the restored filesystem clean" e2fsck -fn $a
check "what was there before the restore can be had back" hostdo unrestore
mount -t ext4 $a /mnt/a
check "its files verify" eval "verify_files /mnt/a && verify_files /mnt/a/more"
umount /mnt/a
check "e2fsck finds it clean" e2fsck -fn $a
