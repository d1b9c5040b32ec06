// One model on its way onto lanes: fetches each variant once, loads each candidate once on the lane that serves it
// first. Other lanes of the backend load it by themselves when their first request comes.
import type { BackendName, ModelFacts } from "./backend/backend.ts";
import type { DecodeSpec, ImageSpec } from "./bundle.ts";
import type { FetchOptions } from "./cache/client.ts";
import type { Candidate, Placement } from "./choose.ts";
import type { Route } from "./dispatcher.ts";
import { SelvedgeError } from "./errors.ts";
import type { Placed } from "./model.ts";
import type { Lane } from "./pool/lane.ts";
import type { Pool } from "./pool/pool.ts";
import type { LoadMessage } from "./pool/protocol.ts";
import type { Opened } from "./source.ts";
import type { Port } from "./tensor.ts";

/** A candidate that is loaded on a lane. */
export interface OnLane {
  readonly message: LoadMessage;
  readonly lane: Lane;
  readonly facts: ModelFacts;
}

/** One model on its way onto lanes. */
export class Loader {
  /** The ids under which lanes may hold it, one per candidate. */
  readonly modelIds: number[] = [];
  /** Images to tensors, by input name. */
  readonly images: Record<string, ImageSpec> = {};
  /** Which output feeds which input at the next step. */
  readonly states: Record<string, string> = {};
  readonly #decodes: Record<string, DecodeSpec> = {};
  readonly #pool: Pool;
  readonly #opened: Opened;
  readonly #download: FetchOptions;
  readonly #newId: (candidate: Candidate) => number;
  readonly #files: Map<string, Promise<LoadMessage["files"]>> = new Map();
  readonly #messages: Map<string, Promise<LoadMessage>> = new Map();
  #assets: Promise<Record<string, string>> | null = null;
  #facts: ModelFacts | null = null;

  constructor(pool: Pool, opened: Opened, download: FetchOptions, newId: (candidate: Candidate) => number) {
    this.#pool = pool;
    this.#opened = opened;
    this.#download = download;
    this.#newId = newId;
    for (const x of opened.bundle.model.inputs) if (x.image !== undefined) this.images[x.name] = x.image;
    for (const x of opened.bundle.model.outputs) {
      if (x.decode !== undefined) this.#decodes[x.name] = x.decode;
      if (x.feeds !== undefined) this.states[x.name] = x.feeds;
    }
  }

  /** Describes the inputs; known for a bare model once it was loaded. */
  get inputs(): readonly Port[] {
    const { bundle, declared } = this.#opened;
    return declared ? bundle.model.inputs : (this.#facts?.inputs ?? []);
  }

  /** Describes the outputs; known for a bare model once it was loaded. */
  get outputs(): readonly Port[] {
    const { bundle, declared } = this.#opened;
    return declared ? bundle.model.outputs : (this.#facts?.outputs ?? []);
  }

  /** Loads a candidate onto a lane of its backend. */
  async on(candidate: Candidate): Promise<OnLane> {
    const message = await this.#message(candidate);
    const lane = this.#pool.pick(candidate.backend, message.modelId);
    if (lane === undefined) throw new SelvedgeError("no-backend", `There is no ${candidate.backend} lane.`);
    const facts = await lane.load(message);
    this.#facts ??= facts;
    return { message, lane, facts };
  }

  /** Loads where a placement says, and gives what a model holds of it; the other candidates are what it can go down to. */
  async placed(placement: Placement & Candidate, found: readonly Candidate[]): Promise<Placed> {
    const { message, facts } = await this.on(placement);
    const { backend, variant, why } = placement;
    const chosen: Route = { backend, variant: variant.id, why, message: () => this.#message(placement) };
    // Down means away from the GPU; wasm can't be lost, and a model that wasm can't run finds no help on a GPU.
    const others = backend === "webgpu" ? found.filter((x) => x.backend !== backend) : [];
    const down = others.map((x): Route => {
      const text = `${x.backend}: the GPU was lost or failed, so this ran there instead`;
      return {
        backend: x.backend,
        variant: x.variant.id,
        why: { code: "gpu-lost", text },
        message: () => this.#message(x),
      };
    });
    return { routes: [chosen, ...down], message, assignment: facts.assignment };
  }

  #message(candidate: Candidate): Promise<LoadMessage> {
    const { backend, variant } = candidate;
    const key = `${variant.id} ${backend}`;
    const known = this.#messages.get(key);
    if (known !== undefined) return known;
    const modelId = this.#newId(candidate);
    this.modelIds.push(modelId);
    const made = this.#make(modelId, backend, variant);
    this.#messages.set(key, made);
    return made;
  }

  async #make(modelId: number, backend: BackendName, variant: Candidate["variant"]): Promise<LoadMessage> {
    const files = this.#files.get(variant.id) ?? this.#opened.files(variant, this.#download);
    this.#files.set(variant.id, files);
    this.#assets ??= this.#opened.assets(this.#download);
    return {
      modelId,
      files: await files,
      session: variant.session?.[backend] ?? {},
      states: this.states,
      images: this.images,
      decodes: this.#decodes,
      assets: await this.#assets,
      declared: this.#opened.declared ? this.#opened.bundle.model : undefined,
    };
  }
}
