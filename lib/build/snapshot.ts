// ONNX Runtime as it is once it has started, for the build to ship: the memory that its start leaves holds the schemas and
// kernels of all operators, which each worker would register anew, by half of the code that it would have to compile.
//
// The build starts ONNX Runtime once, in Node, with Emscripten's own glue (here), and puts what then is in its memory and
// globals in the place of what they begin with (insert-snapshot.ts). (Wizer does the same for WASI; it knows no shared memory and no
// JavaScript.) What makes that right: with one thread the start is a function of nothing, which is seen to by starting
// twice, under two clocks; the glue keeps nothing of its own of the start; and what calls the start once more finds it
// done. Where there are threads the start is another one: then the module is what it was (link-parts.ts).
import { createContext, Script } from "node:vm";
import {
  append,
  bytesOf,
  concat,
  KIND,
  nameOf,
  number,
  Reader,
  readExports,
  readImports,
  readSections,
  SECTION,
  writeSections,
} from "../worker/backend/sections.ts";
import type { Section } from "../worker/backend/sections.ts";
import { STARTER } from "../worker/backend/identity-model.ts";

/** What a start leaves. */
export interface Snapshot {
  /** The memory, up to the last byte that is not 0. */
  readonly memory: Uint8Array;
  /** The values of the module's own globals, each of 32 bits. */
  readonly globals: readonly number[];
  /** What the function that runs the constructors is exported as: it has run. */
  readonly start: string;
  /** That function, imported ones not counted. */
  readonly constructors: number;
}

/** What of the glue's module is used. */
interface Runtime {
  readonly HEAPU8: Uint8Array;
  _OrtInit(threads: number, logLevel: number): number;
  _OrtCreateSessionOptions(...options: number[]): number;
  _OrtCreateSession(model: number, bytes: number, options: number): number;
  _OrtReleaseSession(session: number): number;
  _OrtReleaseSessionOptions(options: number): number;
  _malloc(bytes: number): number;
  _free(pointer: number): void;
}

type Factory = (config: object) => Promise<Runtime>;

const GLOBAL = "snapshot ";
const FATAL = 4;
const CLOCKS_MS = [1_000_000_000_000, 2_000_000_012_345] as const;

/**
 * Starts a module with the glue that belongs to it, and gives what that leaves.
 * @throws Error where two starts leave different things
 */
export async function takeSnapshot(module: Uint8Array, glue: string): Promise<Snapshot> {
  const [one, other] = [await start(module, glue, CLOCKS_MS[0]), await start(module, glue, CLOCKS_MS[1])];
  const isSame = Buffer.compare(one.memory, other.memory) === 0 && one.globals.join() === other.globals.join();
  if (!isSame) throw new Error("ONNX Runtime's start hangs on the clock: a snapshot of it would be wrong");
  return one;
}

async function start(module: Uint8Array, glue: string, nowMs: number): Promise<Snapshot> {
  const sections = readSections(module);
  const own = new Reader(bytesOf(sections, SECTION.global)).number();
  const open = new WebAssembly.Module(exportGlobals(sections, own));
  const began: string[] = [];
  let exports: WebAssembly.Exports = {};
  let memory: WebAssembly.Memory | undefined;
  const runtime = await factoryOf(
    glue,
    nowMs,
  )({
    numThreads: 1,
    instantiateWasm(imports: Record<string, Record<string, unknown>>, done: (made: object) => void) {
      const given = Object.values(imports).flatMap((x) => Object.values(x));
      memory = given.find(isMemory);
      ({ exports } = new WebAssembly.Instance(open, imports as WebAssembly.Imports));
      done({ exports: watchCalls(exports, began) });
    },
  });
  const [constructors] = began;
  if (memory === undefined || constructors === undefined || began.length > 1)
    throw new Error(
      `ONNX Runtime's glue starts otherwise than was foreseen: it calls ${began.join(", ") || "nothing"}`,
    );
  startRuntime(runtime);
  const bytes = new Uint8Array(memory.buffer);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  const globals = Array.from({ length: own }, (_, i) =>
    Number((exports[GLOBAL + String(i)] as WebAssembly.Global).value),
  );
  return {
    memory: bytes.slice(0, end),
    globals,
    start: constructors,
    constructors: functionOf(sections, constructors),
  };
}

