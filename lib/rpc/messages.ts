// The thread line: every message between the page and a worker.
// Calls go through Comlink (pool/worker-client.ts here, worker/serve.ts there) and always resolve, to a value or to an
// error as a plain object. Messages are imperative down, past tense up. Everything is cloneable; transfer is an
// optimisation.
import type { BackendFacts, ModelFacts, StartOptions, StateCall } from "./backend.ts";
import type { BundleInput, BundleOutput, DecodeSpec, ImageSpec } from "../core/bundle.ts";
import type { Reply } from "./reply.ts";
import type { NumericDtype, Tensor } from "../core/tensor.ts";
import type { WireError } from "../core/errors.ts";

/** An image on the wire: a file or a frame (cheap to clone, which a bitmap is not), a bitmap, or RGBA pixels, rows from the top. */
export type WireImage = Blob | VideoFrame | ImageBitmap | WirePixels;
/** An image with a size of its own; files and frames become bitmaps in the worker. */
export type StillImage = Exclude<WireImage, Blob | VideoFrame>;
/** RGBA pixels, 4 bytes each, rows from the top, not premultiplied. */
export interface WirePixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

/** One input value of a step; a recurrent state stays on the lane and is none of them. Texts are a row each. */
export type WireValue =
  | { readonly kind: "tensor"; readonly tensor: Tensor }
  | { readonly kind: "image"; readonly image: WireImage }
  | { readonly kind: "text"; readonly texts: readonly string[] };

/** Loads a model into a worker. */
export interface LoadMessage {
  readonly modelId: number;
  /** Exchanged by `renew`. */
  files: readonly { readonly path: string; readonly data: Blob }[];
  /** Has `files` anew where the browser has lost those given; tells whether it could. Stays on the page. */
  readonly renew?: ((lost: LoadMessage["files"]) => Promise<boolean>) | undefined;
  readonly session: Readonly<Record<string, string>>;
  /** Which output feeds which input at the next step, where the model keeps a recurrent state. */
  readonly states?: Readonly<Record<string, string>> | undefined;
  /** Images to tensors, by input name. */
  readonly images: Readonly<Record<string, ImageSpec>>;
  /** Outputs to answers, by output name; `assets` holds the text that they name. */
  readonly decodes: Readonly<Record<string, DecodeSpec>>;
  readonly assets: Readonly<Record<string, string>>;
  /** What the bundle says that the model takes and gives; a model that has other ports is refused. */
  readonly declared?:
    { readonly inputs: readonly BundleInput[]; readonly outputs: readonly BundleOutput[] } | undefined;
}

/** The inputs of one request by name. */
export type Feeds = Readonly<Record<string, WireValue>>;

/** Runs a batch. What fits together is joined in the worker; what does not runs by itself there. */
export interface RunMessage {
  readonly modelId: number;
  /** The requests of the batch; one or more. */
  readonly items: readonly Feeds[];
  /** Present where this is a step of a recurrent state: its inputs are then not among the feeds, and it is alone. */
  readonly state?: StateCall | undefined;
}

/** What came out of one request of a batch. */
export interface RanItem {
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Answers by output name, one per row of the request. */
  readonly decoded: Readonly<Record<string, readonly Decoded[]>>;
}

/** What came out of a batch. A batch of one that fails rejects as a whole; in a larger one each item may fail by itself. */
export interface Ran {
  /** In the order of the requests. */
  readonly items: readonly Reply<RanItem>[];
  /** How often the backend ran: 1 where all were joined. More says that they could not be, or not yet. */
  readonly runs: number;
  /** Whether joining is any use: false once the model proved not to be one whose requests can run together. */
  readonly canJoin: boolean;
  /** Images to tensors. */
  readonly preprocessMs: number;
  /** The backend's runs alone, with joining and splitting. */
  readonly runMs: number;
  /** Outputs to answers. */
  readonly decodeMs: number;
}

