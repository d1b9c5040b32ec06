// Settings that a replay can change: the options of `createEngine` and `load`, by their names, and the lanes.
import type { LaneView, Step } from "../schedule/events.ts";
import type { SavedScheduler } from "../schedule/scheduler.ts";

/** Changed settings. */
export interface Change {
  readonly maxQueueDelayMs?: number;
  readonly maxBatchSize?: number;
  readonly preferredBatchSizes?: readonly number[];
  readonly concurrency?: number;
  readonly agingMs?: number;
  readonly maxSize?: number;
  /** Number of lanes besides the express lane and the wide one, on the backend that has most. */
  readonly lanes?: number;
  /** Number of express lanes: 0 or 1. */
  readonly express?: number;
}

/** Each setting with its minimum, its maximum and a description. */
export const SETTINGS: Readonly<Record<keyof Change, readonly [min: number, max: number, what: string]>> = {
  maxQueueDelayMs: [0, 10_000, "maximum wait of a request on a free lane for others to join"],
  maxBatchSize: [1, 1_024, "maximum rows per batch"],
  preferredBatchSizes: [1, 1_024, "preferred batch sizes, as 4,8"],
  concurrency: [1, 64, "lanes on which a model may run at once"],
  agingMs: [1, 3_600_000, "wait after which a request gains one priority"],
  maxSize: [1, 1_000_000, "maximum queue depth"],
  lanes: [1, 64, "lanes besides the express lane and the wide one"],
  express: [0, 1, "express lanes"],
};

/**
 * Parses arguments such as `maxQueueDelayMs=4`.
 * @throws TypeError or RangeError that names the argument
 */
export function parseChange(words: readonly string[]): Change {
  const change: Record<string, number | readonly number[]> = {};
  for (const word of words) {
    const [, name = "", text = ""] = /^(\w+)=(.+)$/.exec(word) ?? [];
    if (name === "") throw new TypeError(`set: expected NAME=VALUE, got "${word}"`);
    if (!Object.hasOwn(SETTINGS, name))
      throw new TypeError(`set: unknown setting "${name}"; choose from ${Object.keys(SETTINGS).join(", ")}`);
    const [min, max] = SETTINGS[name as keyof Change];
    const isWhole = name !== "maxQueueDelayMs";
    const values = text.split(",").map((part) => {
      const value = part.trim() === "" ? Number.NaN : Number(part);
      if (!(value >= min && value <= max) || (isWhole && !Number.isInteger(value)))
        throw new RangeError(
          `set: ${name} must be ${isWhole ? "a whole number" : "a number"} from ${min} to ${max}, got "${part}"`,
        );
      return value;
    });
    if (name !== "preferredBatchSizes" && values.length > 1)
      throw new TypeError(`set: ${name} takes one number, got "${text}"`);
    change[name] = name === "preferredBatchSizes" ? values : (values[0] as number);
  }
  return change;
}

/** Returns a step with the changed settings. */
export function changeStep(step: Step, change: Change): Step {
  const { maxBatchSize, maxQueueDelayMs, preferredBatchSizes } = step.batching;
  return {
    ...step,
    concurrency: change.concurrency ?? step.concurrency,
    batching: {
      maxBatchSize: change.maxBatchSize ?? maxBatchSize,
      maxQueueDelayMs: change.maxQueueDelayMs ?? maxQueueDelayMs,
      preferredBatchSizes: change.preferredBatchSizes ?? preferredBatchSizes,
    },
  };
}

/** Returns the lanes with the changed settings, all open, with the models that they held. */
export function changeLanes(seen: readonly LaneView[], { lanes, express }: Change): LaneView[] {
  const usual = seen.filter((lane) => lane.kind === "usual");
  const counts = new Map<string, number>();
  for (const { backend } of usual) counts.set(backend, (counts.get(backend) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [""];
  const own = usual.filter((lane) => lane.backend === most);
  const count = lanes ?? own.length;
  const kept = own.slice(0, count);
  for (let i = own.length; i < count; i += 1) kept.push({ ...(own[0] as LaneView), id: `${most}-${i}-more` });
  const rest = seen.filter((lane) => lane.kind === "wide" || (lane.kind === "express" && express !== 0));
  if (express === 1 && own[0] !== undefined && !rest.some((lane) => lane.kind === "express"))
    rest.push({ ...own[0], id: "express", kind: "express" });
  return [...usual.filter((lane) => lane.backend !== most), ...kept, ...rest].map((lane) => ({
    ...lane,
    isOpen: true,
  }));
}

/** Returns the scheduler's state with the changed settings, without batches on lanes that no longer exist. */
export function changeSaved(saved: SavedScheduler, lanes: readonly LaneView[], change: Change): SavedScheduler {
  const { settings, queue, batches } = saved;
  const ids = new Set(lanes.map(({ id }) => id));
  return {
    ...saved,
    settings: {
      ...settings,
      agingMs: change.agingMs ?? settings.agingMs,
      maxSize: change.maxSize ?? settings.maxSize,
    },
    queue: {
      ...queue,
      groups: queue.groups.map((group) => ({
        ...group,
        steps: group.steps.map(([step, ...latestMs]) => [changeStep(step, change), ...latestMs] as const),
      })),
    },
    batches: new Map([...batches].filter(([lane]) => ids.has(lane))),
  };
}
