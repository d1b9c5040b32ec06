// Counters of an engine that has servers: answers by placement, and the traffic of its lanes to servers. Bounded: per
// model a few numbers, per placement the last latencies. Imported by remote-lanes.ts.
import { quantile } from "../core/quantile.ts";
import type { OffloadStats, PlacementCounts, ServerSavings } from "../observe/offload.ts";
import type { RunInfo } from "./result.ts";
import type { Traffic } from "../rpc/messages.ts";

/** Number of latencies of a placement that are kept. */
const KEPT = 1_024;

class Latencies {
  requests = 0;
  readonly #latencies: number[] = [];

  add(ms: number): void {
    this.#latencies[this.requests++ % KEPT] = ms;
  }

  read(): PlacementCounts {
    const [p50, p95] = [0.5, 0.95].map((q) => quantile(this.#latencies, q));
    return { requests: this.requests, latencyMs: p50 === undefined || p95 === undefined ? null : { p50, p95 } };
  }
}

class Sum {
  calls = 0;
  sentBytes = 0;
  receivedBytes = 0;
  ms = 0;

  add({ sentBytes, receivedBytes, ms }: Traffic): void {
    this.calls += 1;
    this.sentBytes += sentBytes;
    this.receivedBytes += receivedBytes;
    this.ms += ms;
  }
}

/** Answers of one model, and what servers did for its requests. */
class OfModel extends Sum {
  local = 0;
  remote = 0;
}

/** Counts answers and traffic. */
export class OffloadCounts {
  readonly #placements = { local: new Latencies(), remote: new Latencies() };
  readonly #server = new Sum();
  /** By the bundle's identity. */
  readonly #models: Map<string, OfModel> = new Map();
  readonly #hedges = { sent: 0, won: 0, seconds: 0 };
  readonly #cascade = { unsure: 0, sent: 0, answered: 0 };
  #cached = 0;

  /** Counts a request that was settled, after so many ms; `info` is null where it has no answer. */
  settled(identity: string, info: RunInfo | null, ms: number): void {
    if (info === null) return;
    if (info.isCached) {
      this.#cached += 1;
      return;
    }
    this.#placements[info.placement].add(ms);
    this.#of(identity)[info.placement] += 1;
  }

  /** Counts an HTTP request; `identity` is null where it was not made for requests of a model. */
  sent(traffic: Traffic, identity: string | null): void {
    this.#server.add(traffic);
    if (identity !== null) this.#of(identity).add(traffic);
  }

  /** Counts a copy that was sent to a server, after so many ms on its lane. */
  hedged(isFirst: boolean, ms: number): void {
    this.#hedges.sent += 1;
    this.#hedges.seconds += ms / 1_000;
    if (isFirst) this.#hedges.won += 1;
  }

  /** Counts an unsure answer of this device, and what the larger model on servers did about it. */
  unsure(isSent: boolean, isAnswered: boolean): void {
    const cascade = this.#cascade;
    cascade.unsure += 1;
    if (isSent) cascade.sent += 1;
    if (isAnswered) cascade.answered += 1;
  }

  /** Returns the counts so far. */
  read(): OffloadStats {
    const [local, remote] = [this.#placements.local.read(), this.#placements.remote.read()];
    const { ms, ...server } = this.#server;
    const answers = local.requests + remote.requests;
    return {
      ...{ local, remote },
      cached: this.#cached,
      localShare: answers === 0 ? null : local.requests / answers,
      server: { ...server, seconds: ms / 1_000 },
      hedges: { ...this.#hedges },
      cascade: { ...this.#cascade },
      saved: this.#savings(),
    };
  }

  #savings(): ServerSavings | null {
    const known = [...this.#models.values()].filter(({ remote }) => remote > 0);
    if (known.length === 0) return null;
    const sum = (each: (model: OfModel) => number): number => known.reduce((total, x) => total + each(x), 0);
    // Of calls that failed or lost a race there are more than answers: they must not raise what an answer takes.
    const saved = (each: (model: OfModel) => number): number =>
      sum((x) => (each(x) * x.local) / Math.max(x.calls, x.remote));
    return {
      requests: sum((x) => x.local),
      seconds: saved((x) => x.ms) / 1_000,
      sentBytes: Math.round(saved((x) => x.sentBytes)),
      receivedBytes: Math.round(saved((x) => x.receivedBytes)),
    };
  }

  #of(identity: string): OfModel {
    const model = this.#models.get(identity) ?? new OfModel();
    this.#models.set(identity, model);
    return model;
  }
}
