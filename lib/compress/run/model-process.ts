// Loads and runs a large model in a process of its own. Its memory is returned whole when the model is released, which
// WebAssembly's never is, and a model that the machine cannot hold ends that process alone.
import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { ChildProcess } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { InferenceSession } from "onnxruntime-node";
import type { Tensor } from "../../core/tensor.ts";
import { CHILD_GUARD, endWithThis, temporaryFolder } from "../onnx/at-exit.ts";
import type { TemporaryFolder } from "../onnx/at-exit.ts";
import { readModelAndFiles } from "../onnx/model-file.ts";
import type { Feed } from "./feeds.ts";
import { findPackage } from "./optional-peers.ts";

/** Where a model runs: onnxruntime-node's CPU as the reference, its WebGPU, or the WebAssembly build of browsers. */
export type ExecutionProvider = "cpu" | "webgpu" | "wasm";

/**
 * Script of the process. Its arguments name the runtime: the path of onnxruntime-node, or the address of the module that
 * starts ONNX Runtime's WebAssembly. A file is read in parts: Node reads at most 2 GiB at once. Of external data the
 * WebAssembly's glue copies one weight after the other into its own memory, by `byteLength` and `subarray` alone (1.30):
 * here they read the file, which would otherwise lie in memory a second time.
 */
const RUN = `${CHILD_GUARD}
const { closeSync, fstatSync, openSync, readSync } = require("node:fs");
const [kind, runtime] = process.argv.slice(2);
const readPart = (file, from, bytes) => {
  for (let at = 0; at < bytes.length;) {
    const read = readSync(file, bytes, at, Math.min(bytes.length - at, 2 ** 30), from + at);
    if (read === 0) throw new Error("the file was truncated while it was read");
    at += read;
  }
  return bytes;
};
const readFile = (path) => {
  const file = openSync(path, "r");
  const bytes = readPart(file, 0, new Uint8Array(fstatSync(file).size));
  closeSync(file);
  return bytes;
};
class FileBytes extends Uint8Array {
  #file;
  #size;
  #part = new Uint8Array(0);
  constructor(path) {
    super(0);
    this.#file = openSync(path, "r");
    this.#size = fstatSync(this.#file).size;
  }
  get byteLength() {
    return this.#size;
  }
  subarray(from, to) {
    if (this.#part.length < to - from) this.#part = new Uint8Array(to - from);
    return readPart(this.#file, from, this.#part.subarray(0, to - from));
  }
}
let ort, session;
const own = (data) =>
  ArrayBuffer.isView(data) && data.byteLength < data.buffer.byteLength ? data.slice() : data;
const calls = {
  async open({ path, options, files }) {
    ort = kind === "wasm" ? await (await import(runtime)).startWebRuntime() : require(runtime);
    const externalData = files.map(({ location, file }) => ({ path: location, data: new FileBytes(file) }));
    session = await (kind === "wasm"
      ? ort.InferenceSession.create(readFile(path), { ...options, ...(files.length > 0 && { externalData }) })
      : ort.InferenceSession.create(path, options));
    return { inputs: session.inputMetadata, outputs: session.outputMetadata };
  },
  async run({ feed, names }) {
    const tensors = Object.entries(feed).map(([name, { dtype, dims, data }]) => [name, new ort.Tensor(dtype, data, dims)]);
    const results = await session.run(Object.fromEntries(tensors), names);
    return Object.entries(results).map(([name, { type, dims, data }]) => [name, { dtype: type, dims, data: own(data) }]);
  },
};
process.on("message", async ({ id, call, ...given }) => {
  let answer;
  try {
    answer = { result: await calls[call](given) };
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  const { user, system } = process.cpuUsage();
  process.send({ id, busyMs: (user + system) / 1000, ...answer });
});
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
`;

/** Metadata of a session's inputs or outputs. */
export type Ports = InferenceSession["inputMetadata"];

interface BothPorts {
  readonly inputs: Ports;
  readonly outputs: Ports;
}

/** Answer of the process to one call. */
interface Answer {
  readonly id: number;
  /** Processor time of the process so far. */
  readonly busyMs: number;
  readonly result?: unknown;
  readonly error?: string;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(reason: Error): void;
}

/** Signals of a fault in a program, as of a read past its memory. */
const FAULTS: ReadonlySet<string> = new Set(["SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV"]);
/** From here on an exit code of Windows names an exception. */
const WINDOWS_FAULT = 0xc0000000;

