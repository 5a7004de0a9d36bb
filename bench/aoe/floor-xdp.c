// floor-xdp.c: the floor on AF_XDP in copy mode, by bare system calls (no libbpf, no clang).
// A frame longer than a chunk arrives and leaves as several (XDP_USE_SG, Linux 6.6).
#include "floor.h"
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif
#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif
#ifndef CHUNK_BYTES
#define CHUNK_BYTES 4096  // the most the kernel takes: a page
#endif

enum { RING_ENTRIES = 2048, RECEIVE_CHUNKS = 2048, HEAD_CHUNKS = 512, IDENTITY_CHUNK = HEAD_CHUNKS, ZERO_CHUNK,
  FIRST_RECEIVE_CHUNK, CHUNKS = FIRST_RECEIVE_CHUNK + RECEIVE_CHUNKS };

struct ring {
  uint32_t *producer, *consumer;
  void *entries;
};

static int bpf(int command, union bpf_attr *attributes) { return syscall(SYS_bpf, command, attributes, sizeof *attributes); }

// Redirects AoE requests to the socket in the map; everything else goes on to the kernel.
static int load_program(int map) {
  struct bpf_insn code[] = {
    {BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct xdp_md, data), 0},
    {BPF_LDX | BPF_MEM | BPF_W, 3, 1, offsetof(struct xdp_md, data_end), 0},
    {BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0},
    {BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, AT_ATA},
    {BPF_JMP | BPF_JGT | BPF_X, 4, 3, 10, 0},
    {BPF_LDX | BPF_MEM | BPF_H, 4, 2, 12, 0},
    {BPF_JMP | BPF_JNE | BPF_K, 4, 0, 8, (AOE_ETHERTYPE & 255) << 8 | AOE_ETHERTYPE >> 8},
    {BPF_LDX | BPF_MEM | BPF_B, 4, 2, AT_VERSION_FLAGS, 0},
    {BPF_JMP | BPF_JSET | BPF_K, 4, 0, 6, FLAG_RESPONSE},
    {BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct xdp_md, rx_queue_index), 0},
    {BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map},
    {0, 0, 0, 0, 0},
    {BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_PASS},
    {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map},
    {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
    {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS},
    {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  static char log[65536];
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_XDP, .insns = (uintptr_t)code, .insn_cnt = sizeof code / sizeof *code, .license = (uintptr_t)"GPL",
    .log_buf = (uintptr_t)log, .log_size = sizeof log, .log_level = 1, .prog_flags = BPF_F_XDP_HAS_FRAGS, .expected_attach_type = BPF_XDP};
  int program = bpf(BPF_PROG_LOAD, &load);
  if (program < 0) fprintf(stderr, "floor: BPF_PROG_LOAD: %s\n%s", strerror(errno), log);
  return program;
}

static int map_ring(int fd, int option, uint64_t page_offset, const struct xdp_ring_offset *at, size_t entry_bytes, struct ring *ring) {
  if (setsockopt(fd, SOL_XDP, option, &(int){RING_ENTRIES}, sizeof(int))) return perror("floor: AF_XDP ring"), -1;
  uint8_t *m = mmap(0, at->desc + RING_ENTRIES * entry_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page_offset);
  if (m == MAP_FAILED) return perror("floor: mmap of an AF_XDP ring"), -1;
  *ring = (struct ring){(uint32_t *)(m + at->producer), (uint32_t *)(m + at->consumer), m + at->desc};
  return 0;
}

static uint32_t load_index(uint32_t *index) { return __atomic_load_n(index, __ATOMIC_ACQUIRE); }
static void store_index(uint32_t *index, uint32_t value) { __atomic_store_n(index, value, __ATOMIC_RELEASE); }

static void describe(struct ring *ring, uint32_t at, uint64_t address, uint32_t length, int more) {
  ((struct xdp_desc *)ring->entries)[at % RING_ENTRIES] = (struct xdp_desc){address, length, more ? XDP_PKT_CONTD : 0};
}

// Puts an answer into the transmit ring: its head from a chunk of its own, its data from the chunks all answers share.
static uint32_t put_answer(const struct floor *floor, struct ring *ring, uint32_t at, uint8_t *memory, struct answer *a) {
  uint64_t head = (uint64_t)(at % HEAD_CHUNKS) * CHUNK_BYTES;
  memcpy(memory + head, a->head, a->head_bytes);
  describe(ring, at++, head, a->head_bytes, a->data_bytes > 0);
  uint64_t data = (uint64_t)(a->data == floor->identity ? IDENTITY_CHUNK : ZERO_CHUNK) * CHUNK_BYTES;
  for (int left = a->data_bytes; left > 0; left -= CHUNK_BYTES) describe(ring, at++, data, left < CHUNK_BYTES ? left : CHUNK_BYTES, left > CHUNK_BYTES);
  return at;
}

