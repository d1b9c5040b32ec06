// Assumptions of a fleet: device classes, growths, line, versions. Everything here is an assumption, except the times,
// bytes and rates that measured.ts reads; each can be replaced by a JSON file or by its path on the command line.

/** A class of devices. */
export interface DeviceClass {
  /** Share of the fleet; the shares are scaled to 1. */
  readonly share: number;
  /** Time of a run, as a multiple of the measured one; median over the class. Infinity, written null: no run at all. */
  readonly factor: number | null;
  /** Lanes on this device. */
  readonly lanes: number;
  /** Speed of the line for downloads, in Mbit/s; median over the class. */
  readonly lineMbit: number;
  /** Round trip to the server without its work, in ms. */
  readonly rttMs: number;
}

/** A use that grows. */
export interface Growth {
  /** Meaning of its sizes: requests of a day, or devices, of which `activeShare` are used on a day. */
  readonly counts: "requests" | "devices";
  readonly unit: string;
  readonly sizes: readonly number[];
  /** Bundle of models/ that stands for the model. */
  readonly model: string;
  readonly activeShare: number;
  /** Mean sessions of a device that is used on a day, at least 1. */
  readonly sessions: number;
  /** Mean requests of a session, at least 1. */
  readonly requests: number;
  /** Mean time from the page's start to its first request, in s. */
  readonly firstAfterS: number;
  /** Mean time between two requests, in s; exponential. */
  readonly gapS: number;
  /** Deadline of a request, in ms: a late one is answered all the same. */
  readonly deadlineMs: number;
  /** Name of the curve of a day. */
  readonly curve: string;
}

/** A fleet. */
export interface Fleet {
  readonly classes: Readonly<Record<string, DeviceClass>>;
  readonly growths: Readonly<Record<string, Growth>>;
  /** Relative starts of sessions by hour. */
  readonly curves: Readonly<Record<string, readonly number[]>>;
  /** Standard deviation of the logarithm of a device's line within its class, and of its factor. */
  readonly lineSpread: number;
  readonly factorSpread: number;
  /** Share of the line that a model's download gets, beside the page's own; and upload as a share of download. */
  readonly lineShare: number;
  readonly uploadShare: number;
  /** Relative difference between two runs. */
  readonly noise: number;
  /** Share of first sessions of a day without a stored version: new visitors, and those whose browser evicted it. */
  readonly newShare: number;
  /** Share of the others whose version was replaced since: 1 on the day of a release. */
  readonly staleShare: number;
  /** Bytes of an update as a share of the model's. */
  readonly updateShare: number;
  /** Busiest minute of an hour relative to its mean. */
  readonly burst: number;
  /** Mbit/s that a static file server sends. */
  readonly hostMbit: number;
  /** How much sooner a server must be, in ms: `remote.costMs` of the engine. */
  readonly costMs: number;
}

/** Defaults. */
export const FLEET: Fleet = {
  classes: {
    desktop: { share: 0.3, factor: 1, lanes: 2, lineMbit: 80, rttMs: 25 },
    "new phone": { share: 0.25, factor: 1.5, lanes: 2, lineMbit: 40, rttMs: 45 },
    "mid phone": { share: 0.3, factor: 4, lanes: 2, lineMbit: 15, rttMs: 60 },
    "old phone": { share: 0.1, factor: 12, lanes: 1, lineMbit: 5, rttMs: 100 },
    "can't run it": { share: 0.05, factor: null, lanes: 0, lineMbit: 15, rttMs: 60 },
  },
  growths: {
    "fraud checks": {
      ...{ counts: "requests", unit: "checks a day", sizes: [1e4, 1e5, 1e6, 1e7], model: "fashion-mlp" },
      ...{ activeShare: 1, sessions: 1.2, requests: 1.5, firstAfterS: 30, gapS: 20, deadlineMs: 300, curve: "shops" },
    },
    recommendations: {
      ...{ counts: "devices", unit: "users", sizes: [1e3, 1e4, 1e5, 1e6, 1e7, 5e7], model: "fashion-mlp" },
      ...{ activeShare: 0.3, sessions: 2, requests: 12, firstAfterS: 1, gapS: 15, deadlineMs: 200, curve: "evening" },
    },
    sensors: {
      ...{ counts: "devices", unit: "sensors", sizes: [1e2, 1e3, 1e4, 1e5, 1e6], model: "fashion-cnn" },
      ...{ activeShare: 1, sessions: 1, requests: 8_640, firstAfterS: 5, gapS: 10, deadlineMs: 1_000, curve: "flat" },
    },
    chat: {
      ...{ counts: "requests", unit: "queries a day", sizes: [1e2, 1e3, 1e4, 1e5, 1e6], model: "ocr-rec" },
      ...{ activeShare: 1, sessions: 1.5, requests: 6, firstAfterS: 8, gapS: 40, deadlineMs: 1_000, curve: "office" },
    },
  },
  curves: {
    flat: new Array<number>(24).fill(1),
    shops: [2, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 7, 8, 7, 7, 7, 7, 8, 9, 10, 10, 9, 6, 4],
    evening: [3, 2, 1, 1, 1, 1, 2, 4, 5, 5, 5, 6, 6, 6, 6, 6, 7, 8, 9, 10, 10, 9, 7, 5],
    office: [1, 1, 1, 1, 1, 1, 2, 4, 8, 10, 10, 9, 8, 9, 10, 9, 8, 6, 4, 3, 3, 3, 2, 1],
  },
  ...{ lineSpread: 0.6, factorSpread: 0.3, lineShare: 0.7, uploadShare: 0.25, noise: 0.2 },
  ...{ newShare: 0.15, staleShare: 1, updateShare: 1, burst: 1.3, hostMbit: 700, costMs: 100 },
};

