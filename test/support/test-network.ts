/**
 * A network namespace with taps in it: guests plug into the taps, a server listens on them, and no frame can leave the
 * machine, because the namespace has no other link than its own loopback.
 */
import { $ } from "bun";

/** A namespace and its taps; `await using` takes it down. */
export interface TestNetwork extends AsyncDisposable {
  readonly namespace: string;
  /** Interface names, in the order of the guest's eth0, eth1 ... A tap has carrier while a guest is plugged in. */
  readonly taps: readonly string[];
  readonly mtu: number;
  /** Takes a tap administratively down or up, as a cut and a mended cable. */
  setLink(tap: string, state: "up" | "down"): Promise<void>;
}

let networkCount = 0;

/** Creates a namespace with loopback and `tapCount` taps up, all of `mtu` bytes. Needs root and /dev/net/tun. */
export async function createNetwork(options: { tapCount: number; mtu: number }): Promise<TestNetwork> {
  const namespace = `vg${process.pid}-${networkCount++}`;
  await $`ip netns add ${namespace}`.quiet();
  const dispose = async () => {
    await $`ip netns del ${namespace}`.quiet().nothrow();
  };
  const taps = Array.from({ length: options.tapCount }, (_, index) => `vgtap${index}`);
  try {
    await $`ip -n ${namespace} link set lo up`.quiet();
    // Otherwise the kernel itself sends router solicitations into the guests.
    await $`ip netns exec ${namespace} sysctl -qw net.ipv6.conf.default.disable_ipv6=1`.quiet().nothrow();
    for (const tap of taps) {
      await $`ip -n ${namespace} tuntap add dev ${tap} mode tap`.quiet();
      await $`ip -n ${namespace} link set ${tap} mtu ${options.mtu} up`.quiet();
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    namespace,
    taps,
    mtu: options.mtu,
    setLink: async (tap, state) => {
      await $`ip -n ${namespace} link set ${tap} ${state}`.quiet();
    },
    [Symbol.asyncDispose]: dispose,
  };
}
