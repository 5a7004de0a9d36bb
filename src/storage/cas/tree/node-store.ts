/** What `NodeStore.tryGet` returns for a node that is not in memory. */
export const NOT_IN_MEMORY = -1;

/**
 * Where the nodes of trees are kept: the blocks of a store, by hash. The hash function is the store's; so is the check
 * that what it returns has the hash it was asked for.
 */
export interface NodeStore {
  /**
   * Copies the block into `target` (4096 bytes) and returns its length in bytes, copying nothing where that is not
   * 4096; or returns NOT_IN_MEMORY where it cannot tell without waiting. Never throws: what is wrong is for `get` to
   * say. `hash` is only valid during the call.
   */
  tryGet(hash: Uint8Array, target: Uint8Array): number;

  /**
   * The block, whose bytes nobody changes any more. Rejects where the block is missing, cannot be read, or does not
   * have this hash. Must find whatever was put, durable or not.
   */
  get(hash: Uint8Array): Promise<Uint8Array>;

  /**
   * Takes a node and returns its hash, at once where that is possible. `bytes` do not change before the promise
   * settles, and must not be kept afterwards. A store that makes blocks durable in the order in which they were put
   * never has a durable node without its children: see `commit` of `VolumeTree` for that order.
   */
  put(bytes: Uint8Array): Uint8Array | Promise<Uint8Array>;
}
