import type { FileHandle } from "node:fs/promises";
import { expect, test } from "vitest";
import { writeAll } from "./durable.ts";

test("a write that takes fewer bytes than given is continued", async () => {
  const written: number[] = [];
  const write = (bytes: Uint8Array, at: number, length: number): Promise<{ bytesWritten: number }> => {
    const taken = bytes.subarray(at, at + Math.min(3, length));
    written.push(...taken);
    return Promise.resolve({ bytesWritten: taken.length });
  };
  await writeAll(
    { write } as unknown as FileHandle,
    Uint8Array.from({ length: 10 }, (_, i) => i),
  );
  expect(written).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});
