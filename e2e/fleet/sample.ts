// A stratified sample of a fleet: as many devices of each class, whose means are weighted by the shares of the classes.
// The interval is the normal one of a stratified mean, and of a stratified ratio for shares (Cochran, Sampling
// Techniques, chapters 5 and 6).
import { HOURS } from "./device-day.ts";
import type { Day } from "./device-day.ts";

/** An estimate, and its 95 % interval. */
export interface Estimated {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** Sums over the sampled devices of a class: plain data, sums of shares of the sample add up. */
export interface Stratum {
  devices: number;
  readonly requests: number[];
  readonly remote: number[];
  readonly requestsSquared: number[];
  readonly remoteSquared: number[];
  readonly downloadBytes: number[];
  /** Sums over whole days: of each square, and of the product. */
  daySquares: number;
  dayRemoteSquares: number;
  dayProducts: number;
  late: number;
}

const Z = 1.96;

/** Returns sums of no device. */
export function emptyStratum(): Stratum {
  const hours = (): number[] => new Array<number>(HOURS).fill(0);
  return {
    ...{ devices: 0, daySquares: 0, dayRemoteSquares: 0, dayProducts: 0, late: 0, downloadBytes: hours() },
    ...{ requests: hours(), remote: hours(), requestsSquared: hours(), remoteSquared: hours() },
  };
}

/** Adds a device's day. */
export function addDay(to: Stratum, { requests, remote, downloadBytes, late }: Day): void {
  let [all, away] = [0, 0];
  for (let hour = 0; hour < HOURS; hour += 1) {
    const [own = 0, ownRemote = 0, bytes = 0] = [requests[hour], remote[hour], downloadBytes[hour]];
    add(to.requests, hour, own);
    add(to.remote, hour, ownRemote);
    add(to.requestsSquared, hour, own ** 2);
    add(to.remoteSquared, hour, ownRemote ** 2);
    add(to.downloadBytes, hour, bytes);
    all += own;
    away += ownRemote;
  }
  to.devices += 1;
  to.daySquares += all ** 2;
  to.dayRemoteSquares += away ** 2;
  to.dayProducts += all * away;
  to.late += late;
}

/** Adds the sums of another part of the sample. */
export function addStratum(to: Stratum, from: Stratum): void {
  for (const key of ["requests", "remote", "requestsSquared", "remoteSquared", "downloadBytes"] as const)
    for (const [hour, value] of from[key].entries()) add(to[key], hour, value);
  for (const key of ["devices", "daySquares", "dayRemoteSquares", "dayProducts", "late"] as const) to[key] += from[key];
}

function add(hours: number[], hour: number, value: number): void {
  hours[hour] = (hours[hour] ?? 0) + value;
}

/** A class in the sample. */
export interface Weighted {
  readonly share: number;
  readonly stratum: Stratum;
}

/** Estimates of one device of the fleet. */
export interface PerDevice {
  /** Requests of a day. */
  readonly requests: number;
  /** Requests in the busiest hour. */
  readonly peak: Estimated;
  /** Requests that servers answer in their busiest hour. */
  readonly remotePeak: Estimated;
  /** Share of requests that are answered on the device. */
  readonly localShare: Estimated;
  /** Bytes downloaded in a day, and in the busiest hour. */
  readonly downloadBytes: number;
  readonly downloadPeakBytes: number;
  /** Share of requests that are answered late. */
  readonly lateShare: number;
}

/** Estimates the mean device; shares are scaled to 1. */
export function estimate(classes: readonly Weighted[]): PerDevice {
  const sum = classes.reduce((total, x) => total + x.share, 0);
  const scaled = classes.map(({ share, stratum }) => ({ share: share / sum, stratum }));
  const mean = (of: (x: Stratum) => number): number =>
    scaled.reduce((total, { share, stratum }) => total + (share * of(stratum)) / stratum.devices, 0);
  const requests = mean((x) => total(x.requests));
  const away = mean((x) => total(x.remote));
  const ratio = away / requests;
  // Variance of remote - ratio × requests, whose mean is 0 over the fleet, not in each class.
  const error = Math.sqrt(
    variance(
      scaled,
      (x) => total(x.remote) - ratio * total(x.requests),
      (x) => x.dayRemoteSquares - 2 * ratio * x.dayProducts + ratio ** 2 * x.daySquares,
    ),
  );
  const localShare = around(1 - ratio, error / requests);
  const bytes = Array.from({ length: HOURS }, (_, hour) => mean((x) => x.downloadBytes[hour] ?? 0));
  return {
    requests,
    peak: busiest(scaled, "requests", "requestsSquared"),
    remotePeak: busiest(scaled, "remote", "remoteSquared"),
    localShare: { ...localShare, low: Math.max(0, localShare.low), high: Math.min(1, localShare.high) },
    downloadBytes: total(bytes),
    downloadPeakBytes: Math.max(...bytes),
    lateShare: mean((x) => x.late) / requests,
  };
}

/** Estimates the busiest hour of a count. */
function busiest(
  classes: readonly Weighted[],
  count: "requests" | "remote",
  squares: "requestsSquared" | "remoteSquared",
): Estimated {
  let best: Estimated = { value: -1, low: 0, high: 0 };
  for (let hour = 0; hour < HOURS; hour += 1) {
    const own = (x: Stratum): number => x[count][hour] ?? 0;
    const value = classes.reduce((sum, { share, stratum }) => sum + (share * own(stratum)) / stratum.devices, 0);
    if (value <= best.value) continue;
    best = around(value, Math.sqrt(variance(classes, own, (x) => x[squares][hour] ?? 0)));
  }
  return { ...best, low: Math.max(0, best.low) };
}

/** Variance of a stratified mean, from the sums of values and of squares. */
function variance(
  classes: readonly Weighted[],
  sumOf: (x: Stratum) => number,
  squaresOf: (x: Stratum) => number,
): number {
  let variance = 0;
  for (const { share, stratum } of classes) {
    const { devices: n } = stratum;
    const own = n < 2 ? Infinity : Math.max(0, squaresOf(stratum) - sumOf(stratum) ** 2 / n) / (n - 1);
    if (share > 0) variance += (share ** 2 * own) / n;
  }
  return variance;
}

function around(value: number, error: number): Estimated {
  return { value, low: value - Z * error, high: value + Z * error };
}

function total(hours: readonly number[]): number {
  return hours.reduce((sum, x) => sum + x, 0);
}
