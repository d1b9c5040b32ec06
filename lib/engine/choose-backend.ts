// Chooses the backend of a model for which facts do not suffice (choose-variant.ts), by measuring both backends
// (measure-backend.ts), one model at a time. Stores the numbers for later pages. Imported by backend-chooser.ts.
//
// Stored are numbers, for a month, and errors that blame the model on that backend, for a day; of this release alone
// (version.ts). Any other failure (a lost or barred GPU, a download, a crashed worker, a closed engine) says nothing
// about the model: it is placed on the other backend and measured again with a later request.
import { inTime } from "../core/abort.ts";
import type { BackendName, LocalBackend } from "../rpc/backend.ts";
import type { Plan } from "../cache/messages.ts";
import { decide } from "../core/choose-variant.ts";
import type { Candidate, Measured, BackendChoice } from "../core/choose-variant.ts";
import type { DeviceFacts } from "../core/device.ts";
import type { Effects } from "../effects/effects.ts";
import { codeOf, isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { Loader } from "./loader.ts";
import { Measurements } from "./measurements.ts";
import type { ModelMeasurements } from "./measurements.ts";
import type { Feeds } from "../rpc/messages.ts";
import { measureBackend, MEASURE_BUDGET_MS } from "./measure-backend.ts";
import type { Measurement } from "./measure-backend.ts";
import { candidateIn, decisionFor } from "./backend-chooser.ts";
import { Measuring } from "./measuring.ts";
import { keyOf } from "./routes.ts";
import type { ModelRoutes } from "./routes.ts";
import { whyRefused } from "./why-refused.ts";
import type { BackendDecision } from "./backend-chooser.ts";
import { typicalFeeds } from "./typical-feeds.ts";
import { watch } from "../rpc/watchdog.ts";

/** How long a load waits for the model to be loaded on the GPU and measured, including the wait for both, in ms. */
const LOAD_WAIT_MS = 2 * MEASURE_BUDGET_MS;
/** Errors that blame the model on a backend: the next page would get the same error. */
const BLAMES: ReadonlySet<ErrorCode> = new Set(["model-invalid", "internal"]);
/** Errors that blame the device in its current state: not stored, and not retried on this page. */
const STAYS: ReadonlySet<ErrorCode> = new Set(["out-of-memory", "no-backend", "setup-failed", "wrong-result"]);

/** Chooses backends by measurements, for the models of one engine. */
export class Comparer {
  readonly #effects: Effects;
  readonly #closed: AbortSignal;
  readonly #measurements: Measurements;
  readonly #onMeasured: (key: string, ms: number) => void;
  /**
   * The last measurement, bounded by the wait of a load: the next one begins then, since two at once would skew each
   * other.
   */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    effects: Effects,
    device: DeviceFacts,
    threads: number,
    closed: AbortSignal,
    onMeasured: (key: string, ms: number) => void,
  ) {
    this.#effects = effects;
    this.#closed = closed;
    this.#measurements = new Measurements(effects, device, threads);
    this.#onMeasured = onMeasured;
  }

  /** Decides where a model runs that facts alone do not place. Rejects where no backend can load it. */
  async choose(loader: Loader): Promise<BackendDecision> {
    const { plan } = loader;
    const known = this.#measurements.recall(plan);
    const expected = choiceOf(known);
    if (expected !== null) {
      this.#tell(plan, known);
      const error = await this.#load(loader, expected.backend);
      return error === null ? decisionFor(loader, expected) : this.#elsewhere(loader, expected.backend, error);
    }
    const error = await this.#load(loader, "wasm");
    if (error !== null) return this.#elsewhere(loader, "wasm", error);
    const feeds = typicalFeeds(loader.inputs, plan.typical);
    if (feeds === null) return { ...decisionFor(loader, NOT_MEASURED), measure: "first" };
    const failed = await this.#attempt(loader, () => loader.fetch(candidateOf(loader, "webgpu")));
    if (failed !== null) return this.#elsewhere(loader, "webgpu", failed);
    const measuring = this.#compare(loader, feeds);
    // The GPU's lane may be compiling another model's shaders for minutes, and other models may be measured first.
    const measured = await this.#inTime(measuring, LOAD_WAIT_MS);
    return measured ?? { ...decisionFor(loader, NOT_MEASURED), measuring };
  }

  /** Returns the backend of a model, as far as it is known without a trial, and the time of a typical request there. */
  expect(plan: Plan): { choice: BackendChoice | null; ms: number | null } {
    const known = this.#measurements.recall(plan);
    const choice = plan.settled ?? choiceOf(known);
    const ms = choice === null ? null : known[choice.backend];
    return { choice, ms: typeof ms === "number" ? ms : null };
  }

  /** Loads a model on the GPU as well, then measures both backends. */
  async #compare(loader: Loader, feeds: Feeds): Promise<BackendDecision> {
    const failed = await this.#load(loader, "webgpu");
    if (failed !== null) return this.#elsewhere(loader, "webgpu", failed);
    // Another variant than planned, which an earlier page has measured, where the GPU computes that one wrongly.
    const known = choiceOf(this.#measurements.recall(loader.plan));
    return known === null ? this.measure(loader, feeds) : decisionFor(loader, known);
  }

  /** Returns what measures a loaded model later, and calls back with its new routes. */
  measuringOf(loader: Loader, onRoutes: (routes: ModelRoutes) => void): Measuring {
    return new Measuring(this.#effects.now, this, loader, onRoutes);
  }

  /** Measures both backends with the same inputs, once no other model is being measured, and stores the result. */
  measure(loader: Loader, feeds: Feeds): Promise<BackendDecision> {
    const turn = this.#last;
    const mine = turn.then(() => this.#measure(loader, feeds));
    const over = mine.catch(() => null);
    this.#last = turn.then(() => this.#inTime(over, LOAD_WAIT_MS));
    return mine;
  }

  async #measure(loader: Loader, feeds: Feeds): Promise<BackendDecision> {
    const wasm = await this.#measureOn(loader, "wasm", feeds);
    // A wasm run of many seconds continues in parallel: the GPU is compared with its elapsed time.
    let ms = await this.#inTime(wasm.ms, MEASURE_BUDGET_MS).catch(asError);
    const gpu = await this.#measureOn(loader, "webgpu", feeds);
    const webgpu = await gpu.ms.catch(asError);
    const isBegun = wasm.soFarMs() > 0;
    ms ??= await this.#inTime(wasm.ms, isBegun ? 0 : Infinity).catch(asError);
    this.#closed.throwIfAborted();
    return this.#settle(loader, { wasm: ms ?? wasm.soFarMs(), webgpu });
  }

  async #measureOn(loader: Loader, backend: BackendName, feeds: Feeds): Promise<Measurement> {
    try {
      const started = measureBackend(this.#effects, await loader.on(candidateOf(loader, backend)), feeds);
      started.ms.catch(() => undefined); // its end is not awaited
      return started;
    } catch (error) {
      const ms = Promise.reject<number>(asError(error));
      ms.catch(() => undefined);
      return { ms, soFarMs: () => 0 };
    }
  }

  #settle(loader: Loader, measured: Readonly<Record<LocalBackend, number | Error>>): BackendDecision {
    const { plan } = loader;
    const known: ModelMeasurements = { wasm: knownOf(measured.wasm), webgpu: knownOf(measured.webgpu) };
    this.#measurements.remember(plan, known);
    this.#tell(plan, known);
    const numbers: Measured = { wasm: numberOf(measured.wasm), webgpu: numberOf(measured.webgpu) };
    const error = [measured.webgpu, measured.wasm].find((x) => typeof x !== "number");
    const isSpoiled = error !== undefined && !isBlaming(error) && !STAYS.has(codeOf(error) as ErrorCode);
    const choice = error === undefined ? decide(numbers) : decideAfter(error, numbers);
    return { ...decisionFor(loader, choice), measure: isSpoiled ? "later" : null };
  }

  /** Places a model on the backend other than the failed one. Rejects with that error where it can't run there. */
  async #elsewhere(loader: Loader, failed: BackendName, error: SelvedgeError): Promise<BackendDecision> {
    const other = failed === "wasm" ? "webgpu" : "wasm";
    const failure = await this.#load(loader, other);
    // A GPU that can't be checked without wasm: its error says how it may run all the same.
    if (failure !== null) throw failure.details["reason"] === "unverified" ? failure : error;
    this.#measurements.remember(loader.plan, { [failed]: knownOf(error) });
    const measured: Measured = { wasm: 0, webgpu: 0, [failed]: null };
    const measure = isBlaming(error) || STAYS.has(error.code) ? null : "later";
    return { ...decisionFor(loader, decideAfter(error, measured)), measure };
  }

  /** Loads a model on a backend. Returns the error after which the other backend is tried, or null on success. */
  #load(loader: Loader, backend: BackendName): Promise<SelvedgeError | null> {
    return this.#attempt(loader, () => loader.on(candidateOf(loader, backend)));
  }

  async #attempt(loader: Loader, step: () => Promise<unknown>): Promise<SelvedgeError | null> {
    try {
      await step();
      return null;
    } catch (error) {
      loader.signal.throwIfAborted();
      if (!isSelvedgeError(error)) throw error;
      return error;
    }
  }

  /** Bounds a wait by time in which the page runs: a sleep during a measurement is no reason to skip it. */
  #inTime<T>(promise: Promise<T>, ms: number): Promise<T | null> {
    return inTime(promise, ms, (expire, ms) => watch(this.#effects, ms, expire));
  }

  #tell({ identity, candidates }: Plan, known: ModelMeasurements): void {
    for (const { backend, variant } of candidates) {
      const ms = known[backend];
      if (typeof ms === "number") this.#onMeasured(keyOf(identity, variant.id, backend), ms);
    }
  }
}

