import { startServer } from "../../lib/compress/check/local-server.ts";

/** Below the ports that Linux and macOS give to whoever asks for any, as the browsers of another test do meanwhile. */
const [FIRST, COUNT] = [20_000, 12_000] as const;

/** Returns a port of 127.0.0.1 that nothing listens on, and that the system gives to nobody before it is taken. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    const server = await startServer(() => undefined, { port }).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return null;
      throw error;
    });
    if (server === null) continue;
    await server.close();
    return port;
  }
}
