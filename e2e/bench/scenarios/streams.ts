// Streams of a large file: the load of a bare model of 16 MB by the engine, which takes one stream, beside a plain fetch
// and beside four streams that fetch its chunks of 4 MiB by ranges, over lines that real TCP crosses (tcp-line.py). HTTP/1.1
// gives each stream a connection of its own; over HTTP/2 they share one. Linux, as root.
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
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
  "50 Mbit/s, 100 ms, BBR": [50, 50, 0, "bbr"],
} as const;
const ORIGINS = { "HTTP/1.1": "http://10.193.0.2:8001", "HTTP/2": "https://10.193.0.2:8002" } as const;
const SUBJECTS = ["selvedge", "fetch, one stream", "fetch, four streams"] as const;

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
          subjects: SUBJECTS.map((name) => ({
            name,
            sample: (slowBy) => load(bench, name, `${origin}/model.onnx`, slowBy),
          })),
          of: "fetch, one stream",
          control: "fetch, one stream",
          goals: [{ subject: "selvedge", on: "ratio", atMost: 1.1, byInterval: true }],
          rounds: bench.rounds(4),
          warmups: 0,
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
async function load(bench: Bench, subject: (typeof SUBJECTS)[number], url: string, slowBy: number): Promise<Sample> {
  const context = await bench.browser.newContext({ ignoreHTTPSErrors: true });
  try {
    const page = await context.newPage();
    await page.goto(`${bench.url}engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const value = await page.evaluate(BY[subject], url);
    const backend = subject === "selvedge" ? "wasm" : "none";
    return { value: value * (1 + slowBy), backend, model: "a matrix of 2,048 × 2,048", variant: "f32" };
  } finally {
    await context.close();
  }
}

/** The subjects, each in a page: the ms that the file takes. */
const BY: Readonly<Record<(typeof SUBJECTS)[number], (url: string) => Promise<number>>> = {
  selvedge: async (url) => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof import("../../../lib/index.ts") }).selvedge;
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    await engine.load("/models/fashion-mlp/bundle.json");
    const startMs = performance.now();
    await engine.load(url);
    return performance.now() - startMs;
  },
  "fetch, one stream": async (url) => {
    const startMs = performance.now();
    await (await fetch(url, { cache: "no-store" })).arrayBuffer();
    return performance.now() - startMs;
  },
  "fetch, four streams": async (url) => {
    const startMs = performance.now();
    const chunkBytes = 4 * 1024 * 1024;
    const bytes = Number((await fetch(url, { method: "HEAD", cache: "no-store" })).headers.get("content-length"));
    await Promise.all(
      Array.from({ length: Math.ceil(bytes / chunkBytes) }, async (_, i) => {
        const range = `bytes=${i * chunkBytes}-${Math.min(bytes, (i + 1) * chunkBytes) - 1}`;
        await (await fetch(url, { headers: { range }, cache: "no-store" })).arrayBuffer();
      }),
    );
    return performance.now() - startMs;
  },
};

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
