import type { Mac } from "../../protocol/aoe/mac.ts";

/** What one initiator asked of one target through one interface. */
export interface Client {
  readonly mac: Mac;
  readonly interfaceName: string;
  readonly target: string;
  requests: number;
  readBytes: number;
  writtenBytes: number;
  /** `performance.now()` of a request not long ago. */
  lastSeenMs: number;
}

/** MACs can be forged without end: at most this many are remembered, the longest unseen is forgotten first. */
const MOST_CLIENTS = 256;

/** Remembers who asked for what, for `voe status`. */
export function clientTable(interfaceName: string, nowMs: () => number) {
  const clients = new Map<string, Client>();

  const forgetOldest = (): void => {
    let oldest: [string, Client] | undefined;
    for (const entry of clients) if (oldest === undefined || entry[1].lastSeenMs < oldest[1].lastSeenMs) oldest = entry;
    if (oldest) clients.delete(oldest[0]);
  };

  return {
    /** The entry of an initiator, made where there is none. */
    of(mac: Mac, target: string): Client {
      const key = `${mac} ${target}`;
      let client = clients.get(key);
      if (client === undefined) {
        if (clients.size >= MOST_CLIENTS) forgetOldest();
        client = { mac, interfaceName, target, requests: 0, readBytes: 0, writtenBytes: 0, lastSeenMs: nowMs() };
        clients.set(key, client);
      }
      return client;
    },
    list: (): Client[] => [...clients.values()],
  };
}
