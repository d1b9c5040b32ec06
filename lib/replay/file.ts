// Parser of traces. A trace may come from a stranger's bug report, so every value is validated before it reaches the
// scheduler. Errors name the place of the fault.
import * as v from "valibot";
import type { RecordedEvent } from "../observe/trace.ts";
import { read } from "../observe/trace-json.ts";
import type { Json } from "../observe/trace-json.ts";
import { parseEstimate } from "../schedule/cost-estimate.ts";
import type { SavedScheduler } from "../schedule/scheduler.ts";

/** A parsed trace. */
export interface TraceFile {
  readonly startMs: number;
  readonly endMs: number;
  /** Whether the record ended early. */
  readonly isCut: boolean;
  readonly models: ReadonlyMap<number, { readonly name: string; readonly variant: string }>;
  readonly saved: SavedScheduler;
  readonly told: readonly RecordedEvent[];
}

const SCHEMAS = ["selvedge/trace@1", "selvedge/trace@2", "selvedge/trace@3"] as const;
/** Keys that versions 1 and 2 have, with their names since. */
const RENAMED: Readonly<Record<string, string>> = { place: "route", places: "routes" };
const MAX_EVENTS = 1_000_000;
const ms = v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(1e12));
/** A time in the future; it may be Infinity. */
const due = v.pipe(v.number(), v.minValue(-1e12));
const cost = v.pipe(v.number(), v.minValue(0));
const id = v.pipe(v.number(), v.safeInteger());
const word = v.pipe(v.string(), v.maxLength(1_000));
const rows = v.pipe(id, v.minValue(1), v.maxValue(2 ** 20));

const route = v.looseObject({ backend: word, modelId: id, key: word });
const batching = v.looseObject({
  maxBatchSize: rows,
  maxQueueDelayMs: ms,
  preferredBatchSizes: v.pipe(v.array(rows), v.maxLength(1_024)),
});
const step = v.looseObject({
  id,
  routes: v.pipe(v.tupleWithRest([route], route), v.maxLength(16)),
  priority: v.pipe(id, v.minValue(0), v.maxValue(2)),
  arrivedMs: ms,
  dueMs: due,
  isRefusable: v.boolean(),
  caller: id,
  rows,
  shape: v.nullable(v.pipe(v.string(), v.maxLength(10_000))),
  batching,
  concurrency: v.pipe(v.number(), v.minValue(1)),
  preempt: v.boolean(),
  state: v.optional(v.looseObject({ id, after: id })),
});
const event = v.variant("type", [
  v.looseObject({ type: v.literal("arrived"), step, isAgain: v.boolean() }),
  v.looseObject({ type: v.literal("cancelled"), id }),
  v.looseObject({ type: v.literal("ended"), lane: word, batch: id, ms: v.nullable(cost) }),
  v.looseObject({ type: v.literal("loaded"), modelId: id, ms: cost, lane: v.optional(word) }),
  v.looseObject({ type: v.literal("measured"), key: word, ms: cost, endpoint: v.nullish(v.string()) }),
  v.looseObject({
    type: v.literal("unavailable"),
    lane: word,
    modelId: v.nullable(id),
    untilMs: v.nullable(due),
  }),
  v.looseObject({ type: v.literal("tick") }),
]);
const lane = v.pipe(
  v.looseObject({
    id: word,
    backend: word,
    kind: v.optional(v.picklist(["usual", "express", "wide"])),
    isExpress: v.optional(v.boolean()),
    endpoint: v.nullish(v.string()),
    isOpen: v.boolean(),
    held: v.map(id, v.looseObject({ states: v.map(id, id) })),
  }),
  // Schema version 1 had two kinds of lane.
  v.transform(({ kind, isExpress, ...rest }) => ({
    ...rest,
    kind: kind ?? (isExpress === true ? "express" : "usual"),
  })),
);
/** Decisions are only compared, and searched for starts. */
const decision = v.variant("type", [
  v.looseObject({ type: v.literal("start"), batch: id, lane: word, route, ids: v.array(id), ms: cost }),
  v.looseObject({ type: v.literal("reject"), id, code: v.picklist(["deadline-exceeded", "overloaded"]) }),
  v.looseObject({ type: v.literal("withdraw"), lane: word, batch: id, ids: v.array(id) }),
  v.looseObject({ type: v.literal("warm"), lane: word, id, route }),
  v.looseObject({ type: v.literal("end"), lane: word }),
]);
const batch = v.looseObject({
  id,
  route,
  key: word,
  rows,
  shape: v.optional(v.nullable(v.pipe(v.string(), v.maxLength(10_000)))),
  ms: cost,
  startMs: v.pipe(v.number(), v.finite()),
  ids: v.optional(v.array(id)),
  steps: v.optional(v.array(step), []),
  preempt: v.boolean(),
  isLoading: v.optional(v.boolean()),
  isTrial: v.optional(v.boolean()),
  serverMs: v.optional(v.number()),
});
const group = v.pipe(
  v.looseObject({
    servedMs: v.pipe(v.number(), v.finite()),
    usedMs: v.pipe(v.number(), v.finite()),
    level: v.optional(v.pipe(id, v.minValue(-1), v.maxValue(2))),
    costsMs: v.optional(v.pipe(v.array(v.pipe(v.number(), v.finite())), v.length(3))),
    home: v.optional(v.string(), ""),
    restsMs: v.optional(v.pipe(v.number(), v.finite())),
    steps: v.array(v.tupleWithRest([step], due)),
  }),
  // Older versions wrote no level, and of a step neither its latest start nor its cost.
  v.transform(({ level, steps, ...rest }) => ({
    ...rest,
    level: level ?? steps[0]?.[0].priority ?? 0,
    steps: steps.map(([each, latestMs = Infinity, costMs = 0]) => [each, latestMs, costMs] as const),
  })),
);
/** Estimates in traces of older versions; they are learned again. */
const cells = v.array(v.tuple([word, v.pipe(v.array(v.nullable(v.tuple([cost, v.boolean()]))), v.maxLength(64))]));
const live = v.map(word, v.looseObject({ route, lengthMs: due, untilMs: v.pipe(v.number(), v.finite()) }));
/** Older traces have the shortest of all live deadlines alone. */
const shortest = v.pipe(
  v.looseObject({ ms: cost, key: word, untilMs: v.pipe(v.number(), v.finite()) }),
  v.transform(({ ms, key, untilMs }) => {
    return new Map([[key, { route: { backend: "wasm", modelId: -1, key }, lengthMs: ms, untilMs }]]);
  }),
);
const saved = v.looseObject({
  settings: v.pipe(
    v.looseObject({}),
    // Traces of 0.1.0 name the first one ageingMs.
    v.transform(({ ageingMs, ...others }) => (ageingMs === undefined ? others : { agingMs: ageingMs, ...others })),
    v.looseObject({ agingMs: v.pipe(v.number(), v.finite(), v.minValue(1)), maxSize: rows }),
  ),
  estimate: v.pipe(
    v.string(),
    v.check((text) => isEstimate(text), "not an estimate"),
  ),
  runs: id,
  queue: v.looseObject({ usedMs: v.pipe(v.number(), v.finite()), groups: v.array(group) }),
  batches: v.map(word, v.array(batch)),
  notedMs: v.map(word, v.pipe(v.number(), v.finite())),
  arrived: v.optional(v.map(word, id)),
  used: v.optional(v.map(word, id)),
  loadMs: v.map(id, cost),
  wastedMs: v.map(id, cost),
  nextBatch: id,
  alone: v.optional(id, 0),
  vain: v.optional(v.map(word, id)),
  owedMs: v.optional(v.pipe(v.number(), v.finite()), 0),
  bars: v.optional(v.map(word, v.looseObject({ untilMs: due, ms: cost }))),
  short: v.union([live, shortest]),
  wakeMs: due,
});
const file = v.looseObject({
  schema: v.picklist(SCHEMAS),
  startMs: ms,
  endMs: ms,
  isCut: v.boolean(),
  about: v.looseObject({ models: v.map(id, v.looseObject({ name: v.string(), variant: v.string() })) }),
  saved,
  lanes: v.array(v.pipe(v.array(lane), v.maxLength(1_000))),
  told: v.pipe(v.array(v.tuple([ms, event, id, v.array(decision)])), v.maxLength(MAX_EVENTS)),
});

