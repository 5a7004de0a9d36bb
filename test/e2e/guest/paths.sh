# e1.0 is served on two links, eth0 and eth1 here; the host takes one down, then the other.
. /lib/check.sh
device=/dev/etherd/e1.0 view=/sys/kernel/debug/aoe/e1.0
mkdir -p /mnt/a
both_interfaces() { echo > /dev/etherd/discover; grep -q eth0 $view && grep -q eth1 $view; }
check "the initiator sees both paths" eventually 10 both_interfaces
cat $view; aoe-stat
check "aoe-stat lists both interfaces" eval "aoe-stat | grep e1.0 | grep -q eth0,eth1"
mkfs.ext4 -q -E lazy_journal_init=1 $device && mount -t ext4 $device /mnt/a || exit 1

keep_writing /mnt/a & writer=$!
answers() { cat /sys/class/net/$1/statistics/rx_packets; }
answers_exceed() { [ "$(answers "$1")" -gt "$2" ]; }

first=$(answers eth0) second=$(answers eth1)
check "requests are answered on both paths" eval "eventually 10 answers_exceed eth0 $((first + 50)) && eventually 10 answers_exceed eth1 $((second + 50))"
for link in 0 1; do
  hostdo link $link down || exit 1
  check "writing goes on with link $link down" eventually 30 writes_exceed e1.0 $(($(writes_done e1.0) + 200))
  echo "link $link down:"; cat $view
  hostdo link $link up || exit 1
  check "link $link is used again once it is back" eventually 30 answers_exceed eth$link $(($(answers eth$link) + 50))
done
touch /tmp/stop; wait $writer
check "no write failed" [ ! -e /tmp/errors ]
sync
check "files written across the failures verify" eval "forget_caches; verify_files /mnt/a"
umount /mnt/a
check "e2fsck finds the filesystem clean" e2fsck -fn $device