/** Choice until both backends are measured. */
export const NOT_MEASURED: BackendChoice = {
  backend: "wasm",
  why: { code: "not-measured", text: "wasm: not measured yet" },
};

/** Decides by the stored measurements; null where they do not suffice. */
function choiceOf({ wasm, webgpu }: ModelMeasurements): BackendChoice | null {
  if (typeof wasm === "number" && typeof webgpu === "number") return decide({ wasm, webgpu });
  // Both failed, or one is unknown: must be measured.
  if (typeof webgpu === "string" && typeof wasm !== "string") return decide({ wasm: wasm ?? 0, webgpu: null }, webgpu);
  return typeof wasm === "string" && typeof webgpu !== "string" ? decide({ wasm: null, webgpu: 0 }, wasm) : null;
}

/** Decides after an error of one backend. */
function decideAfter(error: Error, measured: Measured): BackendChoice {
  const choice = decide(measured, codeOf(error) ?? error.name);
  return isSelvedgeError(error) && error.code === "wrong-result" ? { ...choice, why: whyRefused(error) } : choice;
}

function candidateOf({ plan }: Loader, backend: BackendName): Candidate {
  return candidateIn(plan, backend);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function isBlaming(error: unknown): boolean {
  return isSelvedgeError(error) && BLAMES.has(error.code);
}

function numberOf(measured: number | Error): number | null {
  return typeof measured === "number" ? measured : null;
}

/** Returns the value to store: the number, or the code of an error that blames the model. */
function knownOf(measured: number | Error): number | string | undefined {
  return typeof measured === "number" ? measured : isBlaming(measured) ? (codeOf(measured) ?? undefined) : undefined;
}
