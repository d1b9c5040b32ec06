// A lane to a server. A request's own deadline and cancel reach the server's worker, which a lane of this device does
// without, since a run there can't be stopped: each request is rejected when its deadline passes, the worker gets the
// time that is left, and a call that no request waits for any more is cancelled. Imported by remote-lanes.ts.
import { isServer } from "../core/device.ts";
import { codeOf, isSelvedgeError, SelvedgeError, toWireError } from "../core/errors.ts";
import type { WorkerHandle } from "../effects/effects.ts";
import type { Lane } from "../pool/lane.ts";
import type { LaneOptions, LaneRunOptions, WaitingBatch } from "../pool/lane-options.ts";
import { isTrafficNotice } from "../rpc/messages.ts";
import type { CallNotice, Feeds, LoadMessage, Ran, Traffic } from "../rpc/messages.ts";

/** A call that ran out of time took longer than that; so it counts as one of twice the time. */
const AT_LEAST = 2;
/**
 * Share of a request's time that a server has where this device is expected to answer in the rest, provided that it is
 * so many times what the server was expected to take: one that hangs costs no answer then.
 */
const SHARE = 0.5;
const EXPECTED = 3;

/**
 * Creates a lane to a server.
 * @param onTraffic - called with each HTTP request, and the identity of the bundle for whose requests it was sent; null for
 * a load or a check
 */
