// floor-packet.c: the floor on a packet socket: recvmmsg, PACKET_RX_RING, sendmmsg, PACKET_TX_RING.
#include "floor.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { FRAME_BYTES = 9216, RING_FRAMES = 512, SOCKET_BUFFER_BYTES = 8 << 20 };

static struct mmsghdr transmit[BATCH];
static struct iovec transmit_at[BATCH][2];
static struct answer answers[BATCH];

// A socket without the interface: nothing arrives before the filter is there.
static int open_socket(const struct floor *floor) {
  int fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (fd < 0) return perror("floor: packet socket"), -1;
  // AoE, not a response: what any target on a shared wire needs.
  struct sock_filter code[] = {
    {BPF_LD | BPF_H | BPF_ABS, 0, 0, 12},
    {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, AOE_ETHERTYPE},
    {BPF_LD | BPF_B | BPF_ABS, 0, 0, AT_VERSION_FLAGS},
    {BPF_JMP | BPF_JSET | BPF_K, 1, 0, FLAG_RESPONSE},
    {BPF_RET | BPF_K, 0, 0, 0x40000},
    {BPF_RET | BPF_K, 0, 0, 0},
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)) return perror("floor: SO_ATTACH_FILTER"), -1;
  int bytes = SOCKET_BUFFER_BYTES;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  if (floor->bypass && setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &(int){1}, sizeof(int))) return perror("floor: PACKET_QDISC_BYPASS"), -1;
  return fd;
}

static int bind_socket(const struct floor *floor, int fd) {
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(AOE_ETHERTYPE), .sll_ifindex = floor->interface_index};
  if (bind(fd, (void *)&at, sizeof at)) return perror("floor: bind"), -1;
  return 0;
}

static void gather(int i) {
  struct answer *a = &answers[i];
  transmit_at[i][0] = (struct iovec){a->head, a->head_bytes};
  transmit_at[i][1] = (struct iovec){(void *)a->data, a->data_bytes};
  transmit[i].msg_hdr = (struct msghdr){.msg_iov = transmit_at[i], .msg_iovlen = a->data_bytes ? 2 : 1};
}

// A frame that the interface does not take is dropped, as a wire would.
static void send_gathered(int fd, int count) {
  for (int sent = 0; sent < count;) {
    int n = sendmmsg(fd, transmit + sent, count - sent, 0);
    sent += n > 0 ? n : 1;
  }
}

int serve_mmsg(const struct floor *floor) {
  int fd = open_socket(floor);
  if (fd < 0 || bind_socket(floor, fd)) return 1;
  static uint8_t frames[BATCH][FRAME_BYTES];
  static struct mmsghdr receive[BATCH];
  static struct iovec receive_at[BATCH];
  for (int i = 0; i < BATCH; i++) {
    receive_at[i] = (struct iovec){frames[i], FRAME_BYTES};
    receive[i].msg_hdr = (struct msghdr){.msg_iov = &receive_at[i], .msg_iovlen = 1};
  }
  say_ready("mmsg");
  for (;;) {
    int n = recvmmsg(fd, receive, BATCH, MSG_DONTWAIT, 0), count = 0;
    for (int i = 0; i < n; i++)
      if (answer_to(floor, frames[i], receive[i].msg_len, &answers[count])) gather(count++);
    send_gathered(fd, count);
    wait_for_request(floor, fd, n > 0);
  }
}

static struct tpacket2_hdr *slot_of(uint8_t *ring, int slot_bytes, unsigned i) {
  return (struct tpacket2_hdr *)(ring + (size_t)(i % RING_FRAMES) * slot_bytes);
}

static int make_ring(int fd, int option, int slot_bytes) {
  struct tpacket_req request = {.tp_block_size = 65536, .tp_frame_size = slot_bytes, .tp_frame_nr = RING_FRAMES};
  request.tp_block_nr = (unsigned)RING_FRAMES * slot_bytes / 65536;
  return setsockopt(fd, SOL_PACKET, option, &request, sizeof request);
}

int serve_ring(const struct floor *floor, int transmit_ring) {
  int fd = open_socket(floor), slot_bytes = floor->mtu > 1900 ? 16384 : 2048;
  if (fd < 0) return 1;
  if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &(int){TPACKET_V2}, sizeof(int))) return perror("floor: TPACKET_V2"), 1;
  if (make_ring(fd, PACKET_RX_RING, slot_bytes)) return perror("floor: PACKET_RX_RING"), 1;
  if (transmit_ring && make_ring(fd, PACKET_TX_RING, slot_bytes)) return perror("floor: PACKET_TX_RING"), 1;
  size_t ring_bytes = (size_t)RING_FRAMES * slot_bytes;
  uint8_t *received = mmap(0, ring_bytes * (transmit_ring ? 2 : 1), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (received == MAP_FAILED) return perror("floor: mmap of the rings"), 1;
  uint8_t *sent = received + ring_bytes;
  if (bind_socket(floor, fd)) return 1;
  // A frame in the transmit ring begins here. The data of reads is the zeros that the ring began with, so nothing is
  // copied, as if storage had cost nothing to read straight into it.
  const int frame_at = TPACKET2_HDRLEN - sizeof(struct sockaddr_ll);
  static uint8_t holds_identity[RING_FRAMES];
  unsigned receive_next = 0, transmit_next = 0;
  say_ready(transmit_ring ? "ring" : "ring-mmsg");
  for (;;) {
    int count = 0, taken = 0;
    for (; taken < BATCH; taken++) {
      struct tpacket2_hdr *slot = slot_of(received, slot_bytes, receive_next + taken);
      if (!(__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) break;
      if (!answer_to(floor, (uint8_t *)slot + slot->tp_mac, slot->tp_snaplen, &answers[count])) continue;
      if (!transmit_ring) {
        gather(count++);
        continue;
      }
      struct answer *a = &answers[count];
      struct tpacket2_hdr *out = slot_of(sent, slot_bytes, transmit_next);
      if (__atomic_load_n(&out->tp_status, __ATOMIC_ACQUIRE) != TP_STATUS_AVAILABLE) continue;  // full: dropped
      memcpy((uint8_t *)out + frame_at, a->head, a->head_bytes);
      uint8_t *dirty = &holds_identity[transmit_next % RING_FRAMES];
      if (a->data_bytes && (*dirty || a->data == floor->identity)) {
        memcpy((uint8_t *)out + frame_at + a->head_bytes, a->data, SECTOR_BYTES);
        *dirty = a->data == floor->identity;
      }
      out->tp_len = a->head_bytes + a->data_bytes;
      __atomic_store_n(&out->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
      transmit_next++, count++;
    }
    if (transmit_ring && count) send(fd, 0, 0, MSG_DONTWAIT);
    if (!transmit_ring) send_gathered(fd, count);
    for (int i = 0; i < taken; i++)
      __atomic_store_n(&slot_of(received, slot_bytes, receive_next + i)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    receive_next += taken;
    wait_for_request(floor, fd, taken);
  }
}
