// The log on streams that are not read.
import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { openLog } from "./log.ts";

test("lines that nobody takes are dropped, and a stream that fails ends the log alone", () => {
  const take: (() => void)[] = [];
  const lines: string[] = [];
  const stream = new Writable({
    write(line: Buffer, _, done) {
      lines.push(String(line));
      take.push(done);
    },
  });
  const { log, end } = openLog("info", stream);
  for (let i = 0; i < 3_000; i += 1) log("info", "x".repeat(1_000));
  expect(stream.writableLength).toBeGreaterThan(2 ** 20);
  expect(stream.writableLength).toBeLessThan(2 ** 20 + 2_000);
  stream.emit("error", new Error("EPIPE"));
  while (take.length > 0) take.shift()?.();
  log("error", "late");
  expect(lines.some((x) => x.includes("late"))).toBe(false);
  end();
  expect(stream.listenerCount("error")).toBe(0);
});
