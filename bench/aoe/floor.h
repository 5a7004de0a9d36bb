// floor.h: what the floor's transports share: frames in, answers out.
// The floor answers AoE requests from nothing: no storage, no checks that a server needs. What it costs is what the
// kernel's packet path costs, so a server can be compared with it, and packet paths with each other.
#pragma once
#define _GNU_SOURCE
#include <stdint.h>
#include <time.h>

enum {
  AOE_ETHERTYPE = 0x88A2,
  AT_VERSION_FLAGS = 14, AT_SHELF = 16, AT_SLOT = 18, AT_COMMAND = 19, AT_ATA = 24, AT_DATA = 36,
  RESPONSE = 0x18, FLAG_RESPONSE = 0x08,
  HEAD_MOST_BYTES = 36,
  SECTOR_BYTES = 512, MOST_SECTORS = 17,
  BATCH = 64,
  BUFFER_COUNT = 64,
};

struct floor {
  const char *interface;
  int interface_index, shelf, slot, mtu;
  uint8_t mac[6];
  uint64_t sectors;
  int bypass;            // PACKET_QDISC_BYPASS
  int native_xdp;        // XDP in the driver; otherwise the generic one, on the socket buffer
  double spin_s;         // before sleeping in poll(2)
  uint8_t identity[SECTOR_BYTES];
};

// An answer: a head that was built, then data that lies somewhere already.
struct answer {
  uint8_t head[HEAD_MOST_BYTES];
  int head_bytes, data_bytes;
  const uint8_t *data;
};

extern const uint8_t zeros[MOST_SECTORS * SECTOR_BYTES];

// Answers a request, or returns 0 where there is nothing to say.
int answer_to(const struct floor *floor, const uint8_t *request, int length, struct answer *answer);

// Says on stdout that requests are answered from now on.
void say_ready(const char *transport);

// Called whenever there is nothing to receive: spins at first, then sleeps until there is.
void wait_for_request(const struct floor *floor, int fd, int had_requests);

// Each serves until the process is ended, and returns only when it cannot, having said why.
int serve_mmsg(const struct floor *floor);
int serve_ring(const struct floor *floor, int transmit_ring);
int serve_xdp(const struct floor *floor);

static inline double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
