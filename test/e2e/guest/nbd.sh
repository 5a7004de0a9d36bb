# The kernel's NBD client: a filesystem on the archive e1.0 that is trimmed and mounted again, the disk e1.1 over AoE and
# NBD at once, and the way to initiators of iSCSI, which is how Windows gets there.
. /lib/check.sh
ip addr add "$GUEST_ADDRESS/24" dev eth0
mkdir -p /mnt/a
modprobe nbd
connect() { nbd-client "$SERVER_ADDRESS" 10809 -N "$1" -C 2 "$2" && eventually 5 test -s "/sys/block/${2#/dev/}/pid"; }
disconnect() { nbd-client -d "$1" && eventually 5 test ! -e "/sys/block/${1#/dev/}/pid"; }
queue() { cat "/sys/block/nbd0/queue/$1"; }

check "the kernel connects, twice" connect e1.0 /dev/nbd0
check "the disk has its size" [ "$(($(cat /sys/block/nbd0/size) * 512))" = "$SIZE_BYTES" ]
check "the kernel may trim" [ "$(queue discard_max_bytes)" -gt 0 ]
check "the kernel flushes a write cache" [ "$(queue write_cache)" = "write back" ]
check "the kernel has durable writes" [ "$(queue fua)" = 1 ]
check "the disk takes a filesystem" mkfs.ext4 -q -E lazy_journal_init=1 /dev/nbd0
check "the filesystem mounts" mount -t ext4 /dev/nbd0 /mnt/a
check "files are written" write_files /mnt/a 6 500
dd if=/dev/urandom of=/mnt/a/large bs=64k count=256 2>/dev/null; sync
check "a large file takes space" hostdo data "$((16 << 20))" more
rm /mnt/a/large; sync
check "the filesystem is trimmed" fstrim /mnt/a
check "trimming has given the space back" hostdo data "$((16 << 20))" less
umount /mnt/a
check "the kernel disconnects" disconnect /dev/nbd0
check "the kernel connects again" connect e1.0 /dev/nbd0
check "e2fsck finds the filesystem clean" e2fsck -fn /dev/nbd0
check "the filesystem mounts again" mount -t ext4 /dev/nbd0 /mnt/a
check "the files verify" verify_files /mnt/a
umount /mnt/a

check "the kernel connects to a disk that it has over AoE" connect e1.1 /dev/nbd1
forget() { blockdev --flushbufs /dev/nbd1; blockdev --flushbufs /dev/etherd/e1.1; }
crossed() { # from to
  dd if=/dev/urandom of=/tmp/crossed bs=64k count=16 2>/dev/null
  forget; dd if=/tmp/crossed of="$1" bs=64k conv=fsync 2>/dev/null; forget
  dd if="$2" bs=64k count=16 2>/dev/null | cmp - /tmp/crossed
}
check "what is written over NBD is read over AoE" crossed /dev/nbd1 /dev/etherd/e1.1
check "what is written over AoE is read over NBD" crossed /dev/etherd/e1.1 /dev/nbd1

if [ -n "$WITH_ISCSI" ]; then
  mkdir -p /var/run /run/tgtd; ln -sfn /run/tgtd /var/run/tgtd
  tgtd
  check "tgt has the disk" eval "eventually 5 tgtadm --lld iscsi --op new --mode target --tid 1 --targetname $IQN &&
    tgtadm --lld iscsi --op new --mode logicalunit --tid 1 --lun 1 --backing-store /dev/nbd1 &&
    tgtadm --lld iscsi --op bind --mode target --tid 1 --initiator-address ALL"
  check "an initiator of iSCSI writes and reads it" hostdo iscsi
  blockdev --flushbufs /dev/nbd1
  check "what it wrote is on the disk" hostdo pattern
fi
nbd-client -d /dev/nbd0; nbd-client -d /dev/nbd1
