// Injects faults into the engine's workers while requests are in flight, and reports the results. The engine is the
// shipped one; the faults come from the demo (demo/faults/saboteur.ts).
import { createEngine, isSelvedgeError } from "selvedge";
import type { Engine, EngineOptions, Inputs, Model, RunResult } from "selvedge";
import { addModel, endlessModel, turnsModel, zerosModel } from "../../lib/test-support/backend-models.ts";
import { Saboteur } from "../../demo/faults/saboteur.ts";
import { preferGpu } from "./prefer-gpu.ts";
import type { Fault, Held, StartFault } from "../../demo/faults/saboteur.ts";

/** One fault, and the engine's options. */
export interface Case {
  readonly fault: Fault | StartFault;
  readonly duringRun: boolean;
  readonly backend: "webgpu" | "wasm";
  readonly lanes: number;
  readonly boundMs: number;
  /** Reads lines with the bundle ocr-rec instead of adding numbers. */
  readonly reads?: boolean;
}

/** Results of the requests; times in ms. */
export interface Suffered {
  readonly sent: number;
  readonly answered: number;
  readonly wrong: number;
  /** Error codes of rejected requests. */
  readonly failed: readonly string[];
  /** Number that took more than one attempt. */
  readonly again: number;
  /** Number of workers that ended by themselves, hung, or did not start. */
  readonly crashes: number;
  /** Codes of failed attempts. */
  readonly codes: readonly string[];
  readonly backends: readonly string[];
  /** Duration of the requests without a fault, and with it. */
  readonly plainMs: number;
  readonly faultMs: number;
  readonly coldStartMs: number;
  /** Attempts of the request that spent the longest in them. */
  readonly worst: string;
  /** Number of five later requests that were answered correctly. */
  readonly later: number;
  /** Workers that are alive after `close`. */
  readonly leaked: number;
}

/** Interface of this page for its tests. */
export interface FaultsPage {
  suffer(given: Case): Promise<Suffered>;
  /** Destroys the device twice; returns the backends of the answers after each, and the reason of the last. */
  loseTwice(boundMs: number): Promise<{ first: string[]; second: string[]; why: string }>;
  /** Runs the model that never ends beside others; returns when its worker was terminated, and the results. */
  endless(boundMs: number): Promise<{ endedMs: number; code: string; right: number; leaked: number }>;
  /** Terminates all workers that compute from outside; see `endAll` below. */
  endAll(when: EndedWhen, lanes: number): Promise<EndedAll>;
  /** Loads so many times with a broken worker script; returns the error's code and message, or "loaded". */
  startWith(fault: StartFault, times: number): Promise<{ code: string; message: string; leaked: number }>;
  /** Starts a load that never ends; resolves once the crash marker is written. */
  hangOnLoad(): Promise<string>;
  /** Writes the marker of a page that crashed. */
  leaveMarker(key: string): void;
  /** Loads the recogniser on wasm; returns the choice and its reason. */
  loadReader(): Promise<{ variant: string; code: string; text: string; markers: number }>;
  /** Loads, runs and unloads, on one engine across all calls; returns the resources held afterwards. */
  wear(rounds: number, runsPerRound: number, backend: "webgpu" | "wasm"): Promise<Worn>;
  /** Closes that engine; returns the number of workers left. */
  rest(): Promise<number>;
  /**
   * Injects a fault into one of two engines, and closes it; returns how many requests of the other were answered
   * correctly.
   */
  two(boundMs: number): Promise<{ right: number; leaked: number; restarts: number }>;
}

/**
 * Times at which workers are terminated: before requests arrive, in later runs, and in first runs of more than a
 * second.
 */
export type EndedWhen = "idle" | "warm" | "first";

/** Result of 20 requests whose workers were terminated from outside. */
export interface EndedAll {
  readonly right: number;
  readonly failed: readonly string[];
  /** Time from the termination until all were answered; and the time of the same in new workers without it. */
  readonly ms: number;
  readonly coldMs: number;
  /** Duration of the longest run and of the shortest, in ms. */
  readonly runMs: number;
  readonly shortestMs: number;
  readonly crashes: number;
  readonly leaked: number;
}

/** Resources held at one time: by all workers that compute, and by the engine. */
export interface Worn extends Held {
  readonly workers: number;
  /** Number of workers started so far. */
  readonly starts: number;
  readonly models: number;
}

