// The thread line to the worker that fetches models, as types of messages. Downloads, hashing and validation of a
// bundle run there, so that they cost neither the page's thread nor its first bytes of script.
import type {
  BundleFile,
  BundleFormat,
  BundleOutput,
  DecodeSpec,
  Golden,
  ImageSpec,
  InputReader,
} from "../core/bundle.ts";
import type { Candidate, Pins, BackendChoice } from "../core/choose-variant.ts";
import type { Fit, MemoryCriteria } from "../core/fit.ts";
import type { Why } from "../core/reasons.ts";
import type { BackendName, DeviceFacts, Placement } from "../core/device.ts";
import type { LifeChange } from "../effects/effects.ts";
import type { Reply } from "../rpc/reply.ts";
import type { Port } from "../core/tensor.ts";
import type { ClassesOption, ImageOption } from "../core/describe-model.ts";
import type { StoredBundle } from "./model-store.ts";
import type { StoreKind } from "./stores/store.ts";

/** Progress of a load. */
export interface Progress {
  /** Loaded bytes, from the store and from the network. */
  readonly loadedBytes: number;
  /** Total bytes; null until the server has sent the size. */
  readonly totalBytes: number | null;
  /** The loaded bytes that were stored already. */
  readonly cachedBytes: number;
  /** Network rate of the last seconds; null where too little was received for an estimate. */
  readonly bytesPerSecond: number | null;
  /** Estimated remaining time at that rate; null without an estimate. */
  readonly secondsLeft: number | null;
  /** The same by file; bytes that two files share count for the first. */
  readonly files: readonly FileProgress[];
}

/** Progress of a file. */
export interface FileProgress {
  /** The file's path in its bundle. */
  readonly path: string;
  /** Loaded bytes. */
  readonly loadedBytes: number;
  /** Its size; null until the server has sent it. */
  readonly totalBytes: number | null;
}

/** Criteria for choosing version and variant. */
export interface LoadCriteria {
  readonly device: DeviceFacts;
  /** The backends that may be used. */
  readonly backends: readonly BackendName[];
  readonly pins: Pins;
  /** Candidates that crashed a page when they were tried. */
  readonly crashed: readonly Candidate[];
  /** Candidates that ran out of memory in this load: no others as large are tried. */
  readonly full: readonly Candidate[];
  readonly memory: MemoryCriteria;
  /** Public keys, one of which must have signed a bundle; none accepts any bundle. */
  readonly trustedKeys: readonly string[];
  /** Policy for a stored version. */
  readonly update: UpdatePolicy;
  /** The only accepted version. */
  readonly identity: string | undefined;
  /** The only accepted model name. */
  readonly name: string | undefined;
  /** The app's own description of a bare model. */
  readonly described?: OwnDescription | undefined;
  /** Signed releases that the page has seen (releases.ts), beside those in the store; null for none. */
  readonly seen: string | null;
  /** Token for a repository's host. */
  readonly token?: string | undefined;
  /** Where requests may run. Default: on this device. */
  readonly placement?: Placement | undefined;
}

/** An app's own description of a bare model. */
export interface OwnDescription {
  readonly image?: ImageOption | undefined;
  /** The labels, or the absolute address of their file. */
  readonly labels?: (Omit<ClassesOption, "labels"> & { readonly from: string | readonly string[] }) | undefined;
}

/**
 * Policy for a stored version of a bundle: the server's version if it answers (`first`), the stored one now and the
 * server's from the next load on (`later`), the stored one until it is updated (`never`).
 */
export type UpdatePolicy = "first" | "later" | "never";

/** Download cost of a candidate. */
export interface DownloadCost {
  /** Null for a bare model. */
  readonly backend: BackendName | null;
  /** Its size with the assets; null where the server does not send it. */
  readonly bytes: number | null;
  /** Bytes that are not stored yet. */
  readonly bytesToFetch: number | null;
  /** Whether a tab is fetching it now. */
  readonly isUnderWay: boolean;
  /** Whether it fits in memory; null where its size is not known. */
  readonly fit: Fit | null;
}

