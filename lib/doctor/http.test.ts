import { expect, test } from "vitest";
import { startServer } from "../compress/check/local-server.ts";
import { ask } from "./http.ts";

test("of a body without an end, what came in time is kept", { timeout: 5_000 }, async () => {
  const server = await startServer((_request, response) => {
    const timer = setInterval(() => response.write("word "), 20);
    response.on("close", () => {
      clearInterval(timer);
    });
  });
  try {
    const answer = await ask(`${server.origin}/`, { bodyMs: 200 });
    expect([answer.status, answer.isWhole]).toEqual([200, false]);
    expect(Buffer.from(answer.body).toString()).toMatch(/^(?:word )+$/);
  } finally {
    await server.close();
  }
});
