/**
 * Memory at a fixed address, which the kernel may be given. The bytes belong to an `mmap` and never to the garbage
 * collector, which would take them back while a system call still reads them.
 */
export interface Memory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Address of the first byte in this process. */
  readonly address: number;
  readonly lengthBytes: number;
}
