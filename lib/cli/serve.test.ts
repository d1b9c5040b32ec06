// `selvedge serve` as a process: its output, its log, and a stop by SIGTERM under load.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describe as describeModel } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { twoLayers } from "../test-support/compress/fixtures.ts";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-cli-serve-"));
  const model = twoLayers({ opset: 17, inputs: 64, units: 96, outputs: 4 });
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
  const description = await describeModel(model, "layers.onnx", undefined);
  await writeBundle(join(folder, "bundle"), { model: description, variants });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Running {
  readonly child: ChildProcess;
  readonly url: string;
  /** Lines of the log so far. */
  lines(): readonly Readonly<Record<string, unknown>>[];
}

async function run(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Running> {
  const bin = join(import.meta.dirname, "bin.js");
  const child = spawn(process.execPath, [bin, "serve", join(folder, "bundle"), "--port", "0", ...words], {
    env: { ...process.env, TMPDIR: folder, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [log, errors] = ["", ""];
  child.stdout.on("data", (part) => (log += String(part)));
  child.stderr.on("data", (part) => (errors += String(part)));
  const lines = (): Readonly<Record<string, unknown>>[] =>
    log
      .split("\n")
      .filter((x) => x !== "")
      .map((x) => JSON.parse(x) as Record<string, unknown>);
  await expect.poll(() => lines().map((x) => x["message"]), { timeout: 30_000 }).toContain("ready");
  const [, url = ""] = /listening on (\S+)/.exec(errors) ?? [];
  return { child, url, lines };
}

/** Sends a request; returns its status, or the code of the connection's error. */
function post(url: string, agent: Agent): Promise<number | string | undefined> {
  const data = Array.from({ length: 64 }, (_, i) => i / 64);
  const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 64], data }] });
  return new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      resolve(error.code);
    };
    const call = request(`${url}/v2/models/layers/infer`, { method: "POST", agent }, (reply) => {
      reply.on("error", fail).on("end", () => {
        resolve(reply.statusCode);
      });
      reply.resume();
    });
    call.on("error", fail).end(body);
  });
}

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s under load: each request that it got is answered, then it exits with 0 and leaves no files",
  { timeout: 90_000 },
  async (signal) => {
    const { child, url, lines } = await run([]);
    // With its output: it exits before the last lines of its log are read.
    const exit = once(child, "close");
    const agent = new Agent({ keepAlive: true });
    let answered = 0;
    const ends = await Promise.all(
      Array.from({ length: 16 }, async () => {
        for (;;) {
          const status = await post(url, agent);
          if (status !== 200) return status;
          answered += 1;
          if (answered === 60) child.kill(signal);
        }
      }),
    );
    // A connection that came as it stopped listening is refused, or reset by the system before the server saw it.
    for (const end of ends) expect(["ECONNREFUSED", "ECONNRESET"]).toContain(end);
    agent.destroy();
    expect(await exit).toEqual([0, null]);
    const requests = lines().filter((x) => x["message"] === "request");
    expect(requests.length).toBe(answered);
    expect(requests.every((x) => x["status"] === 200 && x["path"] === "/v2/models/layers/infer")).toBe(true);
    expect(answered).toBeGreaterThan(60);
    expect(readdirSync(folder).filter((x) => x.startsWith("selvedge-"))).toEqual([]);
  },
);

test("goes on where nobody reads its log any more", { timeout: 60_000 }, async () => {
  const { child, url } = await run([]);
  child.stdout?.destroy();
  const statuses: unknown[] = [];
  for (let i = 0; i < 5; i += 1) statuses.push(await post(url, new Agent()));
  expect(statuses).toEqual([200, 200, 200, 200, 200]);
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  expect(await exit).toEqual([0, null]);
});

test.each(["secret\n", "a b", "pässword"])("a token that no header can have is refused: %j", async (token) => {
  const bin = join(import.meta.dirname, "bin.js");
  const env = { ...process.env, SELVEDGE_TOKEN: token };
  const child = spawn(process.execPath, [bin, "serve", "--upstream", "http://127.0.0.1:1", "--port", "0"], { env });
  let errors = "";
  child.stderr.on("data", (part) => (errors += String(part)));
  expect(await once(child, "close")).toEqual([1, null]);
  expect(errors).toContain("SELVEDGE_TOKEN: expected printable ASCII");
});

test("a second signal ends it at once, and the token comes from the environment", { timeout: 60_000 }, async () => {
  const { child, url } = await run(["--log-level", "info"], { SELVEDGE_TOKEN: "secret" });
  const exit = once(child, "exit");
  expect(await post(url, new Agent())).toBe(401);
  child.kill("SIGTERM");
  child.stderr?.once("data", () => child.kill("SIGTERM"));
  // By the signal itself: an exit of its own would wait for the threads' runs.
  expect(await exit).toEqual([null, "SIGTERM"]);
  expect(readdirSync(folder).filter((x) => x.startsWith("selvedge-"))).toEqual([]);
});
