// floor.c: the least an AoE target can cost: answers with no storage behind them.
//   cc -O2 -o floor floor.c floor-packet.c floor-xdp.c        (needs CAP_NET_RAW; xdp also CAP_BPF and CAP_NET_ADMIN)
// usage: floor IFACE SHELF SLOT [options]
//   -t mmsg|ring|ring-mmsg|xdp|xdp-native   how frames come and go                                  (ring-mmsg)
//        mmsg       recvmmsg and sendmmsg
//        ring       PACKET_RX_RING and PACKET_TX_RING, TPACKET_V2
//        ring-mmsg  PACKET_RX_RING and sendmmsg, which gathers head and data
//        xdp        AF_XDP in copy mode on generic XDP; xdp-native: on the driver's XDP
//   -b            PACKET_QDISC_BYPASS
//   -n SECTORS    size                                                                              (2097152)
//   -u MICROS     spin this long for another request before sleeping in poll(2)                     (30, as voe does)
#include "floor.h"
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

const uint8_t zeros[MOST_SECTORS * SECTOR_BYTES];

enum { COMMAND_ATA = 0, COMMAND_CONFIG = 1, ATA_READ = 0x20, ATA_READ_EXT = 0x24, ATA_IDENTIFY = 0xEC, ATA_DRDY = 0x40 };

int answer_to(const struct floor *floor, const uint8_t *request, int length, struct answer *answer) {
  if (length < AT_ATA || (request[AT_VERSION_FLAGS] & FLAG_RESPONSE)) return 0;
  int shelf = request[AT_SHELF] << 8 | request[AT_SHELF + 1], slot = request[AT_SLOT], command = request[AT_COMMAND];
  if ((shelf != floor->shelf && shelf != 0xFFFF) || (slot != floor->slot && slot != 0xFF)) return 0;
  uint8_t *head = answer->head;
  memcpy(head, request + 6, 6);
  memcpy(head + 6, floor->mac, 6);
  memcpy(head + 12, request + 12, 12);  // EtherType .. tag
  head[AT_VERSION_FLAGS] = RESPONSE, head[AT_VERSION_FLAGS + 1] = 0;
  head[AT_SHELF] = floor->shelf >> 8, head[AT_SHELF + 1] = floor->shelf, head[AT_SLOT] = floor->slot;
  answer->data_bytes = 0;
  if (command == COMMAND_CONFIG) {
    static const uint8_t config[8] = {0, BUFFER_COUNT, 0, 1, 0, 0x10, 0, 0};
    memcpy(head + AT_ATA, config, sizeof config);
    int fit = (floor->mtu - (AT_DATA - 14)) / SECTOR_BYTES;
    head[AT_ATA + 4] = fit < MOST_SECTORS ? fit : MOST_SECTORS;
    answer->head_bytes = AT_ATA + sizeof config;
    return 1;
  }
  if (command != COMMAND_ATA || length < AT_DATA) return 0;
  memcpy(head + AT_ATA, request + AT_ATA, AT_DATA - AT_ATA);
  int ata = request[AT_ATA + 3], sectors = request[AT_ATA + 2];
  head[AT_ATA + 1] = 0, head[AT_ATA + 3] = ATA_DRDY;
  answer->head_bytes = AT_DATA;
  if (ata == ATA_IDENTIFY) {
    answer->data = floor->identity, answer->data_bytes = SECTOR_BYTES;
  } else if (ata == ATA_READ_EXT || ata == ATA_READ) {
    if (sectors > MOST_SECTORS) return 0;
    answer->data = zeros, answer->data_bytes = sectors * SECTOR_BYTES;
  }
  return 1;
}

void say_ready(const char *transport) {
  printf("floor ready: %s\n", transport);
  fflush(stdout);
}

void wait_for_request(const struct floor *floor, int fd, int had_requests) {
  static double idle_since;
  if (had_requests) {
    idle_since = 0;
    return;
  }
  double t = now_s();
  if (!idle_since) idle_since = t;
  if (t - idle_since < floor->spin_s) return;
  struct pollfd p = {fd, POLLIN, 0};
  poll(&p, 1, -1);
  idle_since = 0;
}

static void fill_identity(struct floor *floor) {
  uint8_t *word = floor->identity;
  uint64_t small = floor->sectors > 0x0FFFFFFF ? 0x0FFFFFFF : floor->sectors;
  word[2 * 49 + 1] = 0x02;                              // LBA
  word[2 * 83 + 1] = word[2 * 86 + 1] = 0x44;           // 48-bit addresses
  for (int i = 0; i < 4; i++) word[2 * 60 + i] = small >> (8 * i);
  for (int i = 0; i < 8; i++) word[2 * 100 + i] = floor->sectors >> (8 * i);
}

static int usage(void) {
  fprintf(stderr, "usage: floor IFACE SHELF SLOT [-t mmsg|ring|ring-mmsg|xdp|xdp-native] [-b] [-n SECTORS] [-u MICROS]\n");
  return 2;
}

int main(int argc, char **argv) {
  struct floor floor = {.sectors = 1 << 21, .spin_s = 30e-6};
  const char *transport = "ring-mmsg";
  int option;
  while ((option = getopt(argc, argv, "t:bn:u:")) > 0) switch (option) {
    case 't': transport = optarg; break;
    case 'b': floor.bypass = 1; break;
    case 'n': floor.sectors = strtoull(optarg, 0, 10); break;
    case 'u': floor.spin_s = atof(optarg) * 1e-6; break;
    default: return usage();
  }
  if (argc - optind != 3) return usage();
  floor.interface = argv[optind], floor.shelf = atoi(argv[optind + 1]), floor.slot = atoi(argv[optind + 2]);
  fill_identity(&floor);

  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq r = {0};
  strncpy(r.ifr_name, floor.interface, IFNAMSIZ - 1);
  floor.interface_index = if_nametoindex(floor.interface);
  if (!floor.interface_index || ioctl(fd, SIOCGIFHWADDR, &r)) return perror(floor.interface), 1;
  memcpy(floor.mac, r.ifr_hwaddr.sa_data, 6);
  if (ioctl(fd, SIOCGIFMTU, &r)) return perror(floor.interface), 1;
  floor.mtu = r.ifr_mtu;
  close(fd);

  if (!strcmp(transport, "mmsg")) return serve_mmsg(&floor);
  if (!strcmp(transport, "ring")) return serve_ring(&floor, 1);
  if (!strcmp(transport, "ring-mmsg")) return serve_ring(&floor, 0);
  floor.native_xdp = !strcmp(transport, "xdp-native");
  if (floor.native_xdp || !strcmp(transport, "xdp")) return serve_xdp(&floor);
  return usage();
}
