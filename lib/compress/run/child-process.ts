// Runs a model in a child process. Its log, which goes to the process's standard error, can be read; and a crash in a
// graphics driver, or a run that never finishes, ends that process alone.
import { create, toBinary } from "@bufbuild/protobuf";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ARRAY_TYPES } from "../../core/tensor.ts";
import type { Dtype, Tensor } from "../../core/tensor.ts";
import type { Feed } from "./feeds.ts";
import { CHILD_GUARD, endWithThis, temporaryFolder } from "../onnx/at-exit.ts";
import { makeNode } from "../onnx/graph.ts";
import { readModelFile } from "../onnx/model-file.ts";
import type { OnnxSource } from "../onnx/written-model.ts";
import type { Outputs } from "./metric.ts";
import { ModelProtoSchema } from "../onnx/onnx.gen.js";
import { findPackage } from "./optional-peers.ts";
import { withRightPasses } from "./right-passes.ts";
import type { ProfileEvent } from "./placement-cost.ts";
import { numbersOf } from "./session.ts";

const TIMEOUT_MS = 120_000;
/** More time for each gigabyte of a model: a software adapter takes half a minute to load one and to run it. */
const TIMEOUT_MS_PER_GB = 120_000;

/**
 * Script of the child process: loads the model from the folder argv[2], runs the feeds there, and writes the outputs
 * next to them; argv[1] names the runtime. It writes its exit status and then kills itself: the compiler of a software
 * Vulkan driver may still run in threads of its own, and an orderly exit destroys what they use (seen with lavapipe:
 * "double free" in nine exits of ten).
 */
const RUN = `${CHILD_GUARD}
const { readFileSync, writeFileSync, writeSync } = require("node:fs");
const [path, folder, provider, extra, enough, model] = process.argv.slice(1);
const end = (code) => {
  writeFileSync(folder + "/exit", String(code));
  process.kill(process.pid, "SIGKILL");
};
const runtime = require(path);
const types = { float32: Float32Array, float64: Float64Array, float16: Uint16Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array };
(async () => {
  const { count, ms, isProfiled, hasLast } = JSON.parse(enough);
  const session = await runtime.InferenceSession.create(model, {
    executionProviders: [provider], logSeverityLevel: 0, logVerbosityLevel: 0, extra: JSON.parse(extra),
    ...(isProfiled && { enableProfiling: true, profileFilePrefix: folder + "/profile" }),
  });
  const run = async (feed, i) => {
    const tensors = Object.entries(feed).map(([name, { dtype, dims, file, texts }]) => {
      if (texts) return [name, new runtime.Tensor("string", texts, dims)];
      const { buffer } = Uint8Array.from(readFileSync(folder + "/" + file));
      return [name, new runtime.Tensor(dtype, new types[dtype](buffer), dims)];
    });
    const results = await session.run(Object.fromEntries(tensors));
    const out = Object.entries(results).map(([name, { type, dims, data }], j) => {
      if (type === "string") return [name, { type, dims, texts: [...data] }];
      const file = "out-" + i + "-" + j;
      writeFileSync(folder + "/" + file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      return [name, { type, dims, file }];
    });
    writeFileSync(folder + "/out-" + i + ".json", JSON.stringify(Object.fromEntries(out)));
  };
  const feeds = JSON.parse(readFileSync(folder + "/feeds.json", "utf8"));
  const last = hasLast ? feeds.pop() : null;
  const began = Date.now();
  for (const [i, feed] of feeds.entries()) {
    if (i >= count && Date.now() - began > ms) break;
    await run(feed, i);
  }
  if (last !== null) {
    // The others count, even where the last never ends.
    writeFileSync(folder + "/exit", "0");
    await run(last, "last").catch((error) => writeFileSync(folder + "/why", error.message));
  }
  if (isProfiled) session.endProfiling();
  end(0);
})().catch((error) => { writeSync(2, error.message); end(1); });
`;

/** Result of a run in a child process. */
export interface ChildProcessRun {
  /** 0 if every feed but `last` ran, 1 if an error was thrown; null if the process reported neither. */
  readonly exit: number | null;
  /** Whether the process was killed because a feed other than `last` timed out. */
  readonly isLate: boolean;
  readonly log: string;
  /** Outputs of the feeds that ran. */
  readonly outputs: readonly Outputs[];
  /** Outputs of the last feed, which may fail, or the reason why there are none; absent without one. */
  readonly last?: RunAttempt;
  /** ONNX Runtime's profile; empty unless it was wanted. */
  readonly profile: readonly ProfileEvent[];
}

/** Outputs of a run that may fail, or the reason why it did. */
export type RunAttempt = { readonly outputs: Outputs } | { readonly why: string };

/** Minimum number of feeds to run, and the time within which further feeds are run. */
export interface Enough {
  readonly count: number;
  readonly ms: number;
  /** Whether ONNX Runtime profiles the runs. Default false. */
  readonly isProfiled?: boolean;
  /** One more feed, after all others: where it throws, crashes or is late, their outputs count. */
  readonly last?: Feed | undefined;
}

