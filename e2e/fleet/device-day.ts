// A day of one device: its sessions, and each request's lane by the real scheduler (lib/schedule, driven as in the
// simulation), with this device's lanes and two lanes to a server. The engine's rule of a load with `placement` "auto" is
// kept: until the weights have come and are loaded, a request has no route to this device.
import { drive } from "../../lib/test-support/simulate/drive.ts";
import type { Job, Workload } from "../../lib/test-support/simulate/workload.ts";
import type { Random } from "../../lib/test-support/random.ts";
import type { DeviceClass, Fleet, Growth } from "./assumptions.ts";
import type { ModelFacts } from "./measured.ts";

/** Hours of a day. */
export const HOURS = 24;

/** A device's day, by the hour. */
export interface Day {
  readonly requests: Float64Array;
  /** Requests that a server answered. */
  readonly remote: Float64Array;
  readonly downloadBytes: Float64Array;
  /** Requests that were answered after their deadline. */
  late: number;
}

const HOUR_MS = 3_600_000;
/** Lanes per server, as in the engine. */
const REMOTE_LANES = 2;
/**
 * Requests of a session that are scheduled after the model has come; the last half of them stands for the rest of a
 * longer session, since nothing changes any more.
 */
const SETTLED = 200;
/** Requests of a session that are scheduled at most: where a download takes longer, the rest is that session's end. */
const SCHEDULED_MAX = 20_000;

/** Draws a device of a class and plays its day. */
export function playDay(fleet: Fleet, growth: Growth, own: DeviceClass, model: ModelFacts, random: Random): Day {
  const day: Day = {
    requests: new Float64Array(HOURS),
    remote: new Float64Array(HOURS),
    downloadBytes: new Float64Array(HOURS),
    late: 0,
  };
  const lineMbit = own.lineMbit * Math.exp(fleet.lineSpread * normal(random));
  const factor = (own.factor ?? Infinity) * Math.exp(fleet.factorSpread * normal(random));
  const bytesPerMs = (lineMbit * fleet.lineShare * 1e6) / 8 / 1_000;
  let leftBytes = leftOf(fleet, model, random);
  for (const startMs of startsOf(fleet, growth, random)) {
    const atMs = timesOf(growth, random);
    const loadMs = model.loadMs * factor;
    const readyMs = leftBytes / bytesPerMs + loadMs;
    const spentMs = (atMs.at(-1) ?? 0) + growth.gapS * 1_000;
    if (factor < Infinity && leftBytes > 0) {
      const gotBytes = Math.min(leftBytes, spentMs * bytesPerMs);
      spread(day.downloadBytes, startMs, gotBytes / bytesPerMs, gotBytes);
      leftBytes -= gotBytes;
    }
    const noted = (ms: number, isRemote: boolean): void => {
      const hour = hourOf(startMs + ms);
      day.requests[hour] = (day.requests[hour] ?? 0) + 1;
      if (isRemote) day.remote[hour] = (day.remote[hour] ?? 0) + 1;
    };
    const remoteMs = own.rttMs + (model.inputBytes * 8) / (lineMbit * fleet.uploadShare * 1_000) + model.serverMs;
    if (factor === Infinity) {
      for (const ms of atMs) noted(ms, true);
      if (remoteMs > growth.deadlineMs) day.late += atMs.length;
    } else {
      const sessions = { fleet, growth, lanes: own.lanes, runMs: model.runMs * factor, remoteMs, readyMs };
      day.late += playSession(sessions, atMs, random.below(2 ** 31), noted);
    }
  }
  return day;
}

/** Returns the bytes that a device's first session of the day has to fetch. */
function leftOf(fleet: Fleet, { wireBytes }: ModelFacts, random: Random): number {
  if (random.chance(fleet.newShare)) return wireBytes;
  return random.chance(fleet.staleShare) ? fleet.updateShare * wireBytes : 0;
}

interface Session {
  readonly fleet: Fleet;
  readonly growth: Growth;
  readonly lanes: number;
  readonly runMs: number;
  readonly remoteMs: number;
  readonly readyMs: number;
}

