import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { withLock } from "./lock.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-lock-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("work under one lock is done one after the other, also after work that fails", async () => {
  const path = join(folder, "lock");
  let running = 0;
  const work = (name: string) =>
    withLock(path, async () => {
      running += 1;
      expect(running).toBe(1);
      // Long enough for another one to begin where nothing holds it back.
      await new Promise((resolve) => setTimeout(resolve, 50));
      running -= 1;
      if (name === "b") throw new Error("no space left");
      return name;
    });
  const ended = await Promise.allSettled(["a", "b", "c"].map(work));
  expect(ended.map((x) => (x.status === "fulfilled" ? x.value : String(x.reason)))).toEqual([
    "a",
    "Error: no space left",
    "c",
  ]);
});

test("a killed process leaves no lock", async () => {
  const path = join(folder, "lock");
  const script = `
    const { withLock } = await import(${JSON.stringify(join(import.meta.dirname, "lock.ts"))});
    await withLock(${JSON.stringify(path)}, () => {
      console.log("held");
      return new Promise((resolve) => setTimeout(resolve, 600_000));
    });`;
  const args = ["--import", "tsx", "--input-type=module", "-e", script];
  const holder = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(holder.stdout, "data");
  let isFree = false;
  const next = withLock(path, () => (isFree = true));
  await withLock(join(folder, "other"), () => undefined);
  expect(isFree).toBe(false);
  holder.kill("SIGKILL");
  await next;
  expect(isFree).toBe(true);
}, 30_000);

test("a lock in no folder is named", async () => {
  await expect(withLock(join(folder, "no/lock"), () => 1)).rejects.toThrow(/^flock .*no\/lock failed: \d+$/);
});
