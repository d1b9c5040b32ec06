// Checks of the options of the public API: each error names the option and the value that was passed.
import type { Signal } from "../core/abort.ts";
import { show } from "../core/check-inputs.ts";
import { PRIORITIES } from "../schedule/events.ts";
import type {
  AskOptions,
  BatchingOptions,
  EngineOptions,
  HubOptions,
  LoadOptions,
  MapOptions,
  ObserveOptions,
} from "./options.ts";
import type { ResultsOptions } from "./result-cache.ts";

/** Throws where an option does not take a value. */
type OptionCheck = (option: string, value: unknown) => void;

/** The options that a call has, with the check of each; null for one that its user checks. */
export type Checks<T> = { readonly [K in keyof T]-?: OptionCheck | null };

/** Refuses an option that a call does not have, and a value that an option does not take. */
export function checkOptions<T extends object>(call: string, options: T, checks: Checks<T>, path = "", or = ""): void {
  if (typeof options !== "object" || (options as unknown) === null)
    throw new TypeError(`${call}: expected ${or}an object of options, got ${show(options)}`);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(checks, name))
      throw new TypeError(`${call}: there is no option "${name}", only ${Object.keys(checks).join(", ")}`);
    if (value !== undefined) checks[name as keyof T]?.(path + name, value);
  }
}

/** Accepts the values of which `isRight` is true. */
export function accept(expected: string, isRight: (value: unknown) => boolean): OptionCheck {
  return (option, value) => {
    if (!isRight(value)) throw new TypeError(`${option}: expected ${expected}, got ${show(value)}`);
  };
}

/** Accepts one of a list of words. */
export function oneOf(words: readonly unknown[]): OptionCheck {
  return accept(words.map((x) => JSON.stringify(x)).join(" or "), (value) => words.includes(value));
}

/** Accepts a list that is not empty, of values that `item` accepts. */
export function list(expected: string, item: OptionCheck): OptionCheck {
  const isList = accept(`a list of ${expected}`, (value) => Array.isArray(value) && value.length > 0);
  return (option, value) => {
    isList(option, value);
    for (const each of value as unknown[]) item(option, each);
  };
}

/** Accepts a number from `min` to `max`. */
export function range(min: number, max: number, kind = "number"): OptionCheck {
  return (option, value) => {
    if (typeof value === "number" && value >= min && value <= max && (kind === "number" || value % 1 === 0)) return;
    throw new RangeError(`${option}: expected a ${kind} from ${min} to ${max}, got ${show(value)}`);
  };
}

/** Accepts a whole number from `min` to `max`. */
export function whole(min: number, max: number): OptionCheck {
  return range(min, max, "whole number");
}

/** Accepts an object of options. */
function fields<T extends object>(checks: Checks<T>, or = ""): OptionCheck {
  return (option, value) => {
    checkOptions(option, value as T, checks, `${option}.`, or);
  };
}

/** Accepts true and false. */
export const truth: OptionCheck = accept("true or false", (value) => typeof value === "boolean");
/** Accepts the name of a backend. */
export const backend: OptionCheck = oneOf(["webgpu", "wasm"]);
/** Accepts the time until a deadline. */
export const deadlineMs: OptionCheck = range(1, 86_400_000);

const placement = oneOf(["local", "remote", "auto"]);
/** Accepts a string. */
export const text: OptionCheck = accept("a string", (value) => typeof value === "string");
const timeMs = whole(1, 2 ** 31 - 1);
/** Whether a value is a function. */
export const isFunction = (value: unknown): boolean => typeof value === "function";
const observe = fields<ObserveOptions>(
  { onResult: accept("a function", isFunction), devtools: truth },
  "a function or ",
);
const isKey = accept("Ed25519 public keys (32 bytes in base64url)", (value) =>
  /^[A-Za-z0-9_-]{43}$/.test(String(value)),
);
const batching = fields<BatchingOptions>({
  maxBatchSize: whole(1, 1_024),
  maxQueueDelayMs: range(0, 10_000),
  preferredBatchSizes: list("sizes", whole(1, 1_024)),
});

/** The options of `createEngine`. */
export const ENGINE: Checks<EngineOptions> = {
  backends: list('"webgpu" and "wasm"', backend),
  workers: whole(1, 64),
  threads: whole(1, 64),
  assetsBase: accept("a URL", (value) => typeof value === "string" || value instanceof URL),
  hub: fields<HubOptions>({ host: null, token: null }),
  store: oneOf(["auto", "memory", false]),
  trustedKeys: list("Ed25519 public keys (32 bytes in base64url)", isKey),
  trustedTypesPolicy: null,
  queue: fields<NonNullable<EngineOptions["queue"]>>({ maxSize: whole(1, 1_000_000) }),
  agingMs: whole(1, 3_600_000),
  callTimeoutMs: timeMs,
  idleMs: whole(0, 2 ** 31 - 1),
  verbose: null,
  onLog: null,
  results: fields<ResultsOptions>({ maxBytes: whole(1, 2 ** 40), ttlMs: timeMs, persist: truth }),
  memoryBudgetBytes: whole(1, 2 ** 53),
  observe: (option, value) => {
    if (!isFunction(value)) observe(option, value);
  },
  effects: null,
  remote: null,
  placement,
};

const LOAD: Checks<LoadOptions> = {
  onProgress: null,
  onSaveData: null,
  signal: null,
  backend,
  variant: text,
  update: oneOf(["first", "later", "never"]),
  identity: accept("64 hex digits", (value) => /^[0-9a-f]{64}$/.test(String(value))),
  name: text,
  image: null,
  labels: null,
  batching: (option, value) => {
    if (value !== false) batching(option, value);
  },
  concurrency: whole(1, 64),
  cache: truth,
  keepInMemory: truth,
  allowUnverified: truth,
  placement,
};

const RUN: Checks<AskOptions> = {
  priority: oneOf(PRIORITIES),
  deadlineMs,
  onLate: oneOf(["reject", "finish"]),
  preempt: truth,
  signal: accept("an AbortSignal", (value) => typeof (value as Partial<Signal> | null)?.throwIfAborted === "function"),
  transfer: truth,
  cache: truth,
  placement,
};

const MAP: Checks<MapOptions> = {
  ...RUN,
  concurrency: whole(1, 100_000),
  ordered: truth,
  errors: oneOf(["stop", "yield"]),
};

/** Checks the options of `createEngine`. */
export function checkEngineOptions(options: EngineOptions): void {
  checkOptions("createEngine", options, ENGINE);
}

/** Checks the options of `engine.load`. */
export function checkLoadOptions(options: LoadOptions): void {
  checkOptions("load", options, LOAD);
}

/** Checks the options of a run. */
export function checkRunOptions(options: AskOptions): void {
  checkOptions("run", options, RUN);
}

/** Checks the options of `model.map`. */
export function checkMapOptions(options: MapOptions): void {
  checkOptions("map", options, MAP);
}
