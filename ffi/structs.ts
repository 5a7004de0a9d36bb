/**
 * Layouts of the kernel structures that voe builds or reads, on 64-bit Linux: `bytes` is the size, the others are the
 * offsets of the fields, by their names in C. test/unit/ffi/structs.test.ts compares them with the C compiler's.
 */

/** <linux/if_packet.h>. `sll_protocol` is big-endian, the rest is in the host's order. */
export const sockaddr_ll = {
  bytes: 20,
  sll_family: 0,
  sll_protocol: 2,
  sll_ifindex: 4,
  sll_hatype: 8,
  sll_pkttype: 10,
  sll_halen: 11,
  sll_addr: 12,
} as const;

/** <linux/if_packet.h>. In a receive ring a `sockaddr_ll` follows it, in a transmit ring the frame. */
export const tpacket2_hdr = {
  bytes: 32,
  tp_status: 0,
  tp_len: 4,
  tp_snaplen: 8,
  tp_mac: 12,
  tp_net: 14,
  tp_sec: 16,
  tp_nsec: 20,
  tp_vlan_tci: 24,
  tp_vlan_tpid: 26,
} as const;

/** <linux/if_packet.h> */
export const tpacket_req = {
  bytes: 16,
  tp_block_size: 0,
  tp_block_nr: 4,
  tp_frame_size: 8,
  tp_frame_nr: 12,
} as const;

/** <sys/uio.h> */
export const iovec = { bytes: 16, iov_base: 0, iov_len: 8 } as const;

/** <sys/socket.h> */
export const msghdr = {
  bytes: 56,
  msg_name: 0,
  msg_namelen: 8,
  msg_iov: 16,
  msg_iovlen: 24,
  msg_control: 32,
  msg_controllen: 40,
  msg_flags: 48,
} as const;

/** <sys/socket.h> */
export const mmsghdr = { bytes: 64, msg_hdr: 0, msg_len: 56 } as const;

/** <linux/filter.h> */
export const sock_filter = { bytes: 8, code: 0, jt: 2, jf: 3, k: 4 } as const;

/** <linux/filter.h> */
export const sock_fprog = { bytes: 16, len: 0, filter: 8 } as const;

/** <net/if.h>. The fields after the name share one place. */
export const ifreq = {
  bytes: 40,
  ifr_name: 0,
  ifr_hwaddr: 16,
  ifr_flags: 16,
  ifr_ifindex: 16,
  ifr_mtu: 16,
} as const;

/** <sys/socket.h> */
export const sockaddr = { bytes: 16, sa_family: 0, sa_data: 2 } as const;

/** <net/if.h>. An array of them ends with an index of 0. */
export const if_nameindex = { bytes: 16, if_index: 0, if_name: 8 } as const;

/** <poll.h> */
export const pollfd = { bytes: 8, fd: 0, events: 4, revents: 6 } as const;

/** <linux/netlink.h> */
export const sockaddr_nl = { bytes: 12, nl_family: 0, nl_pid: 4, nl_groups: 8 } as const;

/** <linux/netlink.h> */
export const nlmsghdr = {
  bytes: 16,
  nlmsg_len: 0,
  nlmsg_type: 4,
  nlmsg_flags: 6,
  nlmsg_seq: 8,
  nlmsg_pid: 12,
} as const;

/** <linux/rtnetlink.h> */
export const ifinfomsg = {
  bytes: 16,
  ifi_family: 0,
  ifi_type: 2,
  ifi_index: 4,
  ifi_flags: 8,
  ifi_change: 12,
} as const;

/** <linux/rtnetlink.h> */
export const rtattr = { bytes: 4, rta_len: 0, rta_type: 2 } as const;
