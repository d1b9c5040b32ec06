// Checks of the options of `selvedge/testing`: each error names the option and the value that was passed, as the
// engine's own do.
import { show } from "../core/check-inputs.ts";
import { ERROR_CODES } from "../core/errors.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";
import { accept, checkOptions, ENGINE, isFunction, oneOf, range, text, whole } from "../engine/check-options.ts";
import type { Checks } from "../engine/check-options.ts";
import type { FakeClock, FakeEngineOptions, FakeModel, FakePort } from "./index.ts";

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);
const isSize = (dim: unknown): boolean => typeof dim === "number" && Number.isSafeInteger(dim) && dim >= 0;

const PORT: Checks<FakePort> = {
  name: text,
  dtype: oneOf([...Object.keys(ARRAY_TYPES), "string"]),
  dims: accept(
    "a list of sizes, and of names for those that are open",
    (dims) => Array.isArray(dims) && dims.every((dim) => typeof dim === "string" || isSize(dim)),
  ),
  batchAxis: (option, axis) => {
    if (axis !== null) whole(0, 64)(option, axis);
  },
};

const ports = (option: string, value: unknown): void => {
  if (!Array.isArray(value))
    throw new TypeError(`${option}: expected a list of { name, dtype, dims }, got ${show(value)}`);
  for (const [i, port] of (value as FakePort[]).entries())
    checkAll(`${option}[${i}]`, port, PORT, ["name", "dtype", "dims"]);
};
const ms = range(0, 2 ** 31 - 1);
const code = oneOf([null, ...ERROR_CODES]);

const MODEL: Checks<FakeModel> = {
  inputs: ports,
  outputs: ports,
  run: accept("a function", isFunction),
  ...{ loadMs: ms, runMs: ms },
  bytes: whole(0, Number.MAX_SAFE_INTEGER),
  ...{ loadError: code, runError: code },
};

const OPTIONS: Checks<FakeEngineOptions> = {
  models: (option, models) => {
    accept("an object of models by address", isObject)(option, models);
    for (const [address, model] of Object.entries(models as Record<string, FakeModel>))
      checkAll(`${option}[${JSON.stringify(address)}]`, model, MODEL, ["inputs", "outputs"]);
  },
  clock: accept("an object with the functions now and setTimer", (value) => {
    const { now, setTimer } = (value ?? {}) as Partial<FakeClock>;
    return isFunction(now) && isFunction(setTimer);
  }),
  ...withoutEffects(ENGINE),
};

/** Returns the options that a fake engine shares with a real one. */
export function withoutEffects<T extends { readonly effects?: unknown; readonly assetsBase?: unknown }>({
  effects: _,
  assetsBase: __,
  ...options
}: T): Omit<T, "effects" | "assetsBase"> {
  return options;
}

/**
 * Checks the options of a fake engine and of its models.
 * @throws TypeError for a wrong kind, RangeError for a number that is out of range
 */
export function checkFakeOptions(call: string, options: FakeEngineOptions): void {
  checkAll(call, options, OPTIONS, ["models"], "");
}

/** Checks options of which some must be there. */
function checkAll<T extends object>(
  at: string,
  options: T,
  checks: Checks<T>,
  required: readonly (keyof T & string)[],
  path = `${at}.`,
): void {
  checkOptions(at, options, checks, path);
  for (const name of required) if (options[name] === undefined) checks[name]?.(path + name, undefined);
}
