import type { Socket } from "bun";
import type { ConnectionSocket } from "./connection.ts";

/** How long a client may take to end a connection that the server has ended. */
const END_MS = 2000;

/** What Bun's sockets have beyond what its types know. */
interface SocketWithDescriptor {
  readonly fd: number;
}

/** A socket of Bun's as connections use it. Of TLS the kernel may send nothing past Bun. */
export function connectionSocket(socket: Socket<unknown>, isTls: boolean): ConnectionSocket {
  const fd = isTls ? -1 : (socket as unknown as SocketWithDescriptor).fd;
  return {
    fd,
    write: (bytes) => socket.write(bytes),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    end() {
      socket.end();
      setTimeout(() => socket.terminate(), END_MS).unref();
    },
    drop: () => socket.terminate(),
  };
}