const COUNT = 20;
const START_FAULTS: readonly string[] = ["missing", "html", "no-wasm", "hang-on-load"];
const BIG = 30_000_000;
/** On a software GPU wasm is faster and would take all requests before the fault; so it is only the fallback. */
const ONE_LANE = { concurrency: 1 } as const;
const READER = "/models/ocr-rec/bundle.json";
/** Answers of the reader to two lines differ by more. */
const TOLERANCE = 1e-3;

const saboteur = new Saboteur();
let worn: Engine | null = null;
/** The reader's answers to each line before any fault. */
const readings = new Map<number, Float32Array>();

interface Round {
  readonly ms: number;
  readonly answers: readonly RunResult[];
  readonly wrong: number;
  readonly failed: readonly string[];
}

const page: FaultsPage = {
  async suffer(given) {
    const { fault, duringRun, backend, lanes, boundMs, reads = false } = given;
    if (backend === "webgpu") preferGpu();
    const atStart = START_FAULTS.includes(fault);
    const grows = fault === "out-of-memory";
    const engine = await createEngine({ backends: withFallback(backend), workers: lanes, callTimeoutMs: boundMs });
    const began = performance.now();
    // Unbatched, so that every lane is busy at the fault: twenty small ones would be a single batch.
    const options = { batching: false, ...(backend === "webgpu" ? ONE_LANE : {}) } as const;
    const model = await engine.load(reads ? READER : grows ? zerosModel(1) : addModel(), options);
    const loadMs = performance.now() - began;
    let plain: Round | null = null;
    let coldStartMs = loadMs;
    if (!atStart) {
      const { answers } = await ask(model, [], 2 * lanes);
      coldStartMs = Math.max(...answers.map(({ info }) => info.history[0]?.ms ?? 0), loadMs);
      plain = await ask(model, [], COUNT);
    }
    if (atStart) saboteur.nextStarts.push(fault as StartFault);
    else if (fault === "destroy" && !duringRun) saboteur.harmUsed(fault, false);
    const hurt = await ask(model, grows ? [7] : [], COUNT, async () => {
      while (engine.stats().requests.running < lanes) await Promise.resolve(); // until the lanes are busy
      if (!atStart && (fault !== "destroy" || duringRun)) saboteur.harmUsed(fault as Fault, duringRun);
    });
    plain ??= await ask(model, [], COUNT);
    const later = await ask(model, [], 5);
    const crashes = engine.stats().lanes.reduce((sum, x) => sum + x.crashes, 0);
    await engine.close();
    const tries = hurt.answers.flatMap(({ info }) => info.history);
    return {
      sent: COUNT,
      answered: hurt.answers.length,
      wrong: hurt.wrong,
      failed: hurt.failed,
      again: hurt.answers.filter(({ info }) => info.attempts > 1).length,
      crashes,
      codes: [...new Set(tries.flatMap(({ error }) => error ?? []))],
      backends: [...new Set(hurt.answers.map(({ info }) => info.backend))],
      plainMs: plain.ms,
      faultMs: hurt.ms,
      coldStartMs,
      worst: worstOf(hurt.answers),
      later: later.answers.length - later.wrong,
      leaked: saboteur.alive,
    };
  },

  async loseTwice(boundMs) {
    preferGpu();
    const engine = await createEngine({ backends: ["webgpu", "wasm"], workers: 1, callTimeoutMs: boundMs });
    const model = await engine.load(addModel());
    await ask(model, [], 1);
    const backends: string[][] = [];
    let why = "";
    for (let loss = 0; loss < 2; loss += 1) {
      saboteur.harmUsed("destroy", true);
      await ask(model, [], 1);
      const { answers } = await ask(model, [], 3);
      backends.push(answers.map(({ info }) => info.backend));
      why = answers[0]?.info.why.code ?? "";
    }
    await engine.close();
    return { first: backends[0] ?? [], second: backends[1] ?? [], why };
  },

  async endless(boundMs) {
    const engine = await createEngine({ backends: ["wasm"], workers: 2, callTimeoutMs: boundMs });
    const add = await engine.load(addModel());
    await ask(add, [], 4);
    const endless = await engine.load(endlessModel());
    const began = performance.now();
    let endedMs = 0;
    const running = endless
      .run({ x: { dtype: "float32", dims: [1], data: new Float32Array(1) } })
      .then(() => "answered", codeOf);
    const watching = until(() => saboteur.lastEndMs > began).then(() => {
      endedMs = saboteur.lastEndMs - began;
    });
    const { answers, wrong } = await ask(add, [], COUNT);
    await watching;
    const code = await running;
    await engine.close();
    return { endedMs, code, right: answers.length - wrong, leaked: saboteur.alive };
  },

  async endAll(when, lanes) {
    const began = await createEngine({ backends: ["wasm"], workers: lanes });
    const turns = await turnsOf(began, when === "first" ? 1_300 : 100);
    const {
      ms: coldMs,
      runMs,
      shortestMs,
    } = await askTurns(await began.load(turnsModel(), { batching: false }), turns, COUNT);
    await began.close();
    const engine = await createEngine({ backends: ["wasm"], workers: lanes });
    const model = await engine.load(turnsModel(), { batching: false });
    if (when !== "first") await askTurns(model, turns, COUNT);
    let endedMs = 0;
    const end = (): void => {
      endedMs = performance.now();
      saboteur.harmAll("kill", false);
    };
    if (when === "idle") end();
    const asked = askTurns(model, turns, COUNT);
    if (when !== "idle") {
      while (engine.stats().requests.running < lanes) await new Promise((resolve) => setTimeout(resolve, 1));
      await new Promise((resolve) => setTimeout(resolve, when === "first" ? 600 : 30));
      end();
    }
    const { right, failed } = await asked;
    const ms = performance.now() - endedMs;
    const crashes = engine.stats().lanes.reduce((sum, lane) => sum + lane.crashes, 0);
    await engine.close();
    return { right, failed, ms, coldMs, runMs, shortestMs, crashes, leaked: saboteur.alive };
  },

  async startWith(fault, times) {
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    for (let i = 0; i < times; i += 1) saboteur.nextStarts.push(fault);
    const error: unknown = await engine.load(addModel()).then(
      () => "loaded",
      (reason: unknown) => reason,
    );
    saboteur.nextStarts.length = 0;
    await engine.close();
    return { code: codeOf(error), message: String(error), leaked: saboteur.alive };
  },

  async hangOnLoad() {
    saboteur.nextStarts.push("hang-on-load");
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    engine.load(READER, { backend: "wasm" }).catch(() => undefined);
    const isMarked = (key: string): boolean => localStorage.getItem(key) !== "";
    const marked = (): string | undefined => markerKeys().find(isMarked);
    await until(() => marked() !== undefined);
    return marked() ?? "";
  },

  leaveMarker(key) {
    localStorage.setItem(key, JSON.stringify([["a page that died", Date.now()]]));
  },

  async loadReader() {
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const model = await engine.load(READER, { backend: "wasm" });
    const { variant, why } = model;
    await engine.close();
    return { variant, ...why, markers: markerKeys().filter((key) => localStorage.getItem(key) !== "").length };
  },

  async wear(rounds, runsPerRound, backend) {
    worn ??= await createEngine({ backends: [backend], workers: 2 });
    for (let round = 0; round < rounds; round += 1) {
      const model = await worn.load(addModel(), { backend });
      const { wrong, failed } = await ask(model, [], runsPerRound);
      if (wrong + failed.length > 0) throw new Error(`round ${round}: ${wrong} wrong, ${failed.join()} failed`);
      model.unload();
    }
    const held = await saboteur.held();
    return {
      workers: held.length,
      starts: worn.stats().lanes.reduce((sum, { starts }) => sum + starts, 0),
      models: worn.stats().models,
      gpuBuffers: held.reduce((sum, x) => sum + x.gpuBuffers, 0),
      wasmBytes: held.reduce((sum, x) => sum + x.wasmBytes, 0),
    };
  },

  async rest() {
    await worn?.close();
    worn = null;
    return saboteur.alive;
  },

  async two(boundMs) {
    const make = (): Promise<Engine> =>
      createEngine({ backends: ["wasm"], workers: 1, callTimeoutMs: boundMs } satisfies EngineOptions);
    const [one, other] = [await make(), await make()];
    const kept = await one.load(addModel());
    const harmed = await other.load(addModel());
    await Promise.all([ask(kept, [], 2), ask(harmed, [], 2)]);
    const both = Promise.all([ask(kept, [], COUNT), ask(harmed, [], COUNT)]);
    saboteur.harm("throw", false); // the other's worker, which started last
    const [{ answers, wrong }] = await both;
    await other.close();
    const later = await ask(kept, [], 5);
    const restarts = one.stats().lanes.reduce((sum, lane) => sum + lane.starts - 1, 0);
    await one.close();
    return { right: answers.length - wrong + later.answers.length - later.wrong, leaked: saboteur.alive, restarts };
  },
};