type Json = null | number | string | boolean | readonly Json[] | { readonly [name: string]: Json };

/**
 * Returns a fleet with some of its values replaced; classes, growths and curves may be added, and are removed by null.
 * @throws TypeError that names what is unknown or wrong
 */
export function assume(fleet: Fleet, given: unknown): Fleet {
  const merged = merge(fleet as unknown as Json, given as Json, "") as unknown as Fleet;
  check(merged);
  return merged;
}

/**
 * Reads `path=value`, where a path is as `classes.desktop.share` and a value is JSON or text, as an object for `assume`.
 * @throws TypeError without a path and a value
 */
export function readSetting(text: string): object {
  const at = text.indexOf("=");
  if (at < 1) throw new TypeError(`--set: expected path=value, got "${text}"`);
  const written = text.slice(at + 1);
  let value: unknown = written;
  try {
    value = JSON.parse(written);
  } catch {
    // A text without quotes.
  }
  const parts = text.slice(0, at).split(".").reverse();
  return parts.reduce<unknown>((inner, part) => ({ [part]: inner }), value) as object;
}

/** Objects whose entries have names of the user's. */
const OPEN: ReadonlySet<string> = new Set(["classes", "growths", "curves"]);

function merge(base: Json, given: Json, path: string): Json {
  if (!isObject(base)) return given;
  if (!isObject(given)) throw new TypeError(`${path || "assumptions"}: expected an object, got ${show(given)}`);
  const out = new Map(Object.entries(base));
  for (const [name, value] of Object.entries(given)) {
    const own = path === "" ? name : `${path}.${name}`;
    const old = base[name];
    if (old === undefined && !OPEN.has(path))
      throw new TypeError(`${own}: unknown; known are ${Object.keys(base).join(", ")}`);
    if (value === null && OPEN.has(path)) out.delete(name);
    else out.set(name, old === undefined ? value : merge(old, value, own));
  }
  return Object.fromEntries(out);
}

function isObject(value: Json): value is { readonly [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}

/** Least and largest value by name; all others are numbers from 0. */
const BOUNDS: Readonly<Record<string, readonly [number, number]>> = {
  ...{ share: [0, 1], activeShare: [0, 1], newShare: [0, 1], staleShare: [0, 1], updateShare: [0, 1] },
  ...{ lineShare: [0.001, 1], uploadShare: [0.001, 1], lanes: [0, 64], lineMbit: [0.01, 1e6], factor: [0.001, 1e6] },
  ...{ sessions: [1, 100], requests: [1, 100_000], gapS: [0.001, 86_400], deadlineMs: [1, 1e9] },
  ...{ burst: [1, 100], hostMbit: [1, 1e6], noise: [0, 0.9], lineSpread: [0, 3], factorSpread: [0, 3] },
};
/** Those that are counts. */
const WHOLE: ReadonlySet<string> = new Set(["lanes"]);

function check({ classes, growths, curves, ...rest }: Fleet): void {
  for (const [name, value] of Object.entries(rest)) checkNumber(name, name, value);
  for (const [path, group] of Object.entries({ classes, growths }))
    for (const [name, own] of Object.entries(group))
      if (typeof own !== "object") throw new TypeError(`${path}.${name}: expected an object, got ${show(own)}`);
  for (const [name, own] of Object.entries(classes))
    for (const key of ["share", "factor", "lanes", "lineMbit", "rttMs"] as const)
      if (key !== "factor" || own.factor !== null) checkNumber(`classes.${name}.${key}`, key, own[key]);
  const sum = Object.values(classes).reduce((total, x) => total + x.share, 0);
  if (!(sum > 0)) throw new TypeError("classes: their shares must have a sum above 0");
  for (const [name, curve] of Object.entries(curves))
    if (!Array.isArray(curve) || curve.length !== 24 || !curve.every((x) => x >= 0) || !curve.some((x) => x > 0))
      throw new TypeError(`curves.${name}: expected 24 numbers from 0, not all 0, got ${show(curve)}`);
  for (const [name, own] of Object.entries(growths)) {
    for (const key of ["activeShare", "sessions", "requests", "firstAfterS", "gapS", "deadlineMs"] as const)
      checkNumber(`growths.${name}.${key}`, key, own[key]);
    if (own.counts !== "requests" && own.counts !== "devices")
      throw new TypeError(`growths.${name}.counts: expected "requests" or "devices", got ${show(own.counts)}`);
    for (const key of ["unit", "model", "curve"] as const)
      if (typeof own[key] !== "string" || own[key] === "")
        throw new TypeError(`growths.${name}.${key}: expected a name, got ${show(own[key])}`);
    if (!Array.isArray(own.sizes) || own.sizes.length === 0 || !own.sizes.every((x) => x >= 1 && x <= 1e12))
      throw new TypeError(`growths.${name}.sizes: expected numbers from 1, got ${show(own.sizes)}`);
    if (curves[own.curve] === undefined)
      throw new TypeError(`growths.${name}.curve: "${own.curve}" is none of ${Object.keys(curves).join(", ")}`);
  }
}

function checkNumber(path: string, name: string, value: unknown): void {
  const [least, most] = BOUNDS[name] ?? [0, 1e9];
  const isWhole = WHOLE.has(name);
  if (typeof value === "number" && value >= least && value <= most && (!isWhole || Number.isInteger(value))) return;
  const kind = isWhole ? "a whole number" : "a number";
  throw new TypeError(`${path}: expected ${kind} from ${least} to ${most}, got ${show(value)}`);
}