/** The answer decoded from one item of an output. */
export type Decoded =
  | { readonly kind: "text"; readonly text: string; readonly confidence: number }
  | {
      readonly kind: "labels";
      readonly labels: readonly { readonly label: string; readonly index: number; readonly score: number }[];
    }
  | { readonly kind: "index"; readonly index: number; readonly score: number }
  | { readonly kind: "probabilities"; readonly probabilities: Float32Array };

/** What a tensor is; its elements lie in the packed bytes. */
export interface Header {
  readonly dtype: NumericDtype;
  readonly dims: readonly number[];
  readonly length: number;
}

/** Tensors of requests, as a message holds them. */
export interface Packed {
  /** Elements of one tensor after the other, each from a multiple of eight bytes on. */
  readonly bytes: ArrayBuffer;
  /** So many requests in a row differ in elements alone. What was not packed is here whole: texts, and what is moved. */
  readonly runs: readonly { readonly count: number; readonly like: Readonly<Record<string, Header | Tensor>> }[];
}

/** The answers that were decoded from one output, of all requests of a batch. */
export interface PackedAnswers {
  readonly kind: Decoded["kind"];
  /** How many entries each row has, by request: a label or a probability is one; a text or an index is its row's only one. */
  readonly sizes: readonly (readonly number[])[];
  /** A text of each entry that has one. */
  readonly texts: readonly string[];
  /** Its numbers: those of one entry after the other. */
  readonly numbers: Float64Array<ArrayBuffer>;
}

/** A RunMessage on the wire: tensors packed, what is none of them beside these. */
export interface WireRun extends Omit<RunMessage, "items"> {
  /** Tensors by request. */
  readonly tensors: Packed;
  /** Images and texts by request; null where no request has any. */
  readonly others: readonly Feeds[] | null;
}

/** What came of a WireRun. */
export interface WireRan extends Omit<Ran, "items"> {
  /** Outputs of the requests that were answered. */
  readonly outputs: Packed;
  /** Their answers, by output name. */
  readonly decoded: Readonly<Record<string, PackedAnswers>>;
  /** By request, why it failed, or null; null where all were answered. */
  readonly errors: readonly (WireError | null)[] | null;
}

/** What a worker offers. One call is in flight inside at a time; further ones wait in order. */
export interface WorkerApi {
  /** Holds one Web Lock for as long as the worker lives, none with null; resolves, whatever else is under way, to whether it does. */
  hold(name: string | null): Promise<Reply<boolean>>;
  start(options: StartOptions): Promise<Reply<BackendFacts>>;
  load(message: Omit<LoadMessage, "renew">): Promise<Reply<ModelFacts>>;
  run(message: WireRun): Promise<Reply<WireRan>>;
  unload(modelId: number): Promise<Reply<null>>;
  forget(stateId: number): Promise<Reply<null>>;
}

/** What a worker says unasked, beside Comlink's own messages. */
export type WorkerNotice =
  | { readonly selvedge: "lost"; readonly reason: string }
  | { readonly selvedge: "log"; readonly line: string }
  /** Asks for one more thread, and gives the port for it. */
  | { readonly selvedge: "thread"; readonly port: MessagePort }
  /** Asks for the second part of the wasm binary, for a model that is about to be loaded; answered through the port. */
  | { readonly selvedge: "rest"; readonly port: MessagePort }
  /** The worker fetches and compiles the second part, blocked, until `linked`: no call of it makes progress. */
  | { readonly selvedge: "linking" }
  | { readonly selvedge: "linked"; readonly rest: WebAssembly.Module | null }
  /** Comes before the answer of the call that changed it. */
  | { readonly selvedge: "memory"; readonly bytes: number };

/** A worker of this name is a thread of another one: ONNX Runtime's glue knows it by that. */
export const THREAD_NAME = "em-pthread";

/** The first message that a thread is sent: where it speaks with the worker that asked for it (worker/backend/threads.ts). */
export interface ThreadMessage {
  readonly port: MessagePort;
}

/** Tells a notice from Comlink's traffic. */
export function isNotice(data: unknown): data is WorkerNotice {
  return typeof data === "object" && data !== null && "selvedge" in data;
}
