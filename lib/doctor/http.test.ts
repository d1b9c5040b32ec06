import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { ask } from "./http.ts";

test("of a body without an end, what came in time is kept", { timeout: 5_000 }, async () => {
  const server = createServer((_request, response) => {
    const timer = setInterval(() => response.write("word "), 20);
    response.on("close", () => {
      clearInterval(timer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const answer = await ask(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, { bodyMs: 200 });
    expect([answer.status, answer.isWhole]).toEqual([200, false]);
    expect(Buffer.from(answer.body).toString()).toMatch(/^(?:word )+$/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
