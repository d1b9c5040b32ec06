import { connect } from "node:net";
import type { Socket } from "node:net";

/** Opens a connection to the host and port of a URL. */
export function opened(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      resolve(socket);
    });
    socket.once("error", reject);
  });
}