/** Has a module export all of its own globals. */
function exportGlobals(sections: readonly Section[], count: number): Uint8Array<ArrayBuffer> {
  const entries = Array.from({ length: count }, (_, i) =>
    concat([nameOf(GLOBAL + String(i)), Uint8Array.of(KIND.global), number(i)]),
  );
  return writeSections(
    sections.map(({ id, bytes }) => ({ id, bytes: id === SECTION.export ? append(bytes, entries) : bytes })),
  );
}

/** Notes which functions are called from outside, in their order, and not out of one another. */
function watchCalls(exports: WebAssembly.Exports, began: string[]): object {
  let depth = 0;
  const watched = Object.entries(exports).map(([name, value]) => {
    if (typeof value !== "function") return [name, value];
    const call = (...values: unknown[]): unknown => {
      if (depth === 0) began.push(name);
      depth += 1;
      try {
        return (value as (...values: unknown[]) => unknown)(...values);
      } finally {
        depth -= 1;
      }
    };
    return [name, call];
  });
  return Object.fromEntries(watched) as object;
}

/** The glue's world has a WebAssembly of its own, so `instanceof` tells nothing. */
function isMemory(value: unknown): value is WebAssembly.Memory {
  return Object.prototype.toString.call(value) === "[object WebAssembly.Memory]";
}

/** Does what a worker does before its first model (worker/backend/ort.ts). */
function startRuntime(ort: Runtime): void {
  const check = (isRight: boolean, what: string): void => {
    if (!isRight) throw new Error(`ONNX Runtime does not start in Node: ${what}`);
  };
  check(ort._OrtInit(1, FATAL) === 0, "OrtInit");
  // Level of optimization: all; arena and memory pattern; in sequence; no profile and no id; silent.
  const options = ort._OrtCreateSessionOptions(99, 1, 1, 0, 0, 0, 0, FATAL, 0, 0);
  const model = ort._malloc(STARTER.length);
  ort.HEAPU8.set(STARTER, model);
  const session = ort._OrtCreateSession(model, STARTER.length, options);
  check(options !== 0 && session !== 0, "OrtCreateSession");
  check(ort._OrtReleaseSession(session) === 0, "OrtReleaseSession");
  ort._OrtReleaseSessionOptions(options);
  ort._free(model);
}

/** Gives the glue's factory, in a world as a worker's that is told what time it is. */
function factoryOf(glue: string, nowMs: number): Factory {
  const text = glue
    .replace(/export default (\w+);[\s\S]*$/, "globalThis.factory = $1;")
    .replaceAll("import.meta.url", '"https://worker.test/worker.js"')
    .replaceAll(/\bimport\(/g, "Promise.reject("); // Node's modules, which a worker has not
  const world: Record<string, unknown> = {
    Atomics,
    Date: { now: () => nowMs }, // a start that asks for the day of the week is none to keep
    SharedArrayBuffer,
    TextDecoder,
    URL,
    WorkerGlobalScope: Object,
    console,
    navigator: { hardwareConcurrency: 1 },
    performance: { now: () => nowMs % 1_000, timeOrigin: nowMs },
  };
  world["self"] = world;
  new Script(text).runInContext(createContext(world));
  return world["factory"] as Factory;
}

/** Tells which of its own functions a module exports under a name. */
function functionOf(sections: readonly Section[], name: string): number {
  const found = readExports(bytesOf(sections, SECTION.export)).find((x) => x.kind === KIND.function && x.name === name);
  if (found === undefined) throw new Error(`WebAssembly: no function is exported as ${name}`);
  return found.index - readImports(bytesOf(sections, SECTION.import)).functions;
}