/** Availability of a model, before it is fetched. */
export interface CostEstimate {
  /** Null for a bare model, and where it is not available. */
  readonly plan: Plan | null;
  readonly costs: readonly DownloadCost[];
  /** Why it is not available. */
  readonly failed: string | null;
  /** The memory of a model that does not fit; else null. */
  readonly unfit: Fit | null;
  readonly freeBytes: number | null;
  readonly bytesPerSecond: number | null;
  readonly saveData: boolean;
}

/** Result of an update. */
export interface Updated {
  /** The newest version, which the next load uses. */
  readonly identity: string;
  /** Whether it differs from the stored one. */
  readonly isNew: boolean;
  /** Bytes of its chunks that came from the network; the others were stored already. */
  readonly fetchedBytes: number;
}

/** An opened model, and how it may be run here. */
export interface Plan {
  readonly name: string;
  /** The schema of its bundle. */
  readonly format: BundleFormat;
  /** 64 hex digits: the SHA-256 of the bundle's canonical JSON, or of the list of a bare model's chunks. */
  readonly identity: string;
  /** Identity under which the store has a bare model that the app describes; absent where it is `identity`. */
  readonly storedAs?: string | undefined;
  /** Assets that the app gave with a bare model, by path. */
  readonly texts?: Readonly<Record<string, string>> | undefined;
  /** The bundle's declared inputs and outputs; null for a bare model, whose ports are known once it is loaded. */
  readonly declared: { readonly inputs: readonly Port[]; readonly outputs: readonly BundleOutput[] } | null;
  /** Conversions of images to tensors, by input name. */
  readonly images: Readonly<Record<string, ImageSpec>>;
  /** Decoding of outputs, by output name. */
  readonly decodes: Readonly<Record<string, DecodeSpec>>;
  /** A repository's tokenization of texts, by input name: its ports are known once the model is loaded. */
  readonly readers: Readonly<Record<string, InputReader>> | undefined;
  /** The input that each output feeds at the next step. */
  readonly states: Readonly<Record<string, string>>;
  /** A typical size for each symbolic dim. */
  readonly typical: Readonly<Record<string, number>>;
  readonly assets: readonly BundleFile[];
  /** The best variant for each backend that can run one, WebGPU first. */
  readonly candidates: readonly Candidate[];
  /** Further variants for WebGPU in the order of preference, for the case that the first computes wrongly here. */
  readonly spares: readonly Candidate[];
  /** The variants that the GPU may run as wasm would load them, by id: with these its answers are compared. */
  readonly onWasm: Readonly<Record<string, Candidate>>;
  /** The best variant on wasm that takes less memory than the one among the candidates; null where there is none. */
  readonly smaller: (Candidate & { readonly why: Why }) | null;
  /** The backend, where facts suffice to decide; null where it must be measured. */
  readonly settled: BackendChoice | null;
  /** The model on servers, with the known answers of its variants; null where servers are not asked. */
  readonly remote?: RemoteCandidate | null | undefined;
  /** The reason for passing over the best candidate: it crashed a page, or may not fit in memory; null without one. */
  readonly spared: Why | null;
  /** Signed releases that were seen, this one included, for the page to keep; null without trusted keys. */
  readonly seen: string | null;
  /** Why the stored version is used although the server answered: its answer was refused; null where it was not. */
  readonly refused: string | null;
  /** Whether it is to be fetched again in the background: its server can't be asked whether it changed. */
  readonly mustCheck?: boolean | undefined;
  /** The bytes of a bare model; null for a bundle, whose files are fetched when a variant is chosen. */
  readonly data: Blob | null;
}