int serve_xdp(const struct floor *floor) {
  int fd = socket(AF_XDP, SOCK_RAW, 0);
  if (fd < 0) return perror("floor: AF_XDP socket"), 1;
  uint8_t *memory = mmap(0, (size_t)CHUNKS * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) return perror("floor: mmap"), 1;
  memcpy(memory + (size_t)IDENTITY_CHUNK * CHUNK_BYTES, floor->identity, sizeof floor->identity);
  struct xdp_umem_reg umem = {.addr = (uintptr_t)memory, .len = (uint64_t)CHUNKS * CHUNK_BYTES, .chunk_size = CHUNK_BYTES};
  if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof umem)) return perror("floor: XDP_UMEM_REG"), 1;
  struct ring fill, completed, received, sent;
  struct xdp_mmap_offsets at;
  // The offsets are asked for when the rings exist or not, they are the same.
  if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &(socklen_t){sizeof at})) return perror("floor: XDP_MMAP_OFFSETS"), 1;
  if (map_ring(fd, XDP_UMEM_FILL_RING, XDP_UMEM_PGOFF_FILL_RING, &at.fr, sizeof(uint64_t), &fill) ||
    map_ring(fd, XDP_UMEM_COMPLETION_RING, XDP_UMEM_PGOFF_COMPLETION_RING, &at.cr, sizeof(uint64_t), &completed) ||
    map_ring(fd, XDP_RX_RING, XDP_PGOFF_RX_RING, &at.rx, sizeof(struct xdp_desc), &received) ||
    map_ring(fd, XDP_TX_RING, XDP_PGOFF_TX_RING, &at.tx, sizeof(struct xdp_desc), &sent)) return 1;
  uint32_t filled = RECEIVE_CHUNKS, receive_next = 0, transmit_next = 0;
  for (uint32_t i = 0; i < RECEIVE_CHUNKS; i++) ((uint64_t *)fill.entries)[i] = (uint64_t)(FIRST_RECEIVE_CHUNK + i) * CHUNK_BYTES;
  store_index(fill.producer, filled);
  struct sockaddr_xdp address = {.sxdp_family = AF_XDP, .sxdp_ifindex = floor->interface_index, .sxdp_flags = XDP_COPY | XDP_USE_SG};
  if (bind(fd, (void *)&address, sizeof address)) return perror("floor: bind of the AF_XDP socket"), 1;

  union bpf_attr make = {.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1};
  int map = bpf(BPF_MAP_CREATE, &make);
  if (map < 0) return perror("floor: XSKMAP"), 1;
  union bpf_attr update = {.map_fd = map, .key = (uintptr_t)&(uint32_t){0}, .value = (uintptr_t)&fd};
  if (bpf(BPF_MAP_UPDATE_ELEM, &update)) return perror("floor: socket into the XSKMAP"), 1;
  int program = load_program(map);
  if (program < 0) return 1;
  union bpf_attr link = {.link_create = {.prog_fd = program, .target_ifindex = floor->interface_index, .attach_type = BPF_XDP,
    .flags = floor->native_xdp ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE}};
  if (bpf(BPF_LINK_CREATE, &link) < 0) return perror("floor: XDP program onto the interface"), 1;

  say_ready(floor->native_xdp ? "xdp-native" : "xdp");
  for (int continued = 0;;) {
    uint32_t available = load_index(received.producer), first = receive_next;
    store_index(completed.consumer, load_index(completed.producer));
    // Heads and entries are used in turn: there is room for a whole batch at all times, since send is repeated below.
    for (int frames = 0; receive_next != available && frames < BATCH; receive_next++) {
      struct xdp_desc *d = &((struct xdp_desc *)received.entries)[receive_next % RING_ENTRIES];
      struct answer answer;
      if (!continued && answer_to(floor, memory + d->addr, d->len, &answer)) transmit_next = put_answer(floor, &sent, transmit_next, memory, &answer);
      continued = d->options & XDP_PKT_CONTD;
      frames += !continued;
      ((uint64_t *)fill.entries)[filled++ % RING_ENTRIES] = d->addr - d->addr % CHUNK_BYTES;
    }
    if (receive_next != first) {
      store_index(received.consumer, receive_next);
      store_index(fill.producer, filled);
      store_index(sent.producer, transmit_next);
      // One call sends no more than 32 frames.
      while (load_index(sent.consumer) != transmit_next) {
        if (sendto(fd, 0, 0, MSG_DONTWAIT, 0, 0) < 0 && errno != EAGAIN && errno != EBUSY && errno != ENOBUFS) return perror("floor: AF_XDP send"), 1;
        store_index(completed.consumer, load_index(completed.producer));
      }
    }
    wait_for_request(floor, fd, receive_next != first);
  }
}
