#!/bin/bash
# Boots a throw-away QEMU guest that holds the AoE initiator of the Linux kernel (aoe.ko) and runs a script in it,
# against whatever is served on the taps it is given.
#
#   run-guest.sh deps     install the packages that this script needs (Debian, as root)
#   run-guest.sh build    fetch a Debian kernel, pack the initramfs (once; later calls find them in the cache)
#   run-guest.sh run      boot, run $GUEST_SCRIPT, power off; builds first when the cache is empty
#
# Exit status of "run": that of the guest script (0-120); 124 = TIMEOUT was reached, 125 = the guest never reported
# a status (panic, QEMU did not start).
#
# Environment (defaults in brackets)
#   VOE_E2E_DIR    [${TMPDIR:-/tmp}/voe-e2e]  the cache: kernel and initramfs
#   NETNS          []       run QEMU inside this network namespace
#   TAPS           []       existing taps, separated by spaces: eth0, eth1 ... of the guest
#   MTU            [1500]   of every guest interface
#   GUEST_SCRIPT   []       shell script for the guest; unset: list the AoE devices
#   GUEST_ENV      []       'A=1 B=2' exported to it
#   WAIT_DEVICES   []       'e1.0 e1.1': wait for these block devices before the script starts
#   WAIT_SECONDS   [20]     how long to wait for them
#   AOE_PARAMS     []       aoe module parameters, e.g. 'aoe_maxout=16 aoe_deadsecs=20'
#   CONTROL_SOCKET []       Unix socket that the guest's `hostdo WORDS...` sends its words to as one line; the listener
#                           answers one line, the exit status of hostdo
#   CONSOLE        [stdout] file for the console log (kernel messages and the script's output)
#   TIMEOUT        [120]    seconds until QEMU is killed
#   ACCEL          [tcg]    or kvm
#   MEM            [512]    MiB
#
# The guest script may use: busybox applets; mkfs.ext4 e2fsck resize2fs aoe-stat; nbd-client, tgtd and tgtadm where this
# host has them; modprobe; hostdo; `. /lib/check.sh` (see it in guest-root). debugfs is mounted: /sys/kernel/debug/aoe/eX.Y shows the initiator's view of a target.
# Frames from the guest reach a tap unpadded: 32 and 36 bytes.
set -u
export PATH=$PATH:/sbin:/usr/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VOE_E2E_DIR=${VOE_E2E_DIR:-${TMPDIR:-/tmp}/voe-e2e}
die() { echo "run-guest: $*" >&2; exit 125; }

deps() {
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
    qemu-system-x86 seabios busybox-static kmod cpio e2fsprogs aoetools iproute2 xz-utils
}

