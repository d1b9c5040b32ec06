import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { completeCrypto } from "./insecure-context.ts";

function insecure(): Crypto {
  const bare = { getRandomValues: crypto.getRandomValues.bind(crypto) } as unknown as Crypto;
  completeCrypto(bare);
  return bare;
}

test("without WebCrypto, SHA-256 is the same, of views and buffers alike", async () => {
  const { subtle } = insecure();
  const property = fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.nat(20), async (bytes, start) => {
    const view = new Uint8Array(bytes).subarray(Math.min(start, bytes.length));
    const right = createHash("sha256").update(view).digest("hex");
    expect(Buffer.from(await subtle.digest("SHA-256", view)).toString("hex")).toBe(right);
    expect(Buffer.from(await subtle.digest("SHA-256", view.slice().buffer)).toString("hex")).toBe(right);
  });
  await fc.assert(property, { numRuns: 100 });
});

test("random ids are UUIDs of version 4, and differ", () => {
  const { randomUUID } = insecure();
  const made = Array.from({ length: 50 }, () => randomUUID());
  for (const id of made) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(made).size).toBe(50);
});

test("random ids hold all 122 random bits", () => {
  const bare = { getRandomValues: (bytes: Uint8Array) => bytes.fill(0xff) } as unknown as Crypto;
  completeCrypto(bare);
  expect(bare.randomUUID()).toBe("ffffffff-ffff-4fff-bfff-ffffffffffff");
});

test("keys of signatures are refused with what is needed", async () => {
  const keys = insecure().subtle.importKey("raw", new Uint8Array(32), "Ed25519", true, ["verify"]);
  await expect(keys).rejects.toMatchObject({
    ...{ code: "setup-failed", details: { reason: "insecure-context" } },
    message: expect.stringContaining("open it over https, or on localhost") as string,
  });
});

test("a secure context's own crypto stays", () => {
  const { subtle } = crypto;
  completeCrypto(crypto);
  expect(crypto.subtle).toBe(subtle);
});