export function createRemoteLane(
  Base: typeof Lane,
  id: string,
  options: LaneOptions,
  onTraffic: (traffic: Traffic, identity: string | null) => void = () => undefined,
): Lane {
  const { effects, events } = options;
  let worker: WorkerHandle | null = null;
  let lastCall = 0;
  /** Batches that left from behind a call: until that ends, the lane takes no others. */
  let left = 0;
  /** Models of the calls that were sent and have not ended; what the worker sends beside them are loads and checks. */
  const sent = new Map<number, LoadMessage>();
  const onMessage = ({ data }: MessageEvent<unknown>): void => {
    if (!isTrafficNotice(data)) return;
    const { traffic } = data;
    const of = [...sent.values()].find(({ modelId }) => modelId === traffic.modelId);
    onTraffic(traffic, of?.remote?.identity ?? null);
  };
  const tell = (notice: CallNotice): void => {
    worker?.postMessage(notice, []);
  };

  class RemoteLane extends Base {
    /** Ends of its worker by a failure of the server; one that crashed, or did not answer, says nothing about it. */
    failures = 0;

    override get isOpen(): boolean {
      return super.isOpen && left === 0;
    }

    override end(error?: Error): void {
      if (error !== undefined) this.failures += 1;
      super.end(error);
    }

    override run(
      model: LoadMessage,
      items: readonly Feeds[] | (() => readonly Feeds[]),
      options: LaneRunOptions = {},
    ): Promise<Ran> {
      const { batch } = options;
      if (batch === undefined || typeof items !== "function") return super.run(model, items, options);
      const call = ++lastCall;
      const startMs = effects.now();
      const waiting = new Set(batch.steps);
      const cleanups: (() => void)[] = [];
      const { inMs, hereInMs = Infinity } = batch.why;
      const leastMs = Math.max(EXPECTED * inMs, hereInMs);
      let endMs = 0;
      let shareMs = Infinity;
      let late: SelvedgeError | null = null;
      let sentMs = 0;
      let isStaged = true;
      let isLeft = false;
      const elsewhere = (cause?: unknown): SelvedgeError => {
        const text = `${this.endpoint ?? "The server"}: no answer in time for this device to answer instead.`;
        return new SelvedgeError("remote-failed", text, { reason: "timeout", url: this.endpoint }, cause);
      };
      for (const step of batch.steps) {
        const { signal, isRefusable, dueMs, deadlineMs } = step.work.options;
        const leave = (): void => {
          if (waiting.delete(step) && waiting.size === 0) tell({ selvedge: "cancel", call });
        };
        signal?.addEventListener("abort", leave, { once: true });
        cleanups.push(() => signal?.removeEventListener("abort", leave));
        const ownMs = isRefusable ? dueMs : Infinity;
        const ownShareMs = SHARE * (ownMs - startMs);
        if (ownShareMs >= leastMs) shareMs = Math.min(shareMs, ownShareMs);
        endMs = Math.max(endMs, ownMs);
        // A timer of more fires at once.
        if (ownMs - startMs >= 2 ** 31) continue;
        const end = (): void => {
          // One that was withdrawn may still be answered on another lane.
          if (batch.withdrawn.has(step.id)) return;
          const text = `No answer from the server within deadlineMs ${deadlineMs}.`;
          late = new SelvedgeError("deadline-exceeded", text);
          step.reject(late);
          leave();
        };
        cleanups.push(effects.setTimer(end, Math.max(0, ownMs - startMs)));
      }
      // It ends for all of them, so each must have another place.
      if (!batch.steps.every(canAnswerHere)) shareMs = Infinity;
      endMs = Math.min(endMs, startMs + shareMs);
      /** Rejects where the batch is still staged then, behind a call that hangs: it goes to another lane. */
      const leaving = new Promise<never>((_, reject) => {
        if (shareMs >= 2 ** 31) return;
        const leave = (): void => {
          if (!isStaged) return;
          isLeft = true;
          left += 1;
          tell({ selvedge: "cancel", call });
          reject(elsewhere());
        };
        cleanups.push(effects.setTimer(leave, shareMs));
      });
      const take = (): readonly Feeds[] => {
        const taken = isLeft ? [] : items();
        sentMs = effects.now();
        if (taken.length > 0) sent.set(call, model);
        const leftMs = endMs - sentMs;
        // Announces the run that the base class sends next, in this same turn.
        if (taken.length > 0) tell({ selvedge: "call", call, leftMs });
        return taken;
      };
      const onPhase: LaneRunOptions["onPhase"] = (phase) => {
        options.onPhase?.(phase);
        isStaged = false;
        if (phase !== "running") return;
        for (const { id, work } of waiting) if (!batch.withdrawn.has(id)) work.onBegun?.();
      };
      const run = super.run(model, take, { ...options, onPhase });
      const reopen = (): void => {
        if (!isLeft) return;
        left -= 1;
        events.freed();
      };
      run.then(reopen, reopen);
      return Promise.race([run, leaving])
        .catch((error: unknown): Ran => {
          const isOver = codeOf(error) === "deadline-exceeded" || (late !== null && waiting.size === 0);
          if (isOver && sentMs > 0 && endMs > sentMs) {
            const cut = elsewhere(error);
            const items = batch.steps.map((step): Ran["items"][number] => {
              const failure = canAnswerHere(step) ? cut : (late ?? error);
              return { ok: false, error: toWireError(failure) };
            });
            const runMs = AT_LEAST * (effects.now() - sentMs);
            return { items, runs: 1, preprocessMs: 0, runMs, decodeMs: 0 };
          }
          const isTooLate = isSelvedgeError(error) && error.details["isTooLate"] === true;
          const isOnlyHere = batch.steps.every(({ work }) => work.routes.every(isServer));
          throw isTooLate && isOnlyHere ? new SelvedgeError("deadline-exceeded", error.message, {}, error) : error;
        })
        .finally(() => {
          sent.delete(call);
          for (const clean of cleanups) clean();
        });
    }
  }

  const own = {
    ...effects,
    createWorker: (...args: Parameters<typeof effects.createWorker>) => {
      worker = effects.createWorker(...args);
      worker.addEventListener("message", onMessage as (event: Event) => void);
      return worker;
    },
  };
  return new RemoteLane(id, "remote", { ...options, effects: own }, "usual");
}

/** Returns the number of failures on a lane to a server. */
export function failuresIn(lane: Lane): number {
  return (lane as Partial<{ readonly failures: number }>).failures ?? 0;
}

/** Whether this device holds the files of a model that a request may be answered with. */
function canAnswerHere({ work: { routes } }: WaitingBatch["steps"][number]): boolean {
  return routes.some((route) => !isServer(route) && route.here() !== null);
}
