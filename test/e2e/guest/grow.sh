# e1.0 grows from SIZE to GROWN_SIZE bytes and e1.7 is added, while a filesystem on e1.0 is mounted.
. /lib/check.sh
device=/dev/etherd/e1.0
mkdir -p /mnt/a
mkfs.ext4 -q $device && mount -t ext4 $device /mnt/a && write_files /mnt/a 4 500 || exit 1
before=$(df -k /mnt/a | awk 'END { print $2 }')
check "the size before" [ "$(size_of e1.0)" = "$SIZE" ]
check "the host edits the configuration and sends SIGHUP" hostdo grow

size_follows() { echo e1.0 > /dev/etherd/revalidate; [ "$(size_of e1.0)" = "$GROWN_SIZE" ]; }
check "revalidate shows the new size of a grown target" eventually 10 size_follows
check "resize2fs grows the mounted filesystem" resize2fs $device
check "the filesystem has more room" [ "$(df -k /mnt/a | awk 'END { print $2 }')" -gt "$before" ]
mkdir /mnt/a/more
check "files fill what was added" write_files /mnt/a/more 10 4096
check "files from before the growth verify" eval "forget_caches; verify_files /mnt/a"
check "files in the new room verify" verify_files /mnt/a/more
umount /mnt/a
check "e2fsck finds the grown filesystem clean" e2fsck -fn $device
check "a target added by SIGHUP announces itself" eventually 5 test -b /dev/etherd/e1.7
