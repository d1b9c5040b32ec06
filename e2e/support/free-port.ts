import { startServer } from "../../lib/compress/check/local-server.ts";

/** Returns a port of 127.0.0.1 that nothing listens on. */
export async function freePort(): Promise<number> {
  const { port, close } = await startServer(() => undefined);
  await close();
  return port;
}
