# Sourced by guest scripts. Every check prints one line that the tests on the host look for by name: a check that was
# never reached is a failed one there.

# check NAME COMMAND...: runs the command; the script goes on whatever comes out.
check() {
  check_name=$1; shift
  if "$@"; then check_result=pass; else check_result=fail; failed=1; fi
  read -r check_uptime check_rest < /proc/uptime
  echo "CHECK $check_result $check_uptime $check_name"
}

# eventually SECONDS COMMAND...: succeeds as soon as the command does, fails when it has not within the time.
eventually() {
  tries=$(($1 * 10)); shift
  while ! "$@" > /tmp/eventually 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "still failing: $*"; cat /tmp/eventually; return 1; }
    sleep 0.1
  done
}

# Size of an AoE device in bytes, as the kernel has it: size_of e1.0
size_of() { echo $(($(cat "/sys/block/etherd!$1/size") * 512)); }

# What is on the disk, not what is in the page cache.
forget_caches() { sync; echo 3 > /proc/sys/vm/drop_caches; }

# write_files DIRECTORY COUNT KIB: random files and, beside them, their checksums.
write_files() {
  for number in $(seq "$2"); do dd if=/dev/urandom of="$1/file-$number" bs=1k count="$3" 2>/dev/null || return; done
  (cd "$1" && sha256sum file-* > SHA256SUMS)
}
verify_files() { (cd "$1" && sha256sum -c SHA256SUMS | grep -v ': OK$'; cd "$1" && sha256sum -c -s SHA256SUMS); }

# Writes files to a directory without a pause until /tmp/stop appears, then their checksums. Each is synced, so that
# writes are nearly always on their way. Failures are listed in /tmp/errors.
keep_writing() {
  number=0
  while [ ! -e /tmp/stop ]; do
    number=$((number + 1)); file=file-$((number % 24))
    dd if=/dev/urandom of=/tmp/next bs=64k count=16 2>/dev/null
    (cd /tmp && sha256sum next) | sed "s/next/$file/" >> /tmp/sums
    dd if=/tmp/next of="$1/$file" bs=64k conv=fsync 2>/dev/null || echo "$file failed" >> /tmp/errors
  done
  tail -n 24 /tmp/sums > "$1/SHA256SUMS"
}

# Writes that the kernel has completed on a device, and whether more than a number of them are.
writes_done() { awk '{ print $5 }' "/sys/block/etherd!$1/stat"; }
writes_exceed() { [ "$(writes_done "$1")" -gt "$2" ]; }

failed=0
trap 'exit $failed' EXIT
