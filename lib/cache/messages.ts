// The thread line to the worker that fetches models: messages as types. Downloading, hashing and checking a bundle
// happen there, so that none of it costs the page's thread or its first bytes of script.
import type { BundleFile, BundleFormat, DecodeSpec, ImageSpec } from "../core/bundle.ts";
import type { Candidate, Pins, Placement } from "../core/choose-variant.ts";
import type { Why } from "../core/reasons.ts";
import type { BackendName, DeviceFacts } from "../core/device.ts";
import type { LifeChange } from "../effects/effects.ts";
import type { Reply } from "../rpc/reply.ts";
import type { Port } from "../core/tensor.ts";
import type { StoredBundle } from "./model-store.ts";
import type { StoreKind } from "./stores/store.ts";

/** Tells how far a load is. */
export interface Progress {
  /** How many bytes are here, from the store and from the network. */
  readonly loadedBytes: number;
  /** How many will be here in the end; null while the server has not told. */
  readonly totalBytes: number | null;
  /** How many of them were in the store already. */
  readonly cachedBytes: number;
  /** How fast the network was in the last seconds; null where that can't be told yet. */
  readonly bytesPerSecond: number | null;
  /** How long it will take at that rate; null where that can't be told yet. */
  readonly secondsLeft: number | null;
  /** The same by file; what two files share counts for the first. */
  readonly files: readonly FileProgress[];
}

/** Tells how far a file is. */
export interface FileProgress {
  /** The file's path in its bundle. */
  readonly path: string;
  /** How many of its bytes are here. */
  readonly loadedBytes: number;
  /** Its size; null while the server has not told. */
  readonly totalBytes: number | null;
}

/** What a variant is chosen by. */
export interface Wish {
  readonly device: DeviceFacts;
  /** The backends that may be used. */
  readonly backends: readonly BackendName[];
  readonly pins: Pins;
  /** What a page died of while it tried it. */
  readonly crashed: readonly Candidate[];
  /** Public keys, one of which must vouch for a bundle; none where anything is taken. */
  readonly trustedKeys: readonly string[];
  /** Which version is used where one is stored. */
  readonly update: UpdatePolicy;
  /** The only version that is taken. */
  readonly identity: string | undefined;
  /** The only model name that is taken. */
  readonly name: string | undefined;
  /** Signed releases that the page has seen (releases.ts), beside those in the store; null for none. */
  readonly seen: string | null;
}

/**
 * Which version of a bundle is used where one is stored: the server's if it answers (`first`), the stored one and the
 * server's from the next load on (`later`), the stored one until it is updated (`never`).
 */
export type UpdatePolicy = "first" | "later" | "never";

/** What a candidate costs to have. */
export interface Cost {
  /** Null for a bare model. */
  readonly backend: BackendName | null;
  /** Its size with the assets; null where the server does not tell. */
  readonly bytes: number | null;
  /** What of that is not stored yet. */
  readonly bytesToFetch: number | null;
  /** Whether a tab is fetching it now. */
  readonly isUnderWay: boolean;
}

/** What the worker sees of a model before it is fetched. */
export interface Look {
  /** Null for a bare model, and where it can't be had. */
  readonly plan: Plan | null;
  readonly costs: readonly Cost[];
  /** Why it can't be had. */
  readonly failed: string | null;
  readonly freeBytes: number | null;
  readonly bytesPerSecond: number | null;
  readonly saveData: boolean;
}

/** What an update did. */
export interface Updated {
  /** The newest version, which the next load gets. */
  readonly identity: string;
  /** Whether it is another one than was stored. */
  readonly isNew: boolean;
  /** Bytes of its chunks that came from the network; the others were stored already. */
  readonly fetchedBytes: number;
}

