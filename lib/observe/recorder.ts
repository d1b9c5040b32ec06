// Records the scheduler's events until the time is over, the engine is closed or the record becomes too long, and makes
// a trace of them. Loaded on demand: most pages never record.
import type { Tensor } from "../core/tensor.ts";
import type { LaneView } from "../schedule/events.ts";
import { copyOf } from "./prelude.ts";
import type { Early, LaneInputs, Prelude, Watch } from "./prelude.ts";
import { toTrace } from "./trace.ts";
import type { About, RecordedEvent, Trace } from "./trace.ts";
import type { Json } from "./trace-json.ts";

/** Parts of an engine that a recorder needs. */
export interface RecordedEngine {
  readonly now: () => number;
  readonly setTimer: (callback: () => void, ms: number) => () => void;
  /** Ends the record early. */
  readonly signal: AbortSignal;
  readonly watch: Watch;
  /** Returns the inputs of a request; null if inputs are not to be recorded. */
  readonly inputsOf: ((id: number) => LaneInputs | undefined) | null;
  readonly about: () => About;
}

/** This many events are several hundred megabytes of JSON; a larger trace is of no use. */
const MAX_EVENTS = 500_000;

/** Records for `ms` from the start of the prelude, whose events come first. */
export function record(source: RecordedEngine, prelude: Prelude, ms: number): Promise<Trace> {
  const { now, setTimer, signal, watch, inputsOf, about } = source;
  const { startMs, saved } = prelude;
  return new Promise<Trace>((resolve) => {
    const told: RecordedEvent[] = [];
    const inputs = new Map<number, Json>();
    let lanesThen: { readonly key: string; readonly views: readonly LaneView[] } = { key: "", views: [] };
    const note = ({ event, now, lanes, decisions, inputs: given }: Early, isCopy: boolean): void => {
      const key = keyOf(lanes);
      if (key !== lanesThen.key) lanesThen = { key, views: isCopy ? lanes : copyOf(lanes) };
      told.push({ event, now, lanes: lanesThen.views, decisions });
      if (given !== undefined && event.type === "arrived" && !event.isAgain)
        inputs.set(event.step.id, writeInputs(given));
    };
    for (const each of prelude.events) note(each, true);
    prelude.stop();
    const { stop } = watch((event, now, lanes, decisions) => {
      const given = event.type === "arrived" ? inputsOf?.(event.step.id) : undefined;
      note({ event, now, lanes, decisions, inputs: given }, false);
      if (told.length >= MAX_EVENTS) finish();
    });
    const cancelTimer = setTimer(finish, startMs + ms - now());
    signal.addEventListener("abort", finish, { once: true });
    if (signal.aborted) finish(); // closed while this was loaded

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

/** Key of a view of the lanes: equal views have equal keys. */
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

/** Writes inputs as JSON: tensors with their bytes in base64, strings unchanged; of an image only its presence. */
function writeInputs({ tensors, others }: LaneInputs): Json {
  const written: Record<string, Json> = {};
  for (const [name, value] of Object.entries(others ?? {}))
    written[name] = value.kind === "text" ? { kind: "text", texts: value.texts } : { kind: value.kind };
  for (const [name, tensor] of Object.entries(tensors)) written[name] = writeTensor(tensor);
  return written;
}

function writeTensor({ dtype, dims, data }: Tensor): Json {
  if (Array.isArray(data)) return { kind: "tensor", dtype, dims, data: data };
  const { buffer, byteOffset, byteLength } = data as Uint8Array;
  return { kind: "tensor", dtype, dims, base64: base64(new Uint8Array(buffer, byteOffset, byteLength)) };
}

function base64(bytes: Uint8Array): string {
  let text = "";
  // In slices: the number of arguments of a call is limited.
  for (let at = 0; at < bytes.length; at += 8_192) text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  return btoa(text);
}
