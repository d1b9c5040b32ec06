// Check that a server's model is the bundle's: the bundle's golden is run there, and the answer compared within the
// thresholds of the golden check. Imported by remote-load.ts.
import type { RemoteCandidate } from "../cache/messages.ts";
import { faultOf } from "../core/compare-outputs.ts";
import type { Tensors } from "../core/compare-outputs.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Golden } from "../core/bundle.ts";
import type { Loader } from "./loader.ts";
import type { ModelFacts } from "../rpc/backend.ts";
import type { AnswerCheck, Ran, RunItems } from "../rpc/messages.ts";

/** A golden's tensors. */
interface Known {
  readonly inputs: Tensors;
  readonly outputs: Tensors;
  readonly floors: Readonly<Record<string, number>> | undefined;
}

/** A version that a server stated. */
interface Stated {
  readonly version: string;
  /** Number of the server's failures then. */
  readonly failures: number;
  /** When a lane to it last held the model, as far as other servers asked. */
  heldMs: number;
}

/** For so long no lane to a server must have held the model before another version takes its place, in ms. */
const FORGET_MS = 600_000;

/** Checks a model on servers each time a lane has loaded it. */
export class RemoteCheck implements AnswerCheck {
  readonly refused = null;
  readonly #loader: Loader;
  readonly #candidate: RemoteCandidate;
  readonly #isVerified: boolean;
  readonly #isHeld: (endpoint?: string | null) => boolean;
  readonly #failuresOf: (endpoint: string | null) => number;
  readonly #onMeasured: (ms: number, endpoint: string | null) => void;
  readonly #now: () => number;
  #variant: string | null = null;
  /** Versions of the model on servers that state them. */
  readonly #versions: Map<string | null, Stated> = new Map();
  readonly #known: Map<Golden, Promise<Known>> = new Map();
  /** Servers whose time is known, or being measured. */
  readonly #timed: Set<string | null> = new Set();
  /** Number of checks that run. */
  #running = 0;

  /**
   * Creates the check of one model.
   * @param isHeld - whether a lane, to any server or to one, holds a checked model; where none does, servers may have
   * changed to another variant
   * @param failuresOf - number of failures of a server; one that failed may have changed to another version
   */
  constructor(
    loader: Loader,
    candidate: RemoteCandidate,
    isVerified: boolean,
    isHeld: (endpoint?: string | null) => boolean,
    failuresOf: (endpoint: string | null) => number,
    onMeasured: (ms: number, endpoint: string | null) => void,
    now: () => number,
  ) {
    this.#loader = loader;
    this.#candidate = candidate;
    this.#isVerified = isVerified;
    this.#isHeld = isHeld;
    this.#failuresOf = failuresOf;
    this.#onMeasured = onMeasured;
    this.#now = now;
  }

  /** The variant that servers have, by their answer; `remote` before, and where the app vouches for the model. */
  get variant(): string {
    return this.#variant ?? this.#candidate.variant.id;
  }

