// Whether several streams of a bare model pay (lib/cache/bare-download.ts): the load of a model of 16 MB from a server with
// ranges, which is fetched in four streams, beside the same server without, over lines that real TCP crosses
// (tcp-line.py). HTTP/1.1 gives each stream a connection of its own; over HTTP/2 they share one. Linux, as root.
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { modelOf } from "../../support/onnx-graphs.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

const FOLDER = join(ROOT, "e2e/.cache/streams");
const NAMESPACE = "selvedge-line";
const SIDE = 2_048;

/** Lines: rate in Mbit/s, delay of each way in ms, share of packets that are lost, and the server's congestion control. */
const LINES = {
  "20 Mbit/s, 40 ms, BBR": [20, 20, 0, "bbr"],
  "20 Mbit/s, 40 ms, 0.2 % lost, Reno": [20, 20, 0.002, "reno"],
  "50 Mbit/s, 100 ms, Reno": [50, 50, 0, "reno"],
  "50 Mbit/s, 100 ms, 0.2 % lost, Reno": [50, 50, 0.002, "reno"],
} as const;
const ORIGINS = { "HTTP/1.1": "http://10.193.0.2:8001", "HTTP/2": "https://10.193.0.2:8002" } as const;
const SUBJECTS = { "one stream": "whole", "four streams": "ranges" } as const;

/** Yields the cases. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  const file = writeModel();
  const [key, certificate] = [join(FOLDER, "key.pem"), join(FOLDER, "certificate.pem")];
  const words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=10.193.0.2"];
  execFileSync("openssl", [...words, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  for (const [line, [rate, delay, loss, control]] of Object.entries(LINES)) {
    if (!Object.keys(ORIGINS).some((x) => nameOf(x, line).includes(bench.only))) continue;
    const relay = await start("python3", [
      join(import.meta.dirname, "tcp-line.py"),
      ...[NAMESPACE, rate, delay, loss, 1].map(String),
    ]);
    const set = ["sysctl", "-q", "-w", `net.ipv4.tcp_congestion_control=${control}`];
    execFileSync("ip", ["netns", "exec", NAMESPACE, ...set]);
    const script = join(import.meta.dirname, "streams-server.ts");
    const server = await start("ip", [
      ...["netns", "exec", NAMESPACE, join(ROOT, "node_modules/.bin/tsx"), script],
      ...[file, key, certificate],
    ]);
    try {
      for (const [protocol, origin] of Object.entries(ORIGINS))
        yield {
          name: nameOf(protocol, line),
          unit: "ms",
          statistic: "median",
          subjects: Object.entries(SUBJECTS).map(([name, folder]) => ({
            name,
            sample: () => load(bench, `${origin}/${folder}/model.onnx`),
          })),
          of: "one stream",
          goals: [],
          rounds: bench.rounds(5),
        };
    } finally {
      for (const child of [server, relay]) await end(child);
    }
  }
}

function nameOf(protocol: string, line: string): string {
  return `load of a bare model of 16 MB, ${protocol}, ${line}`;
}

/** A model whose weights are one matrix of random numbers: nothing on the way compresses it. */
function writeModel(): string {
  mkdirSync(FOLDER, { recursive: true });
  const values = Array.from({ length: SIDE * SIDE }, () => Math.random() - 0.5);
  const model = modelOf({
    inputs: { x: { dtype: "float32", dims: [1, SIDE] } },
    constants: { w: { dtype: "float32", dims: [SIDE, SIDE], values } },
    outputs: ["y"],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
  });
  const file = join(FOLDER, "model.onnx");
  writeFileSync(file, model.write());
  return file;
}

/** Loads it as a first-time visitor does, with a runtime that has started. */
async function load(bench: Bench, url: string): Promise<Sample> {
  const context = await bench.browser.newContext({ ignoreHTTPSErrors: true });
  try {
    const page = await context.newPage();
    await page.goto(`${bench.url}engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const value = await page.evaluate(async (url) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof import("../../../lib/index.ts") }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1 });
      await engine.load("/models/fashion-mlp/bundle.json");
      const startMs = performance.now();
      await engine.load(url);
      return performance.now() - startMs;
    }, url);
    return { value, backend: "wasm", model: "a matrix of 2,048 × 2,048", variant: "f32" };
  } finally {
    await context.close();
  }
}

/** Starts a process and waits until it says that it is ready. */
async function start(command: string, words: readonly string[]): Promise<ChildProcess> {
  const child = spawn(command, words, { stdio: ["pipe", "pipe", "inherit"] });
  const [said] = (await Promise.race([once(child.stdout, "data"), once(child, "exit")])) as unknown[];
  if (!String(said).startsWith("ready")) throw new Error(`${command} ${words.join(" ")} did not start: it needs root`);
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exit = once(child, "exit");
  child.stdin?.end();
  if (child.spawnfile === "ip") child.kill();
  await exit;
}