/** Loads a model in a child process with a verbose log and runs it on some of the feeds; by default on all. */
export async function runInChildProcess(
  source: OnnxSource,
  provider: "webgpu" | "cpu",
  session: Readonly<Record<string, string>>,
  feeds: readonly Feed[] = [],
  { last, ...enough }: Enough = { count: feeds.length, ms: 0 },
): Promise<ChildProcessRun> {
  const runtime = findPackage("onnxruntime-node");
  const temporary = temporaryFolder("selvedge-run-");
  const folder = temporary.path;
  try {
    const model = typeof source === "string" ? source : join(folder, "model.onnx");
    if (typeof source !== "string") await writeFile(model, source);
    await writeFile(
      join(folder, "feeds.json"),
      JSON.stringify(await writeFeeds(folder, [...feeds, ...(last ? [last] : [])])),
    );
    const bytes = typeof source === "string" ? readModelFile(source).byteLength : source.length;
    const timeoutMs = TIMEOUT_MS + (bytes / 1e9) * TIMEOUT_MS_PER_GB;
    const { isLate, log } = await start(timeoutMs, [
      "-e",
      RUN,
      runtime,
      folder,
      provider,
      ...[withRightPasses(source, session), { ...enough, hasLast: last !== undefined }].map((x) => JSON.stringify(x)),
      model,
    ]);
    const told = await readFile(join(folder, "exit"), "utf8").catch(() => null);
    const exit = told === null ? null : Number(told);
    const outputs: Outputs[] = [];
    for (let i = 0; exit === 0 && existsSync(join(folder, `out-${i}.json`)); i++)
      outputs.push(await readOutputs(folder, i));
    const attempt = last && { last: await readLast(folder, isLate) };
    return { exit, isLate: isLate && exit !== 0, log, outputs, ...attempt, profile: readProfile(folder) };
  } finally {
    await temporary.remove();
  }
}

async function readLast(folder: string, isLate: boolean): Promise<RunAttempt> {
  if (existsSync(join(folder, "out-last.json"))) return { outputs: await readOutputs(folder, "last") };
  const why = await readFile(join(folder, "why"), "utf8").catch(() => null);
  return { why: why ?? (isLate ? "timed out" : "its process died") };
}

function readProfile(folder: string): ProfileEvent[] {
  const file = readdirSync(folder).find((x) => x.startsWith("profile") && x.endsWith(".json"));
  return file === undefined ? [] : (JSON.parse(readFileSync(join(folder, file), "utf8")) as ProfileEvent[]);
}

/** Whether WebGPU is available: tested with a model of one operator. */
export async function hasAdapter(): Promise<boolean> {
  const port = (name: string) => ({
    name,
    type: {
      value: {
        case: "tensorType" as const,
        value: { elemType: 1, shape: { dim: [{ value: { case: "dimValue" as const, value: 1n } }] } },
      },
    },
  });
  const model = create(ModelProtoSchema, {
    irVersion: 7n,
    opsetImport: [{ domain: "", version: 13n }],
    graph: {
      name: "probe",
      input: [port("x")],
      output: [port("y")],
      node: [makeNode({ opType: "Tanh", input: ["x"], output: ["y"] })],
    },
  });
  const feed: Feed = { x: { dtype: "float32", dims: [1], data: new Float32Array(1) } };
  return (await runInChildProcess(toBinary(ModelProtoSchema, model), "webgpu", {}, [feed])).exit === 0;
}

async function writeFeeds(folder: string, feeds: readonly Feed[]): Promise<unknown[]> {
  const told: Record<string, unknown>[] = [];
  for (const [i, feed] of feeds.entries()) {
    const tensors: Record<string, unknown> = {};
    for (const [j, [name, { dtype, dims, data }]] of Object.entries(feed).entries()) {
      const file = `in-${i}-${j}`;
      if (!Array.isArray(data)) await writeFile(join(folder, file), data);
      tensors[name] = Array.isArray(data) ? { dtype, dims, texts: data } : { dtype, dims, file };
    }
    told.push(tensors);
  }
  return told;
}

async function readOutputs(folder: string, index: number | "last"): Promise<Outputs> {
  const told = JSON.parse(await readFile(join(folder, `out-${index}.json`), "utf8")) as Record<
    string,
    { type: Dtype; dims: number[]; file?: string; texts?: string[] }
  >;
  const outputs: Record<string, Outputs[string]> = {};
  for (const [name, { type, dims, file = "", texts }] of Object.entries(told)) {
    const read = async (): Promise<Tensor["data"]> => {
      const { buffer } = Uint8Array.from(await readFile(join(folder, file)));
      return new ARRAY_TYPES[type as Exclude<Dtype, "string">](buffer);
    };
    outputs[name] = { dims, data: numbersOf(type, texts ?? (await read())) };
  }
  return outputs;
}

function start(timeoutMs: number, args: readonly string[]): Promise<{ isLate: boolean; log: string }> {
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  endWithThis(child);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  const parts: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part: Buffer) => parts.push(part));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      resolve({ isLate, log: Buffer.concat(parts).toString("utf8") });
    });
  });
}
