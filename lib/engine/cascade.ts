// A larger model on servers for requests of which this device's answer is unsure: `cascade` of a model in the option
// `remote`. The larger one is a bundle of its own, whose golden its server has to answer; only its description is fetched.
// This device answers first. An unsure answer is returned as it is where the larger model fails, is late, or can't be
// asked: nothing that this device has answered is lost. Imported where a model has the option.
import { Stop } from "../core/abort.ts";
import { canBatch } from "../core/batch-shape.ts";
import type { BundleInput, BundleOutput, DecodeSpec } from "../core/bundle.ts";
import { show as showValue } from "../core/check-inputs.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import type { Why } from "../core/reasons.ts";
import { resolveAddress } from "../core/resolve-source.ts";
import { UNSURE } from "../core/unsure.ts";
import type { Plan } from "../cache/messages.ts";
import { estimateShape } from "./batch-key.ts";
import type { Loader } from "./loader.ts";
import type { OffloadCounts } from "./offload-counts.ts";
import type { CascadeOptions } from "./options.ts";
import { again, RemoteLoad } from "./remote-load.ts";
import type { CascadeHost } from "./remote-load.ts";
import type { RunResult } from "./result.ts";
import type { ModelRoute, Work } from "./routes.ts";
import type { Decoded } from "../rpc/messages.ts";

/** How long an unsure answer waits. */
const WAIT_MS = 1_000;
/** Time before a deadline at which an unsure answer is returned, so that it is not late itself. */
const MARGIN_MS = 10;
/** How long the larger model is not asked after a failure: doubled with each further one. */
const PAUSE_MIN_MS = 1_000;
const PAUSE_MAX_MS = 60_000;
/** How long a measured time of the larger model is used to find that a deadline is too near for it. */
const KNOWN_MS = 60_000;

/** The larger model, once its description was read. */
interface Larger {
  readonly name: string;
  readonly load: RemoteLoad;
  readonly loader: Loader;
}

/** The cascade of one model. */
class Cascade {
  readonly #small: CascadeHost;
  readonly #options: CascadeOptions;
  readonly #counts: OffloadCounts;
  readonly #output: string;
  /** By the id of the step. */
  readonly #steps: Map<number, Stop> = new Map();
  /** Receives the id of the step that is being submitted. */
  #onId: ((id: number) => void) | null = null;
  #larger: Larger | null = null;
  #failures = 0;
  #pausedUntilMs = -Infinity;
  #pausedAtMs = -Infinity;
  /** Time of the last answer, at least of the last one that came too late, and when that was. */
  #tookMs = 0;
  #tookAtMs = -Infinity;

