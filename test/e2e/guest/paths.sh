# e1.0 is served on two links, eth0 and eth1 here. The host takes one down, LINK, and up again, under load.
. /lib/check.sh
device=/dev/etherd/e1.0 view=/sys/kernel/debug/aoe/e1.0
mkdir -p /mnt/a
both_interfaces() { echo > /dev/etherd/discover; grep -q eth0 $view && grep -q eth1 $view; }
check "the initiator sees both paths" eventually 10 both_interfaces
cat $view; aoe-stat
check "aoe-stat lists both interfaces" eval "aoe-stat | grep e1.0 | grep eth0 | grep -q eth1" # in either order
mkfs.ext4 -q -E lazy_journal_init=1 $device && mount -t ext4 $device /mnt/a || exit 1

keep_writing /mnt/a & writer=$!
answers() { cat /sys/class/net/$1/statistics/rx_packets; }
answers_exceed() { [ "$(answers "$1")" -gt "$2" ]; }

first=$(answers eth0) second=$(answers eth1)
check "requests are answered on both paths" eval "eventually 10 answers_exceed eth0 $((first + 50)) && eventually 10 answers_exceed eth1 $((second + 50))"

# The initiator tries a silent path for 10 s before it takes another (HARD_SCORN_SECS in the kernel's aoe.h).
hostdo link $LINK down || exit 1
check "writing goes on with one link down" eventually 45 writes_exceed e1.0 $(($(writes_done e1.0) + 200))
cat $view
hostdo link $LINK up || exit 1
check "the link is used again once it is back" eventually 30 answers_exceed eth$LINK $(($(answers eth$LINK) + 50))
cat $view
touch /tmp/stop; wait $writer
check "no write failed" [ ! -e /tmp/errors ]
sync
check "files written across the failures verify" eval "forget_caches; verify_files /mnt/a"
umount /mnt/a
check "e2fsck finds the filesystem clean" e2fsck -fn $device