/** A bundle's model on servers. */
export interface RemoteCandidate extends Candidate {
  /** Goldens of the variants: a server has one of them. */
  readonly goldens: readonly { readonly variant: string; readonly isHalf: boolean; readonly golden: Golden }[];
  /** Why no variant runs on this device; null where one does. */
  readonly why: string | null;
}

/** Storage of models: on the device, in memory while the engine lives, or none. */
export type StoreChoice = "auto" | "memory" | false;

/** A bundle, and the base of its chunks' addresses. */
export interface BundleAddress {
  readonly url: string;
  readonly identity: string;
  /** The schema, which determines the names of its chunks. */
  readonly format: BundleFormat;
  /** Token for a repository's host. */
  readonly token?: string | undefined;
}

/** The models stored on the device for this site. */
export interface StoreContents {
  /** Kind of the store. */
  readonly kind: StoreKind;
  /** Bytes of all chunks. */
  readonly bytes: number;
  /** The browser's estimate of available space; null where it has none. */
  readonly freeBytes: number | null;
  /** The most recently used first. */
  readonly bundles: readonly StoredBundle[];
}

/** A file that was stored. */
export interface StoredFile {
  /** Its path in the bundle. */
  readonly path: string;
  /** Its bytes. */
  readonly data: Blob;
}

/** Management of stored models (manage.ts). */
export interface Manage {
  /** Lists stored models. */
  contents(): Promise<Reply<StoreContents>>;
  /** Returns a stored bundle, by identity or address. */
  find(which: string): Promise<Reply<StoredBundle | null>>;
  /** Pins or unpins a stored bundle. */
  pin(which: string, isPinned: boolean): Promise<Reply<boolean>>;
  /** Removes a stored bundle. */
  delete(which: string | null): Promise<Reply<number>>;
  /** Returns the files of a stored variant. */
  export(which: string, variant: string | undefined): Promise<Reply<StoredFile[]>>;
}

/** The worker's API. Each call carries a ticket, by which it is cancelled and its progress reported. */
export interface CacheApi extends Manage {
  /** Holds one Web Lock for as long as the worker lives, none with null; resolves to whether it does. */
  hold(name: string | null): Promise<Reply<boolean>>;
  /** Sets the storage, the address of the brotli decoder, and the identities that are loaded; the first call. */
  begin(store: StoreChoice, brotliUrl: string, loaded: readonly string[]): Promise<Reply<null>>;
  /** Notes that no model of a bundle is loaded any more, so that it may be evicted. */
  unloaded(identity: string): Promise<Reply<null>>;
  /** Opens an address (`bundle.json`, or a bare model, which is fetched) or a bare model's bytes. */
  open(ticket: number, from: string | Blob, criteria: LoadCriteria): Promise<Reply<Plan>>;
  /** Fetches files of a bundle, each verified chunk by chunk. */
  files(ticket: number, bundle: BundleAddress, files: readonly BundleFile[]): Promise<Reply<Blob[]>>;
  /** Estimates the cost of a model, without fetching it. */
  estimate(ticket: number, from: string, criteria: LoadCriteria): Promise<Reply<CostEstimate>>;
  /** Stores the newest version of a bundle, for later loads. */
  update(ticket: number, from: string, criteria: LoadCriteria): Promise<Reply<Updated>>;
  /** Passes on a change of the page's life cycle: a page that is left releases its locks. */
  life(change: LifeChange): Promise<Reply<null>>;
  /** Answers after so many ms: a worker's timer, which the browser does not throttle for a hidden page. */
  wait(ms: number): Promise<Reply<null>>;
  /** Cancels a call. */
  cancel(ticket: number): Promise<Reply<null>>;
}

/** Progress notices that the worker sends on its own. */
export interface ProgressNotice extends Progress {
  readonly selvedge: "progress";
  readonly ticket: number;
}

/** Whether a message is a notice, not one of Comlink's. */
export function isProgress(data: unknown): data is ProgressNotice {
  return typeof data === "object" && data !== null && "selvedge" in data && data.selvedge === "progress";
}
