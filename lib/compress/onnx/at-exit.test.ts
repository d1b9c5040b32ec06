import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { atExit, CHILD_GUARD, temporaryFolder } from "./at-exit.ts";

/** Script of a child process that writes a point every 20 ms. */
const POINTS = `${CHILD_GUARD} setInterval(() => process.stdout.write("."), 20);`;

test("a child process outlives Ctrl-C, and ends once its parent is gone", { timeout: 30_000 }, async () => {
  const child = spawn(process.execPath, ["-e", POINTS], { stdio: ["pipe", "pipe", "ignore"] });
  const ended = once(child, "exit");
  await once(child.stdout, "data");
  child.kill("SIGINT");
  for (let i = 0; i < 3; i++) await Promise.race([once(child.stdout, "data"), ended]);
  expect([child.exitCode, child.signalCode]).toEqual([null, null]);
  child.stdin.end(); // as the system does where the parent was killed
  expect(await ended).toEqual([null, "SIGKILL"]);
});

test("a killed parent takes its child process along", { timeout: 30_000 }, async () => {
  const child = `${CHILD_GUARD} process.stdout.write("."); setInterval(() => {}, 20);`;
  const begin = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(child)}],
    { stdio: ["pipe", "inherit", "ignore"] });`;
  const parent = spawn(process.execPath, ["-e", begin], { stdio: ["ignore", "pipe", "ignore"] });
  const closed = once(parent.stdout, "close"); // once no process holds the pipe
  await once(parent.stdout, "data");
  parent.kill("SIGKILL");
  await closed;
});

test("the guard does not hold a child process that is done", { timeout: 20_000 }, async () => {
  const done = `${CHILD_GUARD} process.stdout.write("done")`;
  const child = spawn(process.execPath, ["-e", done], { stdio: ["pipe", "pipe", "ignore"] });
  let told = "";
  child.stdout.on("data", (x) => (told += String(x)));
  expect(await once(child, "close")).toEqual([0, null]);
  expect(told).toBe("done");
});

test("an exit ends child processes and removes temporary folders", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-at-exit-"));
  try {
    const path = join(folder, "exit.mjs");
    const script = `
      import { spawn } from "node:child_process";
      const { endWithThis, temporaryFolder } = await import(${JSON.stringify(new URL("./at-exit.ts", import.meta.url).href)});
      const { path } = temporaryFolder("selvedge-left-");
      const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
      endWithThis(child);
      process.stdout.write(JSON.stringify({ path, pid: child.pid }));
      process.exit(143);`;
    writeFileSync(path, script);
    const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
    let told = "";
    try {
      execFileSync(process.execPath, ["--import", loader, path], { encoding: "utf8", stdio: "pipe" });
    } catch (error) {
      told = String((error as { stdout: unknown }).stdout);
    }
    const left = JSON.parse(told) as { path: string; pid: number };
    expect(statSync(left.path, { throwIfNoEntry: false })).toBeUndefined();
    // The signal was sent before the exit; the system ends the child some time after it.
    await expect.poll(() => isRunning(left.pid)).toBe(false);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("what is done is forgotten: no listener is left", async () => {
  const before = process.listenerCount("exit");
  const [one, other] = [temporaryFolder("selvedge-one-"), temporaryFolder("selvedge-other-")];
  const back = atExit(() => undefined);
  expect(process.listenerCount("exit")).toBe(before + 1);
  await one.remove();
  await other.remove();
  back();
  expect(process.listenerCount("exit")).toBe(before);
  expect(statSync(one.path, { throwIfNoEntry: false })).toBeUndefined();
});

/** Whether a process runs; one that ended and was not collected yet does not. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const state = execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" });
  return !state.trim().startsWith("Z");
}
