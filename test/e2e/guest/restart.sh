# Files are written to e1.0 without a pause while the host kills and restarts the server, ROUNDS times.
. /lib/check.sh
device=/dev/etherd/e1.0 statistics="/sys/block/etherd!e1.0"
mkdir -p /mnt/a
mkfs.ext4 -q -E lazy_journal_init=1 $device && mount -t ext4 $device /mnt/a || exit 1

keep_writing /mnt/a & writer=$!

in_flight() { read -r reads writes < "$statistics/inflight"; [ "$writes" -gt 0 ]; }
for round in $(seq "$ROUNDS"); do
  eventually 20 writes_exceed e1.0 $(($(writes_done e1.0) + 50)) || exit 1
  eventually 20 in_flight
  check "kill $round: the server is killed" hostdo kill
  check "kill $round: writes were on their way" eventually 5 in_flight
  sleep 0.5
  stuck=$(writes_done e1.0)
  check "kill $round: nothing is answered while the server is gone" eval "sleep 0.5; [ \$(writes_done e1.0) = $stuck ]"
  check "kill $round: the server starts again" hostdo start
  check "kill $round: writing goes on by itself" eventually 20 writes_exceed e1.0 $((stuck + 50))
done
touch /tmp/stop; wait $writer
check "no write failed" [ ! -e /tmp/errors ]
sync
check "files written across the kills read back from the medium as written" eval "forget_caches; verify_files /mnt/a"
check "the filesystem unmounts" umount /mnt/a
check "e2fsck finds it clean" e2fsck -fn $device