# The kernel is that of Debian's package, whichever release this is. The plain ELF inside vmlinuz boots by PVH, which
# saves unpacking xz under emulation: 2 s to the initiator instead of 5-7 s.
build_kernel() {
  [ -e "$VOE_E2E_DIR/kernel/release" ] && return
  local dir=$VOE_E2E_DIR/kernel package release offset
  rm -rf "$dir" "$dir.new"; mkdir -p "$dir.new"
  package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
  [ -n "$package" ] || die "apt knows no linux-image-amd64: run apt-get update"
  (cd "$dir.new" && apt-get download "$package") >&2 || die "cannot download $package: run apt-get update, or check the network"
  dpkg -x "$dir.new/$package"_*.deb "$dir.new" || die "cannot unpack $package"
  rm "$dir.new/$package"_*.deb
  release=${package#linux-image-}
  offset=$(LC_ALL=C grep -abom1 $'\xfd7zXZ' "$dir.new/boot/vmlinuz-$release" | head -1 | cut -d: -f1)
  [ -n "$offset" ] && tail -c +$((offset + 1)) "$dir.new/boot/vmlinuz-$release" | xz -dc --single-stream > "$dir.new/vmlinux" 2>/dev/null
  [ "$(head -c 4 "$dir.new/vmlinux" 2>/dev/null | tail -c 3)" = ELF ] || cp "$dir.new/boot/vmlinuz-$release" "$dir.new/vmlinux"
  depmod -b "$dir.new" "$release" 2>/dev/null
  echo "$release" > "$dir.new/release"
  mv "$dir.new" "$dir"
}

copy_program() { # root program...: dynamic programs and their libraries
  local root=$1 program library; shift
  for program in "$@"; do
    [ -e "$program" ] || die "no $program: run $here/run-guest.sh deps"
    cp -L --remove-destination "$program" "$root/bin/" # not through the link to busybox
    for library in $(ldd "$program" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }'); do
      [ -e "$root$library" ] || { mkdir -p "$root${library%/*}"; cp -L "$library" "$root$library"; }
    done
  done
}

copy_modules() { # root release module...: kernel modules and those they need
  local root=$1 release=$2 name object; shift 2
  local from=$VOE_E2E_DIR/kernel/lib/modules/$release to=$root/lib/modules/$release
  mkdir -p "$to"; cp "$from"/modules.builtin "$from"/modules.order "$to/"
  for name in "$@"; do
    for object in $(modprobe -S "$release" -d "$VOE_E2E_DIR/kernel" --show-depends "$name" 2>/dev/null | awk '$1 == "insmod" { print $2 }'); do
      object=${object#"$from/"}; mkdir -p "$to/${object%/*}"; cp -n "$from/$object" "$to/$object"
    done
  done
  find "$to" -name '*.ko.xz' -exec xz -d {} +
  depmod -b "$root" "$release" 2>/dev/null
}

pack() { # directory archive
  (cd "$1" && find . -print0 | sort -z | cpio -0 --quiet -o -H newc -R 0:0) > "$2.tmp" && mv "$2.tmp" "$2"
}

# The initramfs is named after what made it, so that two checkouts may share the cache.
initramfs() { echo "$VOE_E2E_DIR/initramfs-$({ cat "$here/run-guest.sh" "$here"/guest-root/* "$VOE_E2E_DIR/kernel/release"; optional_programs; } | sha256sum | cut -c1-12).cpio"; }

# What only some scripts use, as far as it is there: NBD's client, and iSCSI's target.
optional_programs() { command -v nbd-client tgtd tgtadm; }

build() {
  mkdir -p "$VOE_E2E_DIR"; exec 9> "$VOE_E2E_DIR/.lock"; flock 9
  build_kernel
  local archive root applet; archive=$(initramfs)
  if [ ! -e "$archive" ]; then
    root=$(mktemp -d "$VOE_E2E_DIR/root.XXXXXX"); mkdir -p "$root"/{bin,sbin,lib,dev,proc,sys,tmp,mnt,root,etc}
    cp "$(command -v busybox)" "$root/bin/busybox" || die "no busybox: run $here/run-guest.sh deps"
    for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
    ln -s ../bin/busybox "$root/sbin/modprobe" # the kernel itself asks for modules (crypto-crc32c for ext4)
    copy_modules "$root" "$(cat "$VOE_E2E_DIR/kernel/release")" aoe ext4 virtio_pci virtio_net virtio_rng crc32c_generic libcrc32c nbd
    copy_program "$root" /sbin/mke2fs /sbin/e2fsck /sbin/resize2fs /usr/sbin/aoe-stat $(optional_programs)
    sed -i '1s/.*/#!\/bin\/sh/' "$root/bin/aoe-stat" # it says bash, and is content with busybox
    ln -sf mke2fs "$root/bin/mkfs.ext4"; cp /etc/mke2fs.conf "$root/etc/"
    cp "$here/guest-root/init" "$root/init"; cp "$here/guest-root/hostdo" "$root/bin/hostdo"; cp "$here/guest-root/check.sh" "$root/lib/"
    chmod 755 "$root/init" "$root/bin/hostdo"
    find "$VOE_E2E_DIR" -maxdepth 1 -name "initramfs-*.cpio" -mtime +7 -delete
    pack "$root" "$archive"; rm -rf "$root"
  fi
  flock -u 9
}

run() {
  build
  local work tap n=0 status reported; work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/root/guest"
  MTU=${MTU:-1500} WAIT_DEVICES=${WAIT_DEVICES:-} WAIT_SECONDS=${WAIT_SECONDS:-20} AOE_PARAMS=${AOE_PARAMS:-} GUEST_ENV=${GUEST_ENV:-}
  for v in MTU WAIT_DEVICES WAIT_SECONDS AOE_PARAMS GUEST_ENV; do printf "%s='%s'\n" "$v" "${!v}"; done > "$work/root/guest/env"
  [ -z "${GUEST_SCRIPT:-}" ] || cp "$GUEST_SCRIPT" "$work/root/guest/run.sh" || die "no guest script $GUEST_SCRIPT"
  pack "$work/root" "$work/script.cpio"
  cat "$(initramfs)" "$work/script.cpio" > "$work/initrd" # cpio archives may simply be concatenated

  local words=(qemu-system-x86_64 -nodefaults -no-user-config -nographic -no-reboot -machine "q35,accel=${ACCEL:-tcg}"
    -cpu max -m "${MEM:-512}" -kernel "$VOE_E2E_DIR/kernel/vmlinux" -initrd "$work/initrd"
    -append "console=ttyS0 rdinit=/init panic=-1 quiet mitigations=off net.ifnames=0 ipv6.disable=1 random.trust_cpu=on"
    -chardev "file,id=console,path=$work/console" -serial chardev:console)
  if [ -n "${CONTROL_SOCKET:-}" ]; then words+=(-chardev "socket,id=control,path=$CONTROL_SOCKET" -serial chardev:control); fi
  for tap in ${TAPS:-}; do
    words+=(-netdev "tap,id=n$n,ifname=$tap,script=no,downscript=no"
      -device "virtio-net-pci,netdev=n$n,romfile=,mac=$(printf '52:54:00:a0:e0:%02x' "$n")")
    n=$((n + 1))
  done
  [ -z "${NETNS:-}" ] || words=(ip netns exec "$NETNS" "${words[@]}")
  : > "$work/console"
  timeout -k 2 "${TIMEOUT:-120}" "${words[@]}" < /dev/null
  status=$?
  tr -d '\r' < "$work/console" > "$work/log"
  if [ -n "${CONSOLE:-}" ]; then cp "$work/log" "$CONSOLE"; else cat "$work/log"; fi
  [ "$status" = 124 ] || [ "$status" = 137 ] && exit 124
  reported=$(sed -n 's/^GUEST-STATUS=\([0-9]*\)$/\1/p' "$work/log" | tail -1)
  exit "${reported:-125}"
}

case ${1:-} in
  deps | build | run) "$1" ;;
  *) sed -n '2,/^set -u/p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//;$d'; exit 2 ;;
esac
