// A recurrent state: a model whose outputs of one step are inputs of the next. The state stays on its lane between
// steps; every k steps a copy is sent to the page, which keeps it with the inputs since. A lane that does not hold the
// state of the last step (it died, idled out, or another lane was chosen) rebuilds it from these, in pool/lane.ts.
//
// A stream must never skip a step silently: a step that failed for good ends the state with `state-lost`. A mistake in
// the inputs is reported before the step begins, and a cancelled step did not happen: neither touches the state.
//
// Imported by loads of models that have a state (load-plan.ts).
import { eitherOf, untilAborted } from "../core/abort.ts";
import type { ResolvedOptions } from "./resolve-options.ts";
import { Disposes, endByUsing } from "../core/disposing.ts";
import { codeOf, isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { Executor } from "./executor.ts";
import type { Plan } from "../cache/messages.ts";
import type { BundleInput } from "../core/bundle.ts";
import { checkFeeds, checkSymbols, show } from "../core/check-inputs.ts";
import type { Symbols } from "../core/check-inputs.ts";
import { release, takeTensor } from "./inputs.ts";
import type { Accepts, Inputs } from "./inputs.ts";
import { checkOptions, checkRunOptions, whole } from "./check-options.ts";
import type { RunOptions, StatefulOptions } from "./options.ts";
import type { StateStep } from "../pool/lane-options.ts";
import type { Feeds } from "../rpc/messages.ts";
import { typicalFeeds } from "./typical-feeds.ts";
import type { RunResult } from "./result.ts";
import type { Port, Tensor } from "../core/tensor.ts";

type State = StateStep["checkpoint"];

/** Errors that leave a state as it was. */
const REFUSED: readonly ErrorCode[] = ["closed", "overloaded", "deadline-exceeded"];

/** Collaborators of a state, from its model. */
export interface StatefulParts {
  readonly executor: Pick<Executor, "newMark" | "removeState">;
  readonly plan: Pick<Plan, "name" | "states" | "typical">;
  readonly accepts: Accepts;
  readonly count: (
    accepts: Accepts,
    inputs: Inputs,
    options: RunOptions,
    work: (feeds: Feeds, options: ResolvedOptions) => Promise<RunResult>,
  ) => Promise<RunResult>;
  readonly submit: (feeds: Feeds, options: ResolvedOptions, state: StateStep) => Promise<RunResult>;
}

/** A recurrent state; made by `model.stateful`. */
export class Stateful extends Disposes {
  readonly #parts: StatefulParts;
  readonly #accepts: Accepts;
  /** The state's own inputs. */
  readonly #own: readonly BundleInput[];
  readonly #every: number;
  readonly #id: number;
  readonly #stop: AbortController = new AbortController();
  #after: number;
  #checkpoint: State;
  #since: Feeds[] = [];
  #tail: Promise<unknown> = Promise.resolve();

  /** Not for callers: `model.stateful` makes states. */
  /** @internal */
  constructor(options: StatefulOptions, parts: StatefulParts) {
    super();
    checkStatefulOptions(options);
    const { ports } = parts.accepts;
    const { executor, plan } = parts;
    const names = new Set(Object.values(plan.states));
    this.#parts = parts;
    this.#accepts = { ports: ports.filter(({ name }) => !names.has(name)) };
    this.#every = options.checkpointEvery ?? 16;
    this.#id = this.#after = executor.newMark();
    const own = ports.filter(({ name }) => names.has(name));
    this.#own = own;
    this.#checkpoint = firstState(own, options.initial, plan.typical);
    endByUsing(this, "dispose", () => {
      this.close();
    });
  }

  /**
   * Runs the next step. Steps run one at a time, in the order of the calls; the state's own inputs and outputs are left
   * out.
   * @throws TypeError or RangeError for wrong inputs and the signal's reason for a cancel, which leave the state as it
   * was; SelvedgeError `state-lost` where it can't continue, `closed`
   */
  // Async, so that a wrong option rejects; all of it runs synchronously within the call.
  async run(inputs: Inputs, options: RunOptions = {}): Promise<RunResult> {
    checkRunOptions(options);
    const signal = eitherOf(options.signal, this.#stop.signal);
    const before = this.#tail;
    const accepts = { ...this.#accepts, symbols: this.#symbols() };
    const step = this.#parts.count(accepts, inputs, { ...options, signal }, (feeds, resolved) =>
      this.#step(before, signal, feeds, resolved),
    );
    this.#tail = before.then(() => step).catch(() => undefined);
    return step;
  }

  /** Frees the state; pending steps are rejected with `closed`. Safe to call twice. */
  close(): void {
    this.#end(new SelvedgeError("closed", "The state is closed."));
  }

  async #step(
    before: Promise<unknown>,
    signal: AbortSignal,
    feeds: Feeds,
    options: ResolvedOptions,
  ): Promise<RunResult> {
    try {
      await untilAborted(before, signal);
      const [checkpoint, since, mark] = [this.#checkpoint, this.#since, this.#parts.executor.newMark()];
      const isCheckpoint = since.length + 1 >= this.#every;
      const state = { id: this.#id, after: this.#after, mark, checkpoint, since, isCheckpoint };
      const result = await this.#parts.submit(feeds, options, state);
      this.#after = mark;
      since.push(feeds);
      return isCheckpoint ? this.#keep(result) : result;
    } catch (error) {
      release(feeds);
      const isCallers = signal.aborted || error instanceof TypeError || error instanceof RangeError;
      // A rejected step did not begin.
      if (isCallers || (isSelvedgeError(error) && REFUSED.includes(error.code))) throw error;
      const text = `The state of "${this.#parts.plan.name}" is lost: ${error instanceof Error ? error.message : String(error)}`;
      const lost = new SelvedgeError("state-lost", text, { cause: codeOf(error) }, error);
      this.#end(lost);
      throw lost;
    }
  }

  /** Sizes of the state's symbolic dims, and its batch size by the inputs' own name: another step must not begin. */
  #symbols(): Symbols {
    const symbols: Symbols = new Map();
    for (const port of this.#own) {
      const { dims = [] } = this.#checkpoint[port.name] ?? {};
      checkSymbols(port, dims, symbols);
      const size = dims[port.batchAxis ?? -1];
      for (const { dims: names, batchAxis } of this.#accepts.ports) {
        const name = names[batchAxis ?? -1];
        if (size !== undefined && typeof name === "string") symbols.set(name, { size, input: port.name });
      }
    }
    return symbols;
  }

  /** Removes the state from outputs that came with a checkpoint, and keeps it. */
  #keep(result: RunResult): RunResult {
    const outputs: Record<string, Tensor> = { ...result.outputs };
    const state: Record<string, Tensor> = {};
    for (const [output, input] of Object.entries(this.#parts.plan.states)) {
      state[input] = outputs[output] as Tensor;
      Reflect.deleteProperty(outputs, output);
    }
    this.#checkpoint = state;
    this.#releaseSince();
    return { ...result, outputs };
  }

  #releaseSince(): void {
    for (const feeds of this.#since) release(feeds);
    this.#since = [];
  }

  #end(error: SelvedgeError): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(error);
    this.#releaseSince();
    this.#parts.executor.removeState(this.#id);
  }
}

/** Checks the options of `model.stateful`, except the contents of the initial state. */
function checkStatefulOptions(options: StatefulOptions): void {
  checkOptions("stateful", options, { checkpointEvery: whole(1, 1_024), initial: null });
}

/** The initial state: the caller's, or zeros with a batch of one. */
function firstState(ports: readonly Port[], initial: StatefulOptions["initial"], typical: Plan["typical"]): State {
  if (initial !== undefined) {
    if (typeof initial !== "object" || (initial as unknown) === null)
      throw new TypeError(`initial: expected an object of named tensors, got ${show(initial)}`);
    checkFeeds(ports, initial);
    return Object.fromEntries(Object.entries(initial).map(([name, tensor]) => [name, takeTensor(tensor, false)]));
  }
  const zeros = typicalFeeds(ports, typical);
  if (zeros === null)
    throw new RangeError("initial: the bundle declares no typical size of the state; pass an initial state");
  return zeros.tensors;
}