  constructor(small: CascadeHost, options: CascadeOptions, counts: OffloadCounts) {
    this.#small = small;
    this.#options = options;
    this.#counts = counts;
    this.#output = classesOf(small.loader.plan)?.name ?? "";
    const { stop } = small.host.executor.dispatcher.watch((event) => {
      if (event.type !== "arrived") return;
      const { id } = event.step;
      if (!event.isAgain) this.#onId?.(id);
      // Not within the scheduler's own call.
      else queueMicrotask(() => this.#steps.get(id)?.abort(new SelvedgeError("closed", "It is tried once.")));
    });
    small.signal.addEventListener("abort", stop);
  }

  /** Reads the larger model's description. @throws TypeError where it does not suit; SelvedgeError as a load does */
  async open(): Promise<void> {
    const { host, options, parts, loader: own, signal } = this.#small;
    const { plan } = own;
    const option = `remote.models["${plan.name}"].cascade`;
    const from = resolveAddress(this.#options.bundle, host.effects.facts.baseUrl);
    const wanted = { from, options: { placement: "remote" }, download: { signal, onProgress: undefined } } as const;
    const larger = await host.opener.open(from, wanted.options, wanted.download);
    const fault = (text: string): TypeError => new TypeError(`${option}: ${text}`);
    const why = mismatchOf(plan, larger);
    if (why !== null || larger.remote == null) throw fault(why ?? `${showValue(from)} is no bundle`);
    const loader = new parts.Loader(host, larger, from, wanted.options, wanted.download);
    const stop = new AbortController();
    const end = (): void => {
      loader.end(new SelvedgeError("closed", `The model "${plan.name}" is unloaded.`));
    };
    const load = new RemoteLoad(host, options, wanted, parts, loader, larger.remote, stop, null);
    try {
      const differs = await labelsDiffer(own, loader);
      if (differs) throw fault(`"${larger.name}" has other labels than "${plan.name}"`);
      signal.throwIfAborted();
    } catch (error) {
      end();
      throw error;
    }
    signal.addEventListener("abort", end);
    // Its traffic is that of the requests to the smaller model.
    const { servers } = loader;
    if (servers?.message.remote !== undefined) {
      const remote = { ...servers.message.remote, identity: plan.identity };
      loader.servers = { ...servers, message: { ...servers.message, remote } };
    }
    this.#larger = { name: larger.name, load, loader };
    load.connect().catch(() => void again(host, signal, () => load.connect()));
  }

  /** Runs a request; where this device is unsure of its answer, on the larger model as well. */
  run(work: Work, answer: Promise<RunResult>): Promise<RunResult> {
    if (work.state !== undefined || work.options.placement === "local") return answer;
    return answer.then((first) => {
      const { escalateBelow } = this.#options;
      if (first.info.placement !== "local") return first;
      const confidence = confidenceOf(first.decoded[this.#output] ?? []);
      return confidence >= escalateBelow ? first : this.#escalate(first, confidence, work);
    });
  }

  async #escalate(first: RunResult, confidence: number, work: Work): Promise<RunResult> {
    const step = this.#stepOf(confidence, work);
    const second = step && (await this.#ask(step, work));
    this.#counts.unsure(step !== null, second !== null);
    // Kept, it would be the answer to such a request for good.
    if (second === null) Object.assign(first.info, { [UNSURE]: true });
    return second ?? first;
  }

  /** Returns the request to the larger model; null where it can't be asked, or not in time. */
  #stepOf(confidence: number, work: Work): Work | null {
    const now = this.#small.host.effects.now();
    const leftMs = this.#leftMs(work);
    const isTooNear = leftMs < this.#waitMs && now - this.#tookAtMs < KNOWN_MS && leftMs < this.#tookMs;
    if (this.#larger === null || leftMs <= 0 || isTooNear || now < this.#pausedUntilMs) return null;
    const { name, load, loader } = this.#larger;
    const found = load.routeOf(whyEscalated(name, confidence, this.#options.escalateBelow));
    const message = found.here(true);
    if (message === null) return null;
    // The name distinguishes it from a variant of the smaller model, as whose answer it would be cached.
    const route: ModelRoute = { ...found, variant: `${name}/${found.variant}` };
    const { inputs, outputs, plan } = loader;
    const mayBatch = work.shape !== null && canBatch(inputs, outputs) && plan.remote?.variant.mixesRows === false;
    const shape = mayBatch ? estimateShape({ ports: inputs }, work.feeds) : null;
    return { ...work, routes: [route], message, shape };
  }

  /** Asks the larger model; resolves to null where it fails or is late. @throws the signal's reason */
  async #ask(step: Work, { options }: Work): Promise<RunResult | null> {
    const { effects, executor } = this.#small.host;
    const startMs = effects.now();
    const waitMs = this.#leftMs(step);
    const { signal } = options;
    const stop = new Stop();
    const late = new SelvedgeError("deadline-exceeded", "The larger model is late.");
    const cancel = effects.setTimer(() => {
      stop.abort(late);
    }, waitMs);
    const onAbort = (): void => {
      stop.abort(signal?.reason);
    };
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    // After a failure one request at a time tries again.
    if (this.#failures > 0) this.#pausedUntilMs = startMs + waitMs;
    let id = 0;
    this.#onId = (given) => {
      id = given;
      this.#steps.set(id, stop);
    };
    // The scheduler refuses nothing: the timer above is the bound.
    const run = executor.dispatcher.submit({ ...step, options: { ...options, isRefusable: false, signal: stop } });
    this.#onId = null;
    try {
      const result = await run;
      this.#failures = 0;
      this.#pausedUntilMs = -Infinity;
      this.#took(effects.now() - startMs);
      return result;
    } catch (error) {
      signal?.throwIfAborted();
      if (error === late) this.#took(waitMs);
      // A deadline that was too near, and a queue that is full here, say nothing about the server.
      if (error === late ? waitMs >= this.#waitMs : !isSelvedgeError(error) || error.code !== "overloaded")
        this.#pause(startMs);
      return null;
    } finally {
      cancel();
      this.#steps.delete(id);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  get #waitMs(): number {
    return this.#options.waitMs ?? WAIT_MS;
  }

  /** Returns how long an unsure answer may wait from now on. */
  #leftMs({ options }: Work): number {
    return Math.min(this.#waitMs, options.dueMs - MARGIN_MS - this.#small.host.effects.now());
  }

  #took(ms: number): void {
    this.#tookMs = ms;
    this.#tookAtMs = this.#small.host.effects.now();
  }

  /** Pauses after the failure of a request; one that began before the latest pause is ignored. */
  #pause(startMs: number): void {
    if (startMs < this.#pausedAtMs) return;
    const ms = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#pausedAtMs = this.#small.host.effects.now();
    this.#pausedUntilMs = this.#pausedAtMs + ms;
  }
}

/**
 * Adds a larger model to the requests of a smaller one. Resolves once its description was read; where that fails, it is
 * read again in the background.
 * @throws TypeError where the two do not suit each other
 */
export async function startCascade(small: CascadeHost, options: CascadeOptions, counts: OffloadCounts): Promise<void> {
  const { host, loader, signal } = small;
  const { servers } = loader;
  if (servers === null) return;
  const cascade = new Cascade(small, options, counts);
  const run = servers.run ?? host.executor.dispatcher.submit.bind(host.executor.dispatcher);
  servers.run = (work) => cascade.run(work, run(work));
  try {
    await cascade.open();
  } catch (error) {
    if (!isSelvedgeError(error)) throw error;
    void again(host, signal, () => cascade.open());
  }
}

/** Returns the reason for an answer of the larger model. */
export function whyEscalated(name: string, confidence: number, escalateBelow: number): Why {
  const below = `its confidence ${Number(confidence.toFixed(3))} is below ${escalateBelow}`;
  return { code: "escalated", text: `remote: this device's answer was unsure (${below}); ${name} answered` };
}

/** Returns the least confidence of decoded rows: NaN for an answer of another kind. */
function confidenceOf(rows: readonly Decoded[]): number {
  const tops = rows.map((row) =>
    row.kind === "labels"
      ? (row.labels[0]?.score ?? Number.NaN)
      : row.kind === "probabilities"
        ? Math.max(...row.probabilities)
        : Number.NaN,
  );
  return Math.min(...tops);
}

/** Returns the one output whose decoder returns classes that exclude each other, with their probabilities. */
function classesOf({ declared }: Plan): BundleOutput | null {
  const found = (declared?.outputs ?? []).filter(
    ({ decode }) => decode?.op === "softmax" || (decode?.op === "labels" && decode.logits !== "sigmoid"),
  );
  return found.length === 1 ? (found[0] ?? null) : null;
}

/** Returns why a model can't take the requests of a smaller one; null where it can. */
function mismatchOf(small: Plan, large: Plan): string | null {
  const [own, other] = [classesOf(small), classesOf(large)];
  for (const [{ name }, output] of [
    [small, own],
    [large, other],
  ] as const)
    if (output === null)
      return `"${name}" is no bundle with one output that is decoded to classes (softmax, or labels without sigmoid)`;
  if (own === null || other === null) return null;
  const said = (what: string, mine: unknown, its: unknown): string =>
    `"${large.name}" has ${what} ${showValue(its)}, and "${small.name}" has ${showValue(mine)}`;
  if (own.name !== other.name) return said("the output", own.name, other.name);
  if (own.decode?.op !== other.decode?.op) return said("the decoder", own.decode?.op, other.decode?.op);
  if (!fits(own.dims, other.dims))
    return said(`in the output ${own.name} the dims`, own.dims.join(" × "), other.dims.join(" × "));
  const inputs = small.declared?.inputs ?? [];
  const others = large.declared?.inputs ?? [];
  const names = (ports: readonly BundleInput[]): string =>
    ports
      .map(({ name }) => name)
      .sort()
      .join();
  if (names(inputs) !== names(others)) return said("the inputs", names(inputs), names(others));
  for (const input of inputs) {
    const match = others.find(({ name }) => name === input.name) as BundleInput;
    if (kindOf(input) !== kindOf(match)) return said(`as input ${input.name}`, kindOf(input), kindOf(match));
    // Pictures, texts and sounds are converted for each model.
    if (kindOf(input) !== "a tensor") continue;
    if (input.dtype !== match.dtype) return said(`in the input ${input.name} the dtype`, input.dtype, match.dtype);
    if (!fits(input.dims, match.dims))
      return said(`in the input ${input.name} the dims`, input.dims.join(" × "), match.dims.join(" × "));
  }
  return null;
}

function kindOf({ image, text, sound }: BundleInput): string {
  return image !== undefined
    ? "an image"
    : text !== undefined
      ? "a text"
      : sound !== undefined
        ? "a sound"
        : "a tensor";
}

/** Whether declared sizes can be equal. */
function fits(own: readonly (string | number)[], other: readonly (string | number)[]): boolean {
  return (
    own.length === other.length &&
    own.every((dim, axis) => typeof dim === "string" || typeof other[axis] === "string" || dim === other[axis])
  );
}

/** Whether the files of labels of two models differ, ends of lines aside. */
async function labelsDiffer(small: Loader, large: Loader): Promise<boolean> {
  const [own, other] = await Promise.all([small, large].map(labelsOf));
  return own !== other;
}

async function labelsOf(loader: Loader): Promise<string> {
  const { plan } = loader;
  const decode: DecodeSpec | undefined = classesOf(plan)?.decode;
  const files = plan.assets.filter(({ path }) => decode?.op === "labels" && path === decode.asset);
  const [file] = await loader.read(files);
  return ((await file?.data.text()) ?? "").replaceAll("\r", "").trimEnd();
}