/** A crash of ONNX Runtime. */
export class CrashError extends Error {
  /** Signal that ended the process, or its exit code. */
  readonly signal: string;

  constructor(signal: string) {
    super(`ONNX Runtime crashed (${signal}) in the process that ran the model`);
    this.signal = signal;
  }
}

function whyEnded(signal: string, code: number): Error {
  if (FAULTS.has(signal) || code >= WINDOWS_FAULT) return new CrashError(signal);
  return new Error(`the process that ran the model ended (${signal}): memory may be short`);
}

/** A model that is loaded in a process of its own. */
export class ModelProcess {
  readonly #child: ChildProcess;
  readonly #script: TemporaryFolder;
  readonly #waiting: Map<number, Waiting> = new Map();
  #calls = 0;
  #busyMs = 0;
  #ports: BothPorts = { inputs: [], outputs: [] };

  private constructor(kind: "node" | "wasm", runtime: string) {
    this.#script = temporaryFolder("selvedge-process-");
    const path = join(this.#script.path, "run.cjs");
    writeFileSync(path, RUN);
    // A module of the sources is TypeScript, which the development dependency tsx loads.
    const loader = /\.ts$/.test(runtime) ? createRequire(import.meta.url).resolve("tsx") : null;
    const execArgv = loader === null ? [] : ["--import", pathToFileURL(loader).href];
    this.#child = fork(path, [kind, runtime], {
      execArgv,
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    endWithThis(this.#child);
    this.#child.on("message", (answer: Answer) => {
      this.#take(answer);
    });
    this.#child.on("error", (error) => {
      this.#fail(error);
    });
    this.#child.on("exit", (code, signal) => {
      this.#fail(whyEnded(signal ?? String(code), code ?? 0));
    });
  }

  /** Loads the model of a file, and of external data beside it. */
  static async open(path: string, provider: ExecutionProvider, options: object): Promise<ModelProcess> {
    const isWasm = provider === "wasm";
    const runtime = isWasm ? (await import("./web-runtime.ts")).WEB_RUNTIME : findPackage("onnxruntime-node");
    const files = isWasm ? readModelAndFiles(path).files : [];
    const opened = new ModelProcess(isWasm ? "wasm" : "node", runtime);
    try {
      opened.#ports = (await opened.#call("open", { path, options, files })) as BothPorts;
      return opened;
    } catch (error) {
      await opened.release();
      throw error;
    }
  }

  /** Metadata of the inputs. */
  get inputMetadata(): Ports {
    return this.#ports.inputs;
  }

  /** Metadata of the outputs. */
  get outputMetadata(): Ports {
    return this.#ports.outputs;
  }

  /** Processor time of the process so far, in milliseconds. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Runs the model; returns all outputs, or those named. */
  async run(feed: Feed, names?: readonly string[]): Promise<Record<string, Tensor>> {
    const results = (await this.#call("run", { feed: compact(feed), names })) as [string, Tensor][];
    return Object.fromEntries(results);
  }

  /** Ends the process. */
  async release(): Promise<void> {
    const isGone = this.#child.exitCode !== null || this.#child.signalCode !== null;
    const gone = new Promise<void>((resolve) => {
      if (isGone || this.#child.pid === undefined) resolve();
      else
        this.#child.once("exit", () => {
          resolve();
        });
    });
    this.#child.kill("SIGKILL");
    await gone;
    await this.#script.remove();
  }

  #call(call: "open" | "run", given: object): Promise<unknown> {
    const id = this.#calls++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, call, ...given }, (error) => {
        if (error !== null) this.#fail(error);
      });
    });
  }

  #take({ id, busyMs, result, error }: Answer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    this.#busyMs = busyMs;
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }

  #fail(reason: Error): void {
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }
}

/** Copies arrays that are parts of larger buffers: a message would hold the whole buffer. */
function compact(feed: Feed): Feed {
  const own = (tensor: Tensor): Tensor => {
    const { data } = tensor;
    const isPart = ArrayBuffer.isView(data) && data.byteLength < data.buffer.byteLength;
    return isPart ? ({ ...tensor, data: data.slice() } as Tensor) : tensor;
  };
  return Object.fromEntries(Object.entries(feed).map(([name, tensor]) => [name, own(tensor)]));
}
