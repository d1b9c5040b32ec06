import { expect, test } from "vitest";
import { weights } from "../test-support/cache-fixtures.ts";
import { readParts } from "./read-stream.ts";

/** Reads all parts, each copied before the next one is requested. */
async function readAll(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const read = readParts(stream);
  const parts: Buffer[] = [];
  for (let part = await read(); part !== null; part = await read()) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

const bytes = weights(1_000_003);
const pieces = (): Uint8Array[] => [1, 0.2, 0.7].map((x) => bytes.slice(0, Math.floor(x * bytes.length)));

test("a stream of bytes is read into one reused buffer", async () => {
  const buffers = new Set<number>();
  const stream = new ReadableStream({
    type: "bytes",
    pull({ byobRequest }) {
      if (byobRequest?.view != null) buffers.add(byobRequest.view.buffer.byteLength);
      byobRequest?.respond(1);
    },
  });
  const read = readParts(stream);
  for (let i = 0; i < 5; i++) expect((await read())?.byteLength).toBe(1);
  expect([...buffers]).toEqual([256 * 1024]);
});

test.each([
  ["a body", () => new Response(bytes).body],
  ["a file", () => new Blob([bytes]).stream()],
])("%s comes as it is", async (_, open) => {
  expect(Buffer.compare(await readAll(open() as ReadableStream<Uint8Array>), bytes)).toBe(0);
});

test("a stream that is not a byte stream is read as well", async () => {
  const all = pieces();
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of all) controller.enqueue(piece);
      controller.close();
    },
  });
  expect(Buffer.compare(await readAll(stream), Buffer.concat(pieces()))).toBe(0);
});

test("a stream that breaks rejects", async () => {
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.error(new TypeError("network error"));
    },
  });
  await expect(readAll(stream)).rejects.toThrow("network error");
});
