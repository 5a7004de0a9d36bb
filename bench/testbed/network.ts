import { $ } from "bun";

/** Two network namespaces, and a cable from one to the other for each server, so that no server sees another's frames. */
export interface Network extends AsyncDisposable {
  readonly serverNamespace: string;
  readonly clientNamespace: string;
  /** Names of the cables' ends, the same at both ends. */
  readonly interfaces: readonly string[];
}

/** Makes them with interfaces of this MTU; the server's has its loopback too. Needs root. Disposing of it takes all of it away. */
export async function createNetwork(cables: number, mtuBytes: number): Promise<Network> {
  const serverNamespace = `vk-${process.pid}-server`;
  const clientNamespace = `vk-${process.pid}-client`;
  const network: Network = {
    serverNamespace,
    clientNamespace,
    interfaces: Array.from({ length: cables }, (_, i) => `vk${i}`),
    async [Symbol.asyncDispose]() {
      await $`ip netns del ${serverNamespace}`.nothrow().quiet();
      await $`ip netns del ${clientNamespace}`.nothrow().quiet();
    },
  };
  try {
    await $`ip netns add ${serverNamespace}`.quiet();
    await $`ip netns add ${clientNamespace}`.quiet();
    await $`ip -n ${serverNamespace} link set lo up`.quiet();
    for (const name of network.interfaces) {
      await $`ip -n ${serverNamespace} link add ${name} mtu ${mtuBytes} type veth peer name ${name} mtu ${mtuBytes} netns ${clientNamespace}`.quiet();
      await $`ip -n ${serverNamespace} link set ${name} up`.quiet();
      await $`ip -n ${clientNamespace} link set ${name} up`.quiet();
    }
    return network;
  } catch (error) {
    await network[Symbol.asyncDispose]();
    const said = error instanceof $.ShellError ? error.stderr.toString().trim() : String(error);
    throw new Error(`cannot make network namespaces and veth pairs: ${said}`, { cause: error });
  }
}
