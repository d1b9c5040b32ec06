// Takes down what the scheduler is told until the time is over, the engine is closed, or it becomes too long, and makes
// a trace of it. Loaded when a trace is asked for: most pages never do.
import type { LaneView } from "../schedule/protocol.ts";
import type { Scheduler, SavedScheduler } from "../schedule/scheduler.ts";
import { toTrace } from "./trace.ts";
import type { About, Told, Trace } from "./trace.ts";
import type { Json } from "./written.ts";

/** What a recorder needs of an engine. */
export interface Source {
  readonly now: () => number;
  readonly setTimer: (callback: () => void, ms: number) => () => void;
  /** Ends the record early. */
  readonly signal: AbortSignal;
  readonly watch: (watcher: NonNullable<Scheduler["onEvent"]>) => {
    readonly saved: SavedScheduler;
    readonly stop: () => void;
  };
  /** Gives the inputs of a request as JSON; null where they are not to be recorded. */
  readonly inputsOf: ((id: number) => Json) | null;
  readonly about: () => About;
}

/** So many events are some hundred megabytes of JSON: more helps nobody. */
const MAX_EVENTS = 500_000;

/** Records for so many ms. */
export function record(source: Source, ms: number): Promise<Trace> {
  const { now, setTimer, signal, watch, inputsOf, about } = source;
  return new Promise<Trace>((resolve) => {
    const told: Told[] = [];
    const inputs = new Map<number, Json>();
    const startMs = now();
    let lanesThen: { readonly key: string; readonly views: readonly LaneView[] } = { key: "", views: [] };
    const { saved, stop } = watch((event, at, lanes, decisions) => {
      const key = keyOf(lanes);
      if (key !== lanesThen.key) lanesThen = { key, views: copyOf(lanes) };
      told.push({ event, now: at, lanes: lanesThen.views, decisions });
      if (inputsOf !== null && event.type === "arrived" && !event.isAgain)
        inputs.set(event.step.id, inputsOf(event.step.id));
      if (told.length >= MAX_EVENTS) finish();
    });
    const cancelTimer = setTimer(finish, ms);
    signal.addEventListener("abort", finish, { once: true });

    function finish(): void {
      stop();
      cancelTimer();
      signal.removeEventListener("abort", finish);
      const isCut = told.length >= MAX_EVENTS;
      const recording = { saved, startMs, endMs: now(), isCut, told, inputs };
      resolve(Promise.resolve().then(() => toTrace(recording, about())));
    }
  });
}

/** Tells views of lanes apart. */
function keyOf(lanes: readonly LaneView[]): string {
  let key = "";
  for (const { id, isOpen, held } of lanes) {
    key += `${id} ${isOpen}`;
    for (const [modelId, { states }] of held) {
      key += ` ${modelId}`;
      for (const [state, mark] of states) key += `:${state}=${mark}`;
    }
    key += ";";
  }
  return key;
}

/** Copies what the scheduler sees of lanes, which change. */
function copyOf(lanes: readonly LaneView[]): LaneView[] {
  return lanes.map(({ id, backend, kind, isOpen, held }) => ({
    id,
    backend,
    kind,
    isOpen,
    held: new Map([...held].map(([modelId, { states }]) => [modelId, { states: new Map(states) }])),
  }));
}

/** What a request was given, as it comes to a lane. */
type Given =
  | {
      readonly kind: "tensor";
      readonly tensor: { readonly dtype: string; readonly dims: readonly number[]; readonly data: unknown };
    }
  | { readonly kind: "text"; readonly texts: readonly string[] }
  | { readonly kind: "image" };

/** Writes inputs as JSON: tensors with their bytes in base64, texts as they are, of images only that there was one. */
export function inputsOf(feeds: Readonly<Record<string, Given>>): Json {
  const written: Record<string, Json> = {};
  for (const [name, value] of Object.entries(feeds)) written[name] = inputOf(value);
  return written;
}

function inputOf(value: Given): Json {
  if (value.kind === "image") return { kind: "image" };
  if (value.kind === "text") return { kind: "text", texts: value.texts };
  const { dtype, dims, data } = value.tensor;
  if (Array.isArray(data)) return { kind: "tensor", dtype, dims, data: data as string[] };
  const { buffer, byteOffset, byteLength } = data as Uint8Array;
  return { kind: "tensor", dtype, dims, base64: base64(new Uint8Array(buffer, byteOffset, byteLength)) };
}

function base64(bytes: Uint8Array): string {
  let text = "";
  // In parts: a call takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  return btoa(text);
}