/** Returns the number of turns that takes at least this long, in the fastest of three runs. */
async function turnsOf(engine: Engine, ms: number): Promise<number> {
  const model = await engine.load(turnsModel());
  let turns = 1_000;
  for (;;) {
    const { shortestMs } = await askTurns(model, turns, 3);
    if (shortestMs >= ms) return turns;
    // At most by a factor of four: code is faster once the browser has optimized it.
    turns = Math.ceil(turns * Math.min(4, (1.1 * ms) / Math.max(shortestMs, 1)));
  }
}

/** Sends so many requests of that many turns at once. */
async function askTurns(
  model: Model,
  turns: number,
  count: number,
): Promise<Pick<EndedAll, "right" | "failed" | "ms" | "runMs" | "shortestMs">> {
  const began = performance.now();
  const failed: string[] = [];
  let [right, runMs, shortestMs] = [0, 0, Infinity];
  const all = Array.from({ length: count }, async (_, i) => {
    const n = { dtype: "int64", dims: [], data: BigInt64Array.of(BigInt(turns)) } as const;
    try {
      const { outputs, info } = await model.run({ n, x: { dtype: "float32", dims: [1], data: Float32Array.of(i) } });
      if (outputs["y"]?.data[0] === i) right += 1;
      runMs = Math.max(runMs, info.ranMs);
      shortestMs = Math.min(shortestMs, info.ranMs);
    } catch (error) {
      failed.push(codeOf(error));
    }
  });
  await Promise.all(all);
  return { right, failed, ms: performance.now() - began, runMs, shortestMs };
}

