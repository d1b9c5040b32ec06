// `selvedge/offload`: cost of an engine's requests at servers, and the cost that its device saved, from
// `engine.stats().offload`; and the calibration of a cascade.
// Pure functions of counters; the counting is engine/offload-counts.ts.
export { calibrateCascade, measureCascade } from "./calibrate-cascade.ts";
export type { CascadeEffect, CascadeSample, CascadeTarget, SampleShare } from "./calibrate-cascade.ts";

/** Answers of one placement. */
export interface PlacementCounts {
  /** Requests answered there, without those from the result cache. */
  readonly requests: number;
  /** Latency from call to answer in ms, over the last 1,024 of them; null without any. */
  readonly latencyMs: { readonly p50: number; readonly p95: number } | null;
}

/** HTTP requests to servers. */
export interface ServerTraffic {
  /** HTTP requests sent: to infer, for metadata, and golden checks; those that failed or were cancelled too. */
  readonly calls: number;
  /** Bytes of their bodies, without headers. */
  readonly sentBytes: number;
  /** Bytes of the bodies that came back, expanded, without headers. */
  readonly receivedBytes: number;
  /** Time in s that they were under way, the network included. */
  readonly seconds: number;
}

/** Copies of requests that were sent to servers, since this device was late (`remote.hedge`): extra work of the servers. */
export interface HedgeCounts {
  /** Copies that were sent; one that was cancelled while it waited for its lane was not. */
  readonly sent: number;
  /** Those that answered first. */
  readonly won: number;
  /** Time in s from then to their answer or their cancel; `server` has their HTTP requests. */
  readonly seconds: number;
}

/** Answers of this device that were unsure, and what a larger model on servers did about them (`cascade`). */
export interface CascadeCounts {
  /** Answers with a confidence below `escalateBelow`. */
  readonly unsure: number;
  /** Those that were sent to the larger model. */
  readonly sent: number;
  /** Those that it answered. */
  readonly answered: number;
}

/** Estimated work of servers for the requests that this device answered. */
export interface ServerSavings {
  /** Requests answered on this device that it covers: those of models that a server answered for as well. */
  readonly requests: number;
  /**
   * Time in s that they would have been under way: for each model the number of its local answers, times the mean time
   * of its calls to servers, or of its answers there where several came from one call.
   */
  readonly seconds: number;
  /** Bytes that would have been sent, by the same rule. */
  readonly sentBytes: number;
  /** Bytes that would have come back, by the same rule. */
  readonly receivedBytes: number;
}

/** Counters of an engine that has servers. */
export interface OffloadStats {
  /** Requests answered on this device. */
  readonly local: PlacementCounts;
  /** Requests answered by servers. */
  readonly remote: PlacementCounts;
  /** Requests answered from the result cache, or with the answer of an equal request in flight: in neither placement. */
  readonly cached: number;
  /** Share of `local` in both placements, 0 to 1; null without an answer. */
  readonly localShare: number | null;
  /** HTTP requests that were really sent. */
  readonly server: ServerTraffic;
  /** Copies of requests that were late here; `server` counts them as well. */
  readonly hedges: HedgeCounts;
  /** Unsure answers of this device; those that a larger model answered count for `remote`. */
  readonly cascade: CascadeCounts;
  /** Estimated savings; null where no model was answered by a server. */
  readonly saved: ServerSavings | null;
}

/** Price of a server. */
export interface OffloadPrice {
  /** Price of one server for an hour, in any currency. */
  readonly pricePerServerHour: number;
  /** Requests that one server has under way at a time at full load. Default: 1. */
  readonly requestsAtOnce?: number | undefined;
}

/** Cost of an engine's requests, in the currency of the price. */
export interface OffloadReport {
  /** Cost of the time that requests were under way to servers. */
  readonly cost: number;
  /** Estimated cost that this device saved; null where nothing was remote. */
  readonly savedCost: number | null;
  /** Cost per 1,000 requests, over both placements; null without an answer. */
  readonly costPer1000: number | null;
  /**
   * Estimated cost per 1,000 requests had servers answered all; over the requests that the estimate covers and the remote
   * ones. Null where nothing was remote.
   */
  readonly allRemoteCostPer1000: number | null;
}

const HOUR_S = 3_600;

/**
 * Computes the cost of counted requests at a price.
 * @throws RangeError for a price below 0, and for `requestsAtOnce` of 0 or less
 * @example
 * const { offload } = engine.stats();
 * if (offload !== null) show(offloadReport(offload, { pricePerServerHour: 0.5 }).savedCost);
 */
export function offloadReport(stats: OffloadStats, price: OffloadPrice): OffloadReport {
  const { pricePerServerHour, requestsAtOnce = 1 } = price;
  if (!(pricePerServerHour >= 0 && pricePerServerHour < Infinity))
    throw new RangeError(`pricePerServerHour: expected a number from 0 on, got ${pricePerServerHour}`);
  if (!(requestsAtOnce > 0 && requestsAtOnce < Infinity))
    throw new RangeError(`requestsAtOnce: expected a number above 0, got ${requestsAtOnce}`);
  const costOf = (seconds: number): number => ((seconds / HOUR_S) * pricePerServerHour) / requestsAtOnce;
  const { local, remote, server, saved } = stats;
  const cost = costOf(server.seconds);
  const answers = local.requests + remote.requests;
  return {
    cost,
    savedCost: saved && costOf(saved.seconds),
    costPer1000: answers === 0 ? null : (1_000 * cost) / answers,
    allRemoteCostPer1000:
      saved && (1_000 * costOf(server.seconds + saved.seconds)) / (remote.requests + saved.requests),
  };
}

const COLUMNS = [
  "placement",
  "requests",
  "share",
  "p50_ms",
  "p95_ms",
  "sent_bytes",
  "received_bytes",
  "server_seconds",
  "cost",
  "saved_sent_bytes_estimate",
  "saved_received_bytes_estimate",
  "saved_server_seconds_estimate",
  "saved_cost_estimate",
] as const;

/**
 * Writes the counters as CSV with a line for each placement: numbers with a point, no value where there is none.
 * @throws as offloadReport
 */
export function offloadCsv(stats: OffloadStats, price: OffloadPrice): string {
  const { local, remote, localShare, server, saved } = stats;
  const { cost, savedCost } = offloadReport(stats, price);
  const counts = ({ requests, latencyMs }: PlacementCounts, share: number | null): (number | null | undefined)[] => [
    requests,
    share,
    latencyMs?.p50,
    latencyMs?.p95,
  ];
  const rows = [
    [
      "local",
      ...counts(local, localShare),
      0,
      0,
      0,
      0,
      saved?.sentBytes,
      saved?.receivedBytes,
      saved?.seconds,
      savedCost,
    ],
    [
      "remote",
      ...counts(remote, localShare === null ? null : 1 - localShare),
      ...[server.sentBytes, server.receivedBytes, server.seconds, cost],
      ...[null, null, null, null],
    ],
  ];
  return [COLUMNS, ...rows].map((row) => `${row.map((x) => x ?? "").join()}\r\n`).join("");
}
