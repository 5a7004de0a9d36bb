# Two writable targets e1.0 and e1.1, and e1.2: read-only, holding an ext4 with checksummed files made on the host.
# Environment: SIZE, SECOND_SIZE in bytes; PAYLOAD, the bytes of data per frame that the MTU allows.
. /lib/check.sh
a=/dev/etherd/e1.0 b=/dev/etherd/e1.1 r=/dev/etherd/e1.2
mkdir -p /mnt/a /mnt/b /mnt/r

aoe-stat
sizes_are_right() { [ "$(size_of e1.0)" = "$SIZE" ] && [ "$(size_of e1.1)" = "$SECOND_SIZE" ]; }
check "discovery finds every target with its size" sizes_are_right
payload_is() { [ "$(cat "/sys/block/etherd!e1.0/payload")" = "$PAYLOAD" ]; }
check "frames carry as much data as the MTU allows" payload_is

check "mkfs.ext4 makes a filesystem" mkfs.ext4 -q $a
check "the filesystem mounts" mount -t ext4 $a /mnt/a
check "files are written" write_files /mnt/a 8 700
check "a second target takes a filesystem beside the first" mkfs.ext4 -q $b
mount -t ext4 $b /mnt/b && write_files /mnt/b 4 300
sync
check "files read back from the medium as written" eval "forget_caches; verify_files /mnt/a"
check "umount returns" umount /mnt/a
check "e2fsck finds the filesystem clean" e2fsck -fn $a
check "the filesystem mounts again" mount -t ext4 $a /mnt/a
forget_caches
check "checksums hold after remounting" verify_files /mnt/a
check "two targets keep their data apart" verify_files /mnt/b
check "files are deleted and others written in their place" eval "rm /mnt/a/file-[1-4] && write_files /mnt/a 6 900"
umount /mnt/a /mnt/b
check "e2fsck finds both filesystems clean in the end" eval "e2fsck -fn $a && e2fsck -fn $b"

check "a read-only target mounts read-only and its files verify" eval "mount -t ext4 -o ro $r /mnt/r && verify_files /mnt/r"
umount /mnt/r
dd if=$r of=/tmp/before bs=64k count=1 2>/dev/null
write_fails_at_once() {
  started=$(cut -d. -f1 /proc/uptime)
  if dd if=/dev/zero of=$r bs=4k count=1 oflag=direct; then return 1; fi
  [ $(($(cut -d. -f1 /proc/uptime) - started)) -le 5 ]
}
check "a write to a read-only target fails at once" write_fails_at_once
unchanged() { forget_caches; dd if=$r of=/tmp/after bs=64k count=1 2>/dev/null; cmp /tmp/before /tmp/after; }
check "a refused write leaves the read-only target readable and unchanged" unchanged