/**
 * Parses the text of a trace.
 * @throws TypeError that names the fault and its place
 */
export function readTrace(text: string): TraceFile {
  const written = partOf(text);
  let value: unknown;
  try {
    value = read(written);
  } catch (error) {
    throw new TypeError(`its part "selvedge" can't be read: ${error instanceof Error ? error.message : ""}`);
  }
  const schema = (value as { readonly schema?: unknown }).schema;
  if (!v.is(v.picklist(SCHEMAS), schema))
    throw new TypeError(`its schema is ${JSON.stringify(schema)}, and this version reads ${SCHEMAS.join(", ")}`);
  const current = schema === "selvedge/trace@3" ? value : renameKeys(value);
  const result = v.safeParse(file, current, { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    throw new TypeError(`selvedge.${v.getDotPath(issue) ?? ""}: ${issue.message}`);
  }
  const { startMs, endMs, isCut, about, lanes } = result.output;
  let beforeMs = startMs;
  const told = result.output.told.map(([now, event, index, decisions], i) => {
    const seen = lanes[index];
    if (seen === undefined) throw new TypeError(`selvedge.told.${i}: there are no lanes ${index}`);
    if (now < beforeMs) throw new TypeError(`selvedge.told.${i}: its time is earlier than that of the previous event`);
    beforeMs = now;
    return { now, event, lanes: seen, decisions };
  });
  return {
    ...{ startMs, endMs, isCut, models: about.models },
    saved: result.output.saved,
    told: told as unknown as readonly RecordedEvent[],
  };
}

/** Returns a value of an older version with the names of this one. */
function renameKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(renameKeys);
  if (value instanceof Map) return new Map([...value].map(([key, each]) => [key, renameKeys(each)]));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [RENAMED[key] ?? key, renameKeys(each)]));
}

/** Returns Selvedge's part of the file. */
function partOf(text: string): Json {
  let trace: unknown;
  try {
    trace = JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : "";
    throw new TypeError(`not a JSON file, or a truncated one: ${why}`);
  }
  const part =
    typeof trace === "object" && trace !== null ? (trace as { readonly selvedge?: Json }).selvedge : undefined;
  if (typeof part !== "object" || part === null || Array.isArray(part))
    throw new TypeError('the part "selvedge" is missing: the file is not from engine.trace(), or was edited');
  return part;
}

function isEstimate(text: string): boolean {
  try {
    return parseEstimate(text) !== null || v.is(cells, JSON.parse(text));
  } catch {
    return false;
  }
}
