// Where a model runs: settles it by facts where they suffice (choose.ts), else measures both backends (probe.ts), and
// remembers the numbers per device and bundle, so that the next page need not measure again.
import type { BackendName } from "./backend/backend.ts";
import type { Plan } from "./cache/protocol.ts";
import { decide } from "./choose.ts";
import type { Candidate, Measured, Placement } from "./choose.ts";
import type { DeviceFacts } from "./device.ts";
import type { Effects } from "./effects.ts";
import { isSelvedgeError, SelvedgeError } from "./errors.ts";
import type { Loader } from "./loader.ts";
import type { Feeds } from "./pool/protocol.ts";
import { probe, typicalFeeds } from "./probe.ts";

/** A variant on a backend, and why there. */
export type Chosen = Placement & Candidate;

const FAILED = "failed";

/** Places the models of one engine. */
export class Placer {
  readonly #effects: Effects;
  readonly #device: DeviceFacts;
  readonly #threads: number;
  readonly #onMeasured: (identity: string, candidate: Candidate, ms: number) => void;

  constructor(
    effects: Effects,
    device: DeviceFacts,
    threads: number,
    onMeasured: (identity: string, candidate: Candidate, ms: number) => void,
  ) {
    this.#onMeasured = onMeasured;
    this.#effects = effects;
    this.#device = device;
    this.#threads = threads;
  }

  /** Decides where a model runs; `measurable` where only a first request's inputs can tell. */
  async place(loader: Loader): Promise<{ placement: Chosen; measurable: boolean }> {
    const { candidates: found, settled, typical } = loader.plan;
    if (settled !== null) return { placement: withVariant(settled, found), measurable: false };
    const remembered = this.#recall(loader.plan);
    if (remembered !== null) {
      this.#tell(loader.plan, remembered);
      const placement = withVariant(decide(remembered), found);
      try {
        await loader.on(placement);
        return { placement, measurable: false };
      } catch (error) {
        if (placement.backend === "wasm" || !isSelvedgeError(error)) throw error;
        return { placement: withVariant(decide({ ...remembered, webgpu: null }), found), measurable: false };
      }
    }
    await loader.on(candidateOf(found, "wasm"));
    const feeds = typicalFeeds(loader.inputs, typical);
    if (feeds !== null) return { placement: await this.measure(loader, feeds), measurable: false };
    const why = { code: "not-measured", text: "wasm: until a first request can be measured" } as const;
    return { placement: { ...candidateOf(found, "wasm"), why }, measurable: true };
  }

  /** Says where a model will run, as far as that is known without a try, and how long a usual request took there. */
  expect(plan: Plan): { placement: Placement | null; ms: number | null } {
    const measured = this.#recall(plan);
    const placement = plan.settled ?? (measured === null ? null : decide(measured));
    return { placement, ms: placement === null ? null : (measured?.[placement.backend] ?? null) };
  }

  /** Measures both backends with the same inputs, and remembers. */
  async measure(loader: Loader, feeds: Feeds): Promise<Chosen> {
    const found = loader.plan.candidates;
    const on = async (backend: BackendName): Promise<number | null> => {
      try {
        const { message, lane } = await loader.on(candidateOf(found, backend));
        return await probe(this.#effects, lane, message, feeds);
      } catch {
        return null; // can't be loaded there: that is the answer
      }
    };
    const measured: Measured = { wasm: await on("wasm"), webgpu: await on("webgpu") };
    const placement = decide(measured);
    this.#tell(loader.plan, measured);
    this.#effects.memo.set(this.#memoKey(loader.plan), `${measured.wasm ?? FAILED} ${measured.webgpu ?? FAILED}`);
    return withVariant(placement, found);
  }

  #tell({ identity, candidates }: Plan, measured: Measured): void {
    for (const candidate of candidates) {
      const ms = measured[candidate.backend];
      if (ms !== null) this.#onMeasured(identity, candidate, ms);
    }
  }

  #recall(plan: Plan): Measured | null {
    const [wasm, webgpu] = (this.#effects.memo.get(this.#memoKey(plan)) ?? "").split(" ").map(parseMs);
    return wasm === undefined || webgpu === undefined ? null : { wasm, webgpu };
  }

  #memoKey({ identity, candidates }: Plan): string {
    const { gpu, cores } = this.#device;
    const device = [gpu?.vendor, gpu?.architecture, gpu?.description, cores, this.#threads].join("|");
    return ["selvedge/measured/2", identity, candidates.map((x) => x.variant.id).join("+"), device].join("/");
  }
}

function candidateOf(found: readonly Candidate[], backend: BackendName): Candidate {
  const candidate = found.find((x) => x.backend === backend);
  if (candidate === undefined) throw new SelvedgeError("internal", `There is no candidate for ${backend}.`);
  return candidate;
}

function withVariant(placement: Placement, found: readonly Candidate[]): Chosen {
  return { ...placement, variant: candidateOf(found, placement.backend).variant };
}

/** Reads what was remembered; undefined for what is no measurement. */
function parseMs(text: string): number | null | undefined {
  return text === FAILED ? null : Number(text) > 0 ? Number(text) : undefined;
}