/** Schedules the requests of a session, calls back with the place of each, and returns how many were late. */
export function playSession(
  { fleet, growth, lanes, runMs, remoteMs, readyMs }: Session,
  atMs: readonly number[],
  seed: number,
  noted: (ms: number, isRemote: boolean) => void,
): number {
  const settledFrom = atMs.findIndex((ms) => ms >= readyMs);
  const head = Math.min(settledFrom < 0 ? atMs.length : settledFrom + SETTLED, SCHEDULED_MAX, atMs.length);
  const jobs = atMs.slice(0, head).map((ms, id): Job => {
    return { id, atMs: ms, dueMs: ms + growth.deadlineMs, model: 0, factor: 1 };
  });
  const workload: Workload = {
    lanes: [...new Array<string>(lanes).fill("wasm"), ...new Array<string>(REMOTE_LANES).fill("remote")],
    models: [
      {
        maxRows: 1,
        msOn: { wasm: (rows) => rows * runMs, remote: () => remoteMs },
        readyMsOn: { wasm: readyMs },
        costMsOn: { remote: fleet.costMs },
      },
    ],
    jobs,
    ...{ isLearned: false, countsFromMs: 0, endMs: Infinity, clockMs: 0, noise: fleet.noise, finishesLate: true },
  };
  const isRemote = new Uint8Array(head);
  const isLate = new Uint8Array(head);
  for (const { lane, jobs: ran, endMs } of drive(workload, seed).runs)
    for (const { id, dueMs } of ran) {
      isRemote[id] = Number(lane >= lanes);
      isLate[id] = Number(endMs > dueMs);
    }
  // Later requests are as those of the settled part, in turn.
  const settled = Math.max(1, Math.min(SETTLED / 2, head));
  const like = (i: number): number => (i < head ? i : head - settled + ((i - head) % settled));
  let late = 0;
  for (const [i, ms] of atMs.entries()) {
    noted(ms, isRemote[like(i)] === 1);
    late += isLate[like(i)] ?? 0;
  }
  return late;
}

/** Draws the starts of a device's sessions, from midnight, in order. */
function startsOf({ curves }: Fleet, { sessions, curve }: Growth, random: Random): number[] {
  const weights = curves[curve] ?? [];
  const sum = weights.reduce((total, x) => total + x, 0);
  const starts = Array.from({ length: 1 + poisson(sessions - 1, random) }, () => {
    let left = random.next() * sum;
    const hour = weights.findIndex((x) => (left -= x) < 0);
    return (Math.max(0, hour) + random.next()) * HOUR_MS;
  });
  return starts.sort((a, b) => a - b);
}

/** Draws the times of a session's requests, from its start. */
function timesOf({ requests, firstAfterS, gapS }: Growth, random: Random): number[] {
  let ms = firstAfterS * 1_000 * (0.5 + random.next());
  return Array.from({ length: 1 + poisson(requests - 1, random) }, (_, i) => {
    if (i > 0) ms += -Math.log(1 - random.next()) * gapS * 1_000;
    return ms;
  });
}

/** A session that goes on after midnight is in the first hours: every day is as this one. */
function hourOf(ms: number): number {
  return Math.floor(ms / HOUR_MS) % HOURS;
}

/** Adds an amount to the hours that a time is in. */
function spread(hours: Float64Array, startMs: number, forMs: number, amount: number): void {
  let ms = startMs;
  const endMs = startMs + forMs;
  do {
    const nextMs = Math.min(endMs, (Math.floor(ms / HOUR_MS) + 1) * HOUR_MS);
    const share = forMs === 0 ? 1 : (nextMs - ms) / forMs;
    const hour = hourOf(ms);
    hours[hour] = (hours[hour] ?? 0) + share * amount;
    ms = nextMs;
  } while (ms < endMs);
}

/** Box and Muller's transform. */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

/** Knuth's product of uniform numbers; above 30 the normal approximation. */
function poisson(mean: number, random: Random): number {
  if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random.next(); product > limit; product *= random.next()) count += 1;
  return count;
}