/** Sends requests at once, those at `big` with much memory; calls `harm` when all are sent. */
async function ask(model: Model, big: readonly number[], count: number, harm?: () => Promise<void>): Promise<Round> {
  const began = performance.now();
  const answers: RunResult[] = [];
  const failed: string[] = [];
  let wrong = 0;
  const sent = Array.from({ length: count }, async (_, i) => {
    const [inputs, isRight] = requestOf(model, i, big.includes(i) ? BIG : 1_000 + i);
    try {
      const answer = await model.run(inputs);
      if (!isRight(Object.values(answer.outputs)[0]?.data as Float32Array)) wrong += 1;
      answers.push(answer);
    } catch (error) {
      failed.push(codeOf(error));
    }
  });
  await harm?.();
  await Promise.all(sent);
  return { ms: performance.now() - began, answers, wrong, failed };
}

function worstOf(answers: readonly RunResult[]): string {
  const sum = ({ info }: RunResult): number => info.history.reduce((ms, attempt) => ms + attempt.ms, 0);
  const [worst] = [...answers].sort((a, b) => sum(b) - sum(a));
  const tries = worst?.info.history.map(({ lane, ms, error }) => `${lane} ${error ?? "ok"} ${Math.round(ms)}`);
  return tries?.join(", ") ?? "";
}

/** A request, with a check of its answer. */
function requestOf(model: Model, i: number, length: number): [Inputs, (data: Float32Array) => boolean] {
  if (model.inputs.length === 2)
    return [addends(i), (data) => data.length === 3 && data[0] === 3 * i && data[2] === 3 * i + 0.5];
  if (model.name !== "ocr-rec") return [size(length), (data) => data.length === length && data.at(-1) === 0];
  const line = Float32Array.from({ length: 3 * 48 * 160 }, (_, at) => Math.sin((at * (i + 1)) / 9));
  return [
    { [model.inputs[0]?.name ?? ""]: { dtype: "float32", dims: [1, 3, 48, 160], data: line } },
    (data) => {
      const first = readings.get(i) ?? data;
      readings.set(i, first);
      return data.length === first.length && data.every((x, at) => Math.abs(x - (first[at] ?? 0)) < TOLERANCE);
    },
  ];
}

function addends(i: number): Inputs {
  const a = { dtype: "float32", dims: [1, 3], data: Float32Array.of(i, i, i) } as const;
  const b = { dtype: "float32", dims: [1, 3], data: Float32Array.of(2 * i, 2 * i, 2 * i + 0.5) } as const;
  return { a, b };
}

function size(n: number): Inputs {
  return { x: { dtype: "int64", dims: [1], data: BigInt64Array.of(BigInt(n)) } };
}

function withFallback(backend: "webgpu" | "wasm"): ("webgpu" | "wasm")[] {
  return backend === "webgpu" ? ["webgpu", "wasm"] : ["wasm"];
}

function markerKeys(): string[] {
  return Object.keys(localStorage).filter((key) => key.startsWith("selvedge/trying/"));
}

function codeOf(error: unknown): string {
  return isSelvedgeError(error) ? error.code : String(error);
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

Reflect.set(globalThis, "faultsPage", page);
