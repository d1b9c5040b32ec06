// Records a trace of an engine, from the events that its prelude has buffered on. Imported by `engine.trace`.
import { show } from "../core/check-inputs.ts";
import type { DeviceFacts } from "../core/device.ts";
import type { EngineStats } from "./engine-stats.ts";
import type { LoadHost } from "./load-plan.ts";
import type { Prelude } from "../observe/prelude.ts";
import { record } from "../observe/recorder.ts";
import type { RecordedEngine } from "../observe/recorder.ts";
import type { Trace } from "../observe/trace.ts";
import { checkOptions, range, truth } from "./check-options.ts";
import type { TraceOptions } from "./options.ts";

/** Parts of an engine that a trace describes. */
export interface Traced {
  readonly host: LoadHost;
  readonly device: DeviceFacts;
  readonly stats: () => EngineStats;
}

/**
 * Records for the time of the options.
 * @throws TypeError or RangeError for a wrong option
 */
export function recordTrace(
  { host, device, stats }: Traced,
  options: TraceOptions,
  prelude: Prelude,
  { watch, inputsOf }: Pick<RecordedEngine, "watch" | "inputsOf">,
): Promise<Trace> {
  checkTraceOptions(options);
  const { effects, executor, closed: signal } = host;
  const { now, setTimer, wallClock } = effects;
  const about: RecordedEngine["about"] = () => {
    return { device, models: new Map(executor.models), stats: stats(), wallClock: wallClock() };
  };
  return record({ now, setTimer, signal, watch, inputsOf, about }, prelude, 1_000 * options.seconds);
}

/** Checks the options of `engine.trace`. */
function checkTraceOptions(options: TraceOptions): void {
  if (typeof options !== "object" || (options as unknown) === null || typeof options.seconds !== "number")
    throw new TypeError(`trace: expected { seconds }, got ${show(options)}`);
  checkOptions("trace", options, { seconds: range(0.1, 600), inputs: truth });
}
