// Worlds: each a device, its faults, and the properties that hold nevertheless. A world is a seed's draw of costs and
// times within one scenario; its mutants (e2e/mutants/worlds.ts) restore the faults that it was made for.
import { createHash } from "node:crypto";
import { isOnTime, Scene } from "./scene.ts";
import type { WorldPlan } from "./scene.ts";
import { CLOCKS } from "./worlds/clocks.ts";
import { DEADLINES } from "./worlds/deadlines.ts";
import { LANES } from "./worlds/lanes.ts";
import { LOADS } from "./worlds/loads.ts";
import { PLACES } from "./worlds/places.ts";
import { RESULTS } from "./worlds/results.ts";
import { SERVERS } from "./worlds/servers.ts";

/** Result of a world. */
export interface Told {
  readonly world: string;
  readonly seed: number;
  readonly broken: readonly string[];
  /** Requests that a healthy lane could answer in time, and how many of them were. */
  readonly possible: number;
  readonly answered: number;
}

/** Minimum share of possible requests that are answered: with less, or none possible, a world tests nothing. */
const ANSWERED_MIN = 0.6;

/** All worlds. */
export const WORLDS: readonly WorldPlan[] = [
  ...DEADLINES,
  ...CLOCKS,
  ...LANES,
  ...PLACES,
  ...LOADS,
  ...RESULTS,
  ...SERVERS,
];

/** Plays a world from a seed. Hashes are computed synchronously meanwhile: the browser's hash takes real time. */
export async function playWorld(
  plan: WorldPlan,
  seed: number,
  log: ((line: string) => void) | null = null,
): Promise<Told> {
  const { subtle } = crypto;
  const { digest } = subtle;
  subtle.digest = (_, data) => {
    const bytes = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data);
    return Promise.resolve(new Uint8Array(createHash("sha256").update(bytes).digest()).buffer);
  };
  try {
    return await play(plan, seed, log);
  } finally {
    subtle.digest = digest;
  }
}

async function play(plan: WorldPlan, seed: number, log: ((line: string) => void) | null = null): Promise<Told> {
  const scene = new Scene(seed, plan.device(new Scene(seed, {}, null).random), log);
  await plan.play(scene);
  await scene.settle();
  await scene.pass(1_000);
  scene.broken.push(...scene.leaked());
  const asked = scene.calls.filter(({ isPossible }) => isPossible);
  const possible = scene.possible + asked.length;
  const answered = scene.answered + asked.filter(isOnTime).length;
  const broken = [...new Set(scene.broken)];
  if (possible === 0 || answered < ANSWERED_MIN * possible) broken.push(`void: ${answered} of ${possible} answered`);
  await scene.close();
  const left = scene.workers().length;
  if (left > 0) broken.push(`${left} workers were leaked`);
  return { world: plan.name, seed, broken, possible, answered };
}
