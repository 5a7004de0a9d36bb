# The embedded default's disk e1.0.
. /lib/check.sh
device=/dev/etherd/e1.0
mkdir -p /mnt/a
check "the disk has 8 GiB" [ "$(size_of e1.0)" = $((8 << 30)) ]
check "the disk takes a filesystem" mkfs.ext4 -q -E lazy_journal_init=1 $device
check "the guest mounts the disk" mount -t ext4 $device /mnt/a
check "files are written" write_files /mnt/a 4 1000
umount /mnt/a
check "e2fsck finds the filesystem clean" e2fsck -fn $device
mount -t ext4 $device /mnt/a
check "files verify after remounting" verify_files /mnt/a
umount /mnt/a
