/** A wire between this process and a network namespace, for peers that need an Ethernet segment of their own. */
import { $ } from "bun";

/** Why there cannot be a wire, or a raw socket, here; undefined where there can. */
export function missingForWire(...programs: string[]): string | undefined {
  if (process.env["VOE_TEST_FULL"] !== "1") return "VOE_TEST_FULL=1 is not set";
  if (process.getuid?.() !== 0) return "root is needed";
  const absent = programs.find((program) => Bun.which(program) === null);
  return absent === undefined ? undefined : `${absent} is not installed`;
}

export interface Wire extends AsyncDisposable {
  /** This process's end. */
  readonly near: string;
  /** The other end and the namespace that it is in. */
  readonly far: string;
  readonly namespace: string;
}

let wireCount = 0;

/**
 * Joins two interfaces of `mtu`; with `switchMtu` there is a switch between them that drops what is longer, silently
 * as switches do: a veth whose peer has a smaller MTU would tell the sender. The near end is in the namespace of this process, and gone when the wire is disposed of.
 */
export async function createWire({ mtu, switchMtu }: { mtu: number; switchMtu?: number }): Promise<Wire> {
  const name = `vi${process.pid}x${wireCount++}`;
  const namespace = name;
  const near = `${name}n`;
  const far = `${name}f`;
  const switchNamespace = `${name}-switch`;
  const dispose = async (): Promise<void> => {
    await $`ip link del ${near}`.quiet().nothrow();
    await $`ip netns del ${namespace}`.quiet().nothrow();
    if (switchMtu !== undefined) await $`ip netns del ${switchNamespace}`.quiet().nothrow();
  };
  try {
    await $`ip netns add ${namespace}`.quiet();
    if (switchMtu === undefined) {
      await $`ip link add ${near} type veth peer name ${far} netns ${namespace}`.quiet();
    } else {
      await $`ip netns add ${switchNamespace}`.quiet();
      await $`ip link add ${near} type veth peer name p0 netns ${switchNamespace}`.quiet();
      await $`ip -n ${switchNamespace} link add p1 type veth peer name ${far} netns ${namespace}`.quiet();
      await $`ip -n ${switchNamespace} link add br0 type bridge`.quiet();
      for (const port of ["p0", "p1"]) {
        await $`ip -n ${switchNamespace} link set ${port} master br0 mtu ${mtu} up`.quiet();
        await dropArriving(switchNamespace, port, `meta length > ${switchMtu}`);
      }
      await $`ip -n ${switchNamespace} link set br0 up`.quiet();
    }
    await $`ip link set ${near} mtu ${mtu} up`.quiet();
    await $`ip -n ${namespace} link set ${far} mtu ${mtu} up`.quiet();
  } catch (error) {
    await dispose();
    throw error;
  }
  return { near, far, namespace, [Symbol.asyncDispose]: dispose };
}

/** Drops one in `oneIn` of the frames that arrive at the far end. */
export async function loseFrames(wire: Wire, oneIn: number): Promise<void> {
  await dropArriving(wire.namespace, wire.far, `numgen inc mod ${oneIn} 0`);
}

async function dropArriving(namespace: string, device: string, condition: string): Promise<void> {
  const hook = `type filter hook ingress device ${device} priority 0`;
  const rules = `table netdev ${device} {\nchain arriving {\n${hook};\n${condition} drop\n}\n}\n`;
  await $`ip netns exec ${namespace} nft -f - < ${Buffer.from(rules)}`.quiet();
}

/** Starts vblade on the far end of a wire. */
export function startVblade(wire: Wire, address: { shelf: number; slot: number }, file: string): AsyncDisposable {
  const vblade = Bun.spawn(
    ["ip", "netns", "exec", wire.namespace, "vblade", String(address.shelf), String(address.slot), wire.far, file],
    { stdout: "ignore", stderr: "ignore" },
  );
  return {
    async [Symbol.asyncDispose]() {
      vblade.kill("SIGKILL");
      await vblade.exited;
    },
  };
}