  /**
   * Compares the answer of a server that a lane has just connected to. All servers must have the same variant, or the
   * same version where the app vouches for them.
   * @throws SelvedgeError `remote-failed` with the reason `other-model`
   */
  async loaded(run: RunItems, endpoint: string | null, { versions = [] }: ModelFacts): Promise<void> {
    if (this.#isVerified) {
      this.#compareVersions(versions.join(" and "), endpoint);
      return;
    }
    if (this.#running === 0 && !this.#isHeld()) this.#variant = null;
    this.#running += 1;
    try {
      await this.#compare(run, endpoint);
    } finally {
      this.#running -= 1;
    }
  }

  /**
   * Refuses a server with another version than one that has not failed since it was asked: their answers would mix. None
   * is refused for good: what it stated before no longer counts for others, and theirs ages while they are not used.
   */
  #compareVersions(own: string, endpoint: string | null): void {
    if (own === "" || this.#loader.servers?.message.remote?.version !== undefined) return;
    if (this.#versions.get(endpoint)?.version !== own) this.#versions.delete(endpoint);
    const now = this.#now();
    for (const [other, stated] of this.#versions) {
      const { version, failures } = stated;
      if (this.#isHeld(other)) stated.heldMs = now;
      const isPast = failures !== this.#failuresOf(other) || now - stated.heldMs > FORGET_MS;
      if (other === endpoint || version === own || isPast) continue;
      const why = `it is version ${own}, and that of ${String(other)} is version ${version}`;
      throw this.#refusal(why, `Name one as \`version\` in \`remote.models["${this.#loader.plan.name}"]\`.`);
    }
    this.#versions.set(endpoint, { version: own, failures: this.#failuresOf(endpoint), heldMs: now });
  }

  async #compare(run: RunItems, endpoint: string | null): Promise<void> {
    const { goldens } = this.#candidate;
    if (goldens.length === 0) throw this.#refusal("the bundle has no golden to check that");
    const known = goldens.filter(({ variant }) => this.#variant === null || variant === this.#variant);
    const asked = new Map<string, Promise<Ran>>();
    let fault = "";
    for (const { variant, isHalf, golden } of known) {
      const { inputs, outputs, floors } = await this.#read(golden);
      const key = JSON.stringify(golden.inputs);
      const answer = asked.get(key) ?? run([{ tensors: inputs, others: null }]);
      asked.set(key, answer);
      const ran = await answer;
      const [reply] = ran.items;
      const random = this.#loader.plan.declared?.outputs.flatMap((x) => (x.isRandom === true ? [x.name] : [])) ?? [];
      // An answer of any model would pass.
      if (!Object.entries(outputs).some(([name, { data }]) => data.length > 0 && !random.includes(name)))
        throw this.#refusal("the bundle's golden has no output with values to compare");
      const own = reply?.ok === true ? reply.value.outputs : {};
      const why = faultOf(own, outputs, isHalf, { floors, random });
      if (why === null) {
        // Another lane may have found another variant meanwhile.
        if (this.#variant !== null && this.#variant !== variant)
          throw this.#refusal(`it is the variant "${variant}", and another server has "${this.#variant}"`);
        this.#variant = variant;
        if (this.#timed.has(endpoint)) return;
        this.#timed.add(endpoint);
        // A server's first run may pay for its session, buffers and shaders: the next one shows what it takes.
        const next = await run([{ tensors: inputs, others: null }]).catch(() => ran);
        this.#onMeasured(Math.min(timeOf(ran), timeOf(next)), endpoint);
        return;
      }
      fault ||= `${variant}: ${why}`;
    }
    throw this.#refusal(`it answers the golden otherwise (${fault})`);
  }

  answered(): null {
    return null;
  }

  /** Reads a golden once: a server that failed is checked again by what is known. */
  #read(golden: Golden): Promise<Known> {
    const known = this.#known.get(golden) ?? this.#readFiles(golden);
    this.#known.set(golden, known);
    known.catch(() => this.#known.delete(golden));
    return known;
  }

  async #readFiles(golden: Golden): Promise<Known> {
    const { readTensors } = await import("../core/read-tensors.ts");
    const files = await this.#loader.read([golden.inputs, golden.outputs]);
    const [inputs, outputs] = await Promise.all(files.map(({ data }) => readTensors(data)));
    if (inputs == null || outputs == null) throw this.#refusal("the golden files can't be read");
    return { inputs: inputs.tensors, outputs: outputs.tensors, floors: outputs.numbers };
  }

  #refusal(why: string, fix?: string): SelvedgeError {
    const { name } = this.#loader.plan;
    const model = this.#loader.servers?.message.remote?.model ?? name;
    const usual = `Name the right one in \`remote.models["${name}"]\`, or vouch for it there with \`verified: true\`.`;
    const text = `The server's model "${model}" is not known to be the bundle's "${name}": ${why}. ${fix ?? usual}`;
    return new SelvedgeError("remote-failed", text, { reason: "other-model", model });
  }
}

/** Returns the time of an answer in ms. */
function timeOf({ preprocessMs, runMs, decodeMs }: Ran): number {
  return preprocessMs + runMs + decodeMs;
}
