// Connects a loader and a golden check: files, lanes, and the notes that `info.why` shows. Imported when a variant is
// loaded on WebGPU.
import { goldenFiles } from "../core/bundle.ts";
import type { BundleFile } from "../core/bundle.ts";
import type { Candidate } from "../core/choose-variant.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Port } from "../core/tensor.ts";
import type { Plan } from "../cache/messages.ts";
import { GoldenCheck } from "./golden-check.ts";
import type { LoaderHost, OnLane } from "./loader.ts";
import type { LoadOptions } from "./options.ts";
import type { Lane } from "../pool/lane.ts";
import type { BackendName } from "../rpc/backend.ts";
import type { AnswerCheck, Feeds, LoadMessage, Ran } from "../rpc/messages.ts";

/** Notes on the checks of a model. */
export interface CheckNotes {
  /** Returns what is added to a reason for a backend; absent without a check. */
  of?: (backend: BackendName, text: string) => string;
  /** A sentence on each variant that the GPU computed wrongly. */
  refusals?: string[];
}

/** A variant that a GPU is to load, and its loader. */
export interface Subject {
  readonly host: LoaderHost;
  readonly options: LoadOptions;
  readonly plan: () => Plan;
  readonly variant: Candidate["variant"];
  /** The id under which lanes know the variant. */
  readonly modelId: number;
  /** Shared by the checks of all variants of a model. */
  readonly notes: CheckNotes;
  readonly inputs: () => readonly Port[];
  /** Fetches files of the bundle. */
  readonly fetch: (files: readonly BundleFile[]) => Promise<LoadMessage["files"]>;
  /** Loads a candidate onto a lane of its backend. */
  readonly on: (candidate: Candidate) => Promise<OnLane>;
  /** Called once, when the GPU has computed wrongly. */
  readonly onRefused: (error: SelvedgeError) => void;
}

/**
 * Starts to check a variant, before the GPU loads it.
 * @throws SelvedgeError `wrong-result` where it was refused here before
 */
export async function checkGpu(subject: Subject): Promise<AnswerCheck> {
  const { host, options, plan, variant, modelId, notes, fetch } = subject;
  const { effects, device, executor } = host;
  const { golden } = variant;
  const refusals = (notes.refusals ??= []);
  let unchecked: string | null = null;
  notes.of = (backend, text) => {
    const more = refusals.filter((x) => !text.includes(x));
    if (backend === "webgpu" && unchecked !== null) more.push(`unverified: ${unchecked}`);
    return more.map((x) => `; ${x}`).join("");
  };
  const note = ({ details }: SelvedgeError): void => {
    const sentence = String(details["refusal"]);
    if (!refusals.includes(sentence)) refusals.push(sentence);
  };
  const blobs = async (files: readonly BundleFile[]): Promise<readonly Blob[]> =>
    (await fetch(files)).map(({ data }) => data);
  const check = new GoldenCheck({
    ...{ effects, gpu: device.gpu, identity: plan().identity, variant, typical: plan().typical },
    random: plan().declared?.outputs.flatMap(({ name, isRandom }) => (isRandom === true ? [name] : [])) ?? [],
    shapes: () => ({ ports: subject.inputs(), states: plan().states }),
    read: golden === undefined ? null : () => blobs(goldenFiles(golden)),
    model: async () => (await blobs(variant.files))[0] ?? new Blob(),
    allowsUnverified: options.allowUnverified === true,
    run: (backend, items) => probe(subject, { backend, variant }, items),
    isIdle: () => {
      const { queued, running } = executor.dispatcher.depth;
      return queued + running === 0;
    },
    onUnchecked: (why) => {
      unchecked = why;
    },
    onRefused: (error) => {
      note(error);
      executor.pool.unload(modelId).catch(() => undefined); // a worker that ended has freed it already
      subject.onRefused(error);
    },
  });
  if (check.refused !== null) {
    note(check.refused);
    throw check.refused;
  }
  await check.prepare();
  return check;
}

/**
 * Runs requests outside the schedule; null where the engine has no such lane. Frees a model that only a check needed, and
 * ends a worker that has no other.
 * @throws SelvedgeError `does-not-fit` where wasm can't hold the variant, or a page died of that
 */
async function probe(
  { host, plan, on }: Subject,
  { backend, variant }: Candidate,
  items: () => readonly Feeds[],
): Promise<Ran | null> {
  const { pool, markers } = host.executor;
  if (pool.usual(backend).length === 0) return null;
  const { onWasm, identity } = plan();
  const candidate = (backend === "wasm" ? onWasm[variant.id] : undefined) ?? { backend, variant };
  if (candidate.fit?.fits === "no" || (backend === "wasm" && markers.has(identity, candidate)))
    throw new SelvedgeError("does-not-fit", "Wasm can't hold it, or a page died of that.");
  const { lane, message } = await on(candidate);
  try {
    return await lane.run(message, items, { isProbe: true });
  } finally {
    const isUsed = plan().candidates.some((x) => x.backend === backend && x.variant.id === variant.id);
    if (!isUsed) await discard(lane, message.modelId);
  }
}

async function discard(lane: Lane, modelId: number): Promise<void> {
  await lane.unload(modelId).catch(() => undefined); // a worker that ended has freed it already
  if (lane.free && lane.held.size === 0) lane.end(new SelvedgeError("closed", "Its check is over."));
}
