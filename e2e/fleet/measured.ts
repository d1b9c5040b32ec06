// Measured facts of a fleet: the time of a run in a browser, from the newest committed rows of e2e/results; bytes of
// models and rates of servers, from calibration.json, which `npm run fleet -- --calibrate` writes.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../support/prepare.ts";

/** Facts of a model for a fleet. */
export interface ModelFacts {
  /** Time of a run of one row on one thread, in ms. */
  readonly runMs: number;
  /** Time from the start of a page to its first answer where the model is stored, in ms. */
  readonly loadMs: number;
  /** Bytes that a device fetches. */
  readonly wireBytes: number;
  /** Bytes of a request. */
  readonly inputBytes: number;
  /** Time of a request on the server at the rate that it holds, median, in ms. */
  readonly serverMs: number;
  /** Requests a second of one server whose 99th percentile is within the bound. */
  readonly ratePerS: number;
}

/** Measured rate of a server. */
export interface Rate {
  readonly engine: string;
  readonly model: string;
  readonly variant: string;
  /** Bound of the 99th percentile, in ms. */
  readonly p99Ms: number;
  readonly ratePerS: number;
  /**
   * How the rate was found: by the 99th percentile itself, or, beside other work, by the processor time of a request at an
   * assumed share of saturation.
   */
  readonly by: "p99" | "processor time";
  /** Median at that rate, or of one request after the other. */
  readonly medianMs: number;
  readonly version: string;
  readonly date: string;
  readonly machine: string;
  /** Load average of the machine before. */
  readonly load: number;
}

/** Returns a rate as a sentence. */
export function rateLine({ engine, version, model, variant, ratePerS, p99Ms, by, machine, date, load }: Rate): string {
  const how =
    by === "p99"
      ? `with the 99th percentile within ${p99Ms} ms`
      : `at 70 % of saturation by the processor time of a request, beside other work (load average ${load}): to be repeated on a quiet machine by the 99th percentile`;
  return `${engine} ${version}, ${model} ${variant}: ${ratePerS} requests/s ${how} (${machine}, ${date.slice(0, 10)})`;
}

/** Contents of calibration.json. */
export interface Calibration {
  readonly note: string;
  readonly models: Readonly<Record<string, { readonly variant: string; wireBytes: number; inputBytes: number }>>;
  readonly rates: readonly Rate[];
}

/** Load average up to which a machine counts as quiet. */
export const QUIET_LOAD: number = 0.3;

/** Path of calibration.json. */
export const CALIBRATION_PATH: string = join(ROOT, "e2e/fleet/calibration.json");

/** Reads calibration.json; one without models where there is none. */
export function readCalibration(): Calibration {
  if (!existsSync(CALIBRATION_PATH)) return { note: "", models: {}, rates: [] };
  return JSON.parse(readFileSync(CALIBRATION_PATH, "utf8")) as Calibration;
}

interface ResultRow {
  readonly case: string;
  readonly subject: string;
  readonly browser: string;
  readonly value: number;
  readonly date: string;
}

/** A measured value and where it is from. */
export interface Sourced {
  readonly value: number;
  readonly source: string;
}

/** Returns the newest row of Chromium. @throws Error where there is none */
function newest(scenario: string, name: string, subject: string): Sourced {
  const lines = readFileSync(join(ROOT, `e2e/results/${scenario}.jsonl`), "utf8")
    .trim()
    .split("\n");
  const rows = lines
    .map((line) => JSON.parse(line) as ResultRow)
    .filter((x) => x.case === name && x.subject === subject && x.browser.startsWith("chromium"))
    .sort((a, b) => (a.date < b.date ? 1 : -1));
  const [row] = rows;
  if (row === undefined) throw new Error(`e2e/results/${scenario}.jsonl has no row "${name}" of "${subject}"`);
  return { value: row.value, source: `bench -- ${scenario}, ${row.date.slice(0, 10)}` };
}

/** Returns the time of a run of one row of a model on one thread of a browser. @throws Error where it is not measured */
export function runTime(model: string): Sourced {
  return newest("scheduling", `SingleStream, ${model}, beside no scheduler`, "a lane alone");
}

/** Returns the time from a page's start to the first answer with a stored model. */
export function loadTime(): Sourced {
  return newest("delivery", "first result, been here before", "selvedge, as shipped");
}

/**
 * Returns the facts of a model, with the rate of a server's engine.
 * @throws Error where one is not measured
 */
export function factsOf(model: string, engine: string, calibration: Calibration): ModelFacts {
  const own = calibration.models[model];
  const rate = calibration.rates.find((x) => x.model === model && x.engine === engine);
  if (own === undefined || rate === undefined)
    throw new Error(`no rate of ${engine} with ${model} is measured: npm run fleet -- --calibrate`);
  return {
    ...{ runMs: runTime(model).value, loadMs: loadTime().value },
    ...{ wireBytes: own.wireBytes, inputBytes: own.inputBytes },
    ...{ serverMs: rate.medianMs, ratePerS: rate.ratePerS },
  };
}
