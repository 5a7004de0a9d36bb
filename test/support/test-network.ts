/**
 * Links between the parts of a test. They are taps and veth pairs in network namespaces of their own, so no frame can
 * leave the machine.
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

/** A veth pair: one end beside the tests, where an initiator in their process can open it, the other in a namespace. */
export interface TestCable extends AsyncDisposable {
  readonly namespace: string;
  readonly serverInterface: string;
  readonly initiatorInterface: string;
}

let namespaceCount = 0;

/** Creates a namespace with its loopback up, and lets `furnish` put links into it; if that fails, nothing is left. */
async function createNamespace(
  furnish: (namespace: string) => Promise<void>,
): Promise<AsyncDisposable & { namespace: string }> {
  const namespace = `vg${process.pid}-${namespaceCount++}`;
  await $`ip netns add ${namespace}`.quiet();
  const dispose = async () => {
    await $`ip netns del ${namespace}`.quiet().nothrow(); // and its links, veths with their other ends
  };
  try {
    await $`ip -n ${namespace} link set lo up`.quiet();
    // Otherwise the kernel itself sends router solicitations.
    await $`ip netns exec ${namespace} sysctl -qw net.ipv6.conf.default.disable_ipv6=1`.quiet().nothrow();
    await furnish(namespace);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { namespace, [Symbol.asyncDispose]: dispose };
}

/** Creates a namespace with `tapCount` taps up, all of `mtu` bytes. Needs root and /dev/net/tun. */
export async function createNetwork(options: { tapCount: number; mtu: number }): Promise<TestNetwork> {
  const taps = Array.from({ length: options.tapCount }, (_, index) => `vgtap${index}`);
  const { namespace, ...rest } = await createNamespace(async (created) => {
    for (const tap of taps) {
      await $`ip -n ${created} tuntap add dev ${tap} mode tap`.quiet();
      await $`ip -n ${created} link set ${tap} mtu ${options.mtu} up`.quiet();
    }
  });
  return {
    ...rest,
    namespace,
    taps,
    mtu: options.mtu,
    setLink: async (tap, state) => {
      await $`ip -n ${namespace} link set ${tap} ${state}`.quiet();
    },
  };
}

/** Adds a veth pair, both ends up, of which one is in the namespace and the other beside the tests. */
export async function addCable(
  namespace: string,
  cable: { serverInterface: string; initiatorInterface: string; mtu: number },
): Promise<void> {
  const { serverInterface, initiatorInterface, mtu } = cable;
  await $`ip link add ${initiatorInterface} mtu ${mtu} type veth peer name ${serverInterface} mtu ${mtu} netns ${namespace}`.quiet();
  await $`sysctl -qw net.ipv6.conf.${initiatorInterface}.disable_ipv6=1`.quiet().nothrow();
  await $`ip link set ${initiatorInterface} up`.quiet();
  await $`ip -n ${namespace} link set ${serverInterface} up`.quiet();
}

/** Creates a veth pair of `mtu` bytes with both ends up. Needs root. */
export async function createCable(options: { mtu: number }): Promise<TestCable> {
  const [serverInterface, initiatorInterface] = ["vgserver", `vg${process.pid}i${namespaceCount}`];
  const created = await createNamespace((namespace) =>
    addCable(namespace, { serverInterface, initiatorInterface, mtu: options.mtu }),
  );
  return { ...created, serverInterface, initiatorInterface };
}
