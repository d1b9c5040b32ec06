// `selvedge/testing`: an engine for an app's unit tests, in Node and jsdom. It is the real engine, with its checks,
// queue, aborts and errors, over workers that are none: models are functions of the test. Nothing is fetched or
// compiled. The build bundles it, once as CommonJS for Jest.
import type { Engine, EngineOptions, ErrorCode, Port, Tensor } from "selvedge";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { checkEngineOptions } from "../engine/check-options.ts";
import { makeEngine } from "../engine/engine.ts";
import { checkFakeOptions, withoutEffects } from "./check-fake-options.ts";
import { fakeEffects } from "./fake-effects.ts";

/** An input or output of a fake model; without `batchAxis`, requests are not joined to batches. */
export type FakePort = Omit<Port, "batchAxis"> & Partial<Pick<Port, "batchAxis">>;

/** A model that a test makes up. */
export interface FakeModel {
  /** Its inputs, by which the engine checks each run as it does a real model's. */
  readonly inputs: readonly FakePort[];
  /** Its outputs. */
  readonly outputs: readonly FakePort[];
  /**
   * Returns the outputs by name, which are checked by `outputs` and copied. An exception fails the run. Default: every
   * output is zeros, 1 for a symbolic dim.
   */
  readonly run?: ((inputs: Readonly<Record<string, Tensor>>) => FakeOutputs | Promise<FakeOutputs>) | undefined;
  /** Duration of a load, in ms; progress is reported at its begin, half and end. Default 0. */
  readonly loadMs?: number | undefined;
  /** Duration of a run, in ms. Default 0. */
  readonly runMs?: number | undefined;
  /** Size that progress reports, in bytes. Default 1,000,000. */
  readonly bytes?: number | undefined;
  /** Code of the error with which every load fails; read at each load. Default: loads succeed. */
  readonly loadError?: ErrorCode | null | undefined;
  /** Code of the error with which every run fails; read at each run. Default: runs succeed. */
  readonly runError?: ErrorCode | null | undefined;
}

type FakeOutputs = Readonly<Record<string, Tensor>>;

/** A clock; the fake timers of a test framework replace the default one as well. */
export interface FakeClock {
  /** Returns the time in ms. */
  now(): number;
  /** Calls back once after `ms`; the returned function cancels. */
  setTimer(callback: () => void, ms: number): () => void;
}

/** Options of `createFakeEngine`: the models, and those of `createEngine`. */
export interface FakeEngineOptions extends Omit<EngineOptions, "effects" | "assetsBase"> {
  /**
   * Models by address, relative ones to http://localhost/, or by the name of a repository (`owner/name`); `bytes` is the one
   * of a load from bytes or a Blob.
   */
  readonly models: Readonly<Record<string, FakeModel>>;
  /** Times loads, runs and deadlines. Default: the global timers. */
  readonly clock?: FakeClock | undefined;
}

/**
 * Creates an engine whose models are functions. Close it after the test, as any other.
 * @throws TypeError or RangeError for a wrong option
 * @example
 * const x = { name: "x", dtype: "float32", dims: [1, 3] } as const;
 * const engine = await createFakeEngine({ models: { "/models/x.onnx": { inputs: [x], outputs: [{ ...x, name: "y" }] } } });
 */
export async function createFakeEngine(options: FakeEngineOptions): Promise<Engine> {
  checkFakeOptions("createFakeEngine", options);
  const { models, clock, ...own } = options;
  if (own.backends?.includes("wasm") === false)
    throw new TypeError('backends: a fake engine has no GPU: have "wasm" among them, or leave the option out');
  const effects = fakeEffects(models, clock);
  return makeEngine({ workers: 1, ...own, backends: ["wasm"], effects, assetsBase: effects.facts.baseUrl }, null);
}

/** The main entry with fake engines, as `mock` returns it. */
export interface FakePackage {
  /** Creates a fake engine; options are those of `createEngine`. */
  createEngine(options?: EngineOptions): Promise<Engine>;
  /** Whether a value is a SelvedgeError. */
  readonly isSelvedgeError: (value: unknown) => boolean;
  /** The error class. */
  readonly SelvedgeError: typeof SelvedgeError;
}

/**
 * Returns a stand-in for the package, for `jest.mock` and `vi.mock`.
 * @throws TypeError or RangeError for a wrong option
 * @example
 * jest.mock("selvedge", () => require("selvedge/testing").mock({ models }));
 */
export function mock(options: FakeEngineOptions): FakePackage {
  checkFakeOptions("mock", options);
  return {
    async createEngine(given = {}) {
      checkEngineOptions(given);
      return createFakeEngine({ ...withoutEffects(given), backends: ["wasm"], ...options });
    },
    isSelvedgeError,
    SelvedgeError,
  };
}
