# An ext4 on the archive e1.0, at an MTU whose frames carry parts of blocks: copies of a file, a server that is killed,
# a snapshot of the running filesystem that is exposed as e9.0, and the way back to it.
. /lib/check.sh
a=/dev/etherd/e1.0 old=/dev/etherd/e9.0
mkdir -p /mnt/a /mnt/old
payload_is() { [ "$(cat "/sys/block/etherd!e1.0/payload")" = "$PAYLOAD" ]; }
check "frames carry less than a block" payload_is
# The protocol has no command for it, so mkfs and fstrim have nothing to ask the initiator for.
check "the initiator offers no discard" [ "$(cat "/sys/block/etherd!e1.0/queue/discard_max_bytes")" = 0 ]
check "the disk takes a filesystem" mkfs.ext4 -q -E lazy_journal_init=1 $a
check "the filesystem mounts" mount -t ext4 $a /mnt/a
check "files are written" write_files /mnt/a 6 500

sync
check "the store is measured" hostdo measure before
dd if=/dev/urandom of=/mnt/a/one bs=64k count=$((FILE_KIB / 64)) 2>/dev/null; sync
check "the store is measured with a file" hostdo measure one
cp /mnt/a/one /mnt/a/two && cp /mnt/a/one /mnt/a/three; sync
check "the store is measured with its copies" hostdo measure three
copies_are_equal() { forget_caches; cmp /mnt/a/one /mnt/a/two && cmp /mnt/a/one /mnt/a/three; }
check "the copies read back as the file" copies_are_equal

mkdir /mnt/a/kept
keep_writing /mnt/a/kept & writer=$!
check "writing goes on" eventually 20 writes_exceed e1.0 $(($(writes_done e1.0) + 200))
check "the server is killed and starts again" eval "hostdo kill && hostdo start"
check "writing goes on by itself" eventually 25 writes_exceed e1.0 $(($(writes_done e1.0) + 200))
touch /tmp/stop; wait $writer
check "no write failed" [ ! -e /tmp/errors ]
check "files written across the kill verify" eval "forget_caches; verify_files /mnt/a/kept"

check "a snapshot is made of the running filesystem" eval "sync && hostdo snapshot"
check "files are changed and deleted" eval "rm /mnt/a/file-* /mnt/a/one && write_files /mnt/a 2 900 && sync"
check "the snapshot is exposed" hostdo expose
check "the snapshot announces itself" eventually 5 test -b $old
check "the snapshot mounts read-only beside the live disk" mount -t ext4 -o ro,noload $old /mnt/old
check "the old files are intact in it" eval "verify_files /mnt/old && verify_files /mnt/old/kept && cmp /mnt/old/one /mnt/a/two"
check "the live files are intact beside it" eval "forget_caches; verify_files /mnt/a && [ ! -e /mnt/a/one ]"
umount /mnt/old /mnt/a
check "e2fsck finds the live filesystem clean" e2fsck -fn $a
check "the disk is restored" hostdo restore
check "the restored disk mounts" mount -t ext4 $a /mnt/a
check "the restored disk has the old files" eval "verify_files /mnt/a && verify_files /mnt/a/kept && cmp /mnt/a/one /mnt/a/two"
umount /mnt/a
check "e2fsck finds the restored filesystem clean" e2fsck -fn $a