/** A model found, and how it may be run here. */
export interface Plan {
  readonly name: string;
  /** The schema of its bundle. */
  readonly format: BundleFormat;
  /** 64 hex digits: the SHA-256 of the bundle's canonical JSON, or of the list of a bare model's chunks. */
  readonly identity: string;
  /** What the bundle says that the model takes and gives; null for a bare model, which tells it once it is loaded. */
  readonly declared: { readonly inputs: readonly Port[]; readonly outputs: readonly Port[] } | null;
  /** Images to tensors, by input name. */
  readonly images: Readonly<Record<string, ImageSpec>>;
  /** Outputs to answers, by output name. */
  readonly decodes: Readonly<Record<string, DecodeSpec>>;
  /** Which output feeds which input at the next step. */
  readonly states: Readonly<Record<string, string>>;
  /** A usual size for each symbolic dim. */
  readonly typical: Readonly<Record<string, number>>;
  readonly assets: readonly BundleFile[];
  /** The best variant for each backend that can run one, WebGPU first. */
  readonly candidates: readonly Candidate[];
  /** Where it runs, where facts suffice to tell; null where it must be measured. */
  readonly settled: Placement | null;
  /** Says why the best candidate was passed over, where a page died of it. */
  readonly spared: Why | null;
  /** Signed releases that were seen, this one included, for the page to keep; null without trusted keys. */
  readonly seen: string | null;
  /** Why the stored version is used although the server answered: what it sent was refused; null where it was not. */
  readonly refused: string | null;
  /** The bytes of a bare model; null for a bundle, whose files are fetched when a variant is chosen. */
  readonly data: Blob | null;
}

/** Where models are kept: on the device, in memory while the engine lives, or not at all. */
export type StoreChoice = "auto" | "memory" | false;

/** A bundle, and what its chunks' addresses are relative to. */
export interface BundleAddress {
  readonly url: string;
  readonly identity: string;
  /** Says how its chunks are named. */
  readonly format: BundleFormat;
}

/** What is stored on the device for this site. */
export interface StoreContents {
  /** Names where it is kept. */
  readonly kind: StoreKind;
  /** Bytes of all chunks. */
  readonly bytes: number;
  /** How much the browser says that may still be stored; null where it does not say. */
  readonly freeBytes: number | null;
  /** The last used first. */
  readonly bundles: readonly StoredBundle[];
}

/** A file that was stored. */
export interface StoredFile {
  /** Its path in the bundle. */
  readonly path: string;
  /** Its bytes. */
  readonly data: Blob;
}

/** What can be done with what is stored (manage.ts). */
export interface Manage {
  /** Lists what is stored. */
  contents(): Promise<Reply<StoreContents>>;
  /** Gives a stored bundle, by identity or address. */
  find(which: string): Promise<Reply<StoredBundle | null>>;
  /** Pins or unpins a stored bundle. */
  pin(which: string, isPinned: boolean): Promise<Reply<boolean>>;
  /** Removes a stored bundle. */
  delete(which: string | null): Promise<Reply<number>>;
  /** Gives the files of a stored variant. */
  export(which: string, variant: string | undefined): Promise<Reply<StoredFile[]>>;
}

/** What the worker offers. Each call carries a ticket, by which it is cancelled and its progress told. */
export interface CacheApi extends Manage {
  /** Holds one Web Lock for as long as the worker lives, none with null; resolves to whether it does. */
  hold(name: string | null): Promise<Reply<boolean>>;
  /** Says where models are kept, where the decoder of brotli is, and which identities are loaded; the first call. */
  begin(store: StoreChoice, brotliUrl: string, loaded: readonly string[]): Promise<Reply<null>>;
  /** Says that no model of a bundle is loaded any more, so that it may be evicted. */
  unloaded(identity: string): Promise<Reply<null>>;
  /** Opens an address (`bundle.json`, or a bare model, which is fetched) or a bare model's bytes. */
  open(ticket: number, from: string | Blob, wish: Wish): Promise<Reply<Plan>>;
  /** Fetches files of a bundle, each verified chunk by chunk. */
  files(ticket: number, bundle: BundleAddress, files: readonly BundleFile[]): Promise<Reply<Blob[]>>;
  /** Looks at what a model would cost, without fetching it. */
  look(ticket: number, from: string, wish: Wish): Promise<Reply<Look>>;
  /** Stores the newest version of a bundle, for later loads. */
  update(ticket: number, from: string, wish: Wish): Promise<Reply<Updated>>;
  /** Tells what becomes of the page: one that is left lets go of its locks. */
  life(change: LifeChange): Promise<Reply<null>>;
  /** Answers after so many ms: the clock of a worker, which a hidden page does not slow. */
  wait(ms: number): Promise<Reply<null>>;
  /** Cancels a call. */
  cancel(ticket: number): Promise<Reply<null>>;
}

/** What the worker says unasked. */
export interface ProgressNotice extends Progress {
  readonly selvedge: "progress";
  readonly ticket: number;
}

/** Tells a notice from Comlink's traffic. */
export function isProgress(data: unknown): data is ProgressNotice {
  return typeof data === "object" && data !== null && "selvedge" in data && data.selvedge === "progress";
}
