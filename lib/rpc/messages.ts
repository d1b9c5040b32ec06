// The thread line: every message between the page and a worker.
//
// Calls go through Comlink (pool/worker-client.ts here, worker/serve.ts there) and always resolve, to a value or to an
// error as a plain object. Messages are imperative down, past tense up. Everything is cloneable; transfer is an
// optimisation.
import type { BackendFacts, ModelFacts, RemoteName, StartOptions, StateCall } from "./backend.ts";
import type { BundleInput, BundleOutput, DecodeSpec, ImageSpec, InputReader } from "../core/bundle.ts";
import type { Reply } from "./reply.ts";
import type { NumericDtype, Tensor } from "../core/tensor.ts";
import type { WireError } from "../core/errors.ts";

/**
 * An image on the wire: a file or a frame (cheap to clone, unlike a bitmap), a bitmap, or RGBA pixels, rows from the
 * top.
 */
export type WireImage = Blob | VideoFrame | ImageBitmap | WirePixels;
/** An image with intrinsic size; files and frames become bitmaps in the worker. */
export type StillImage = Exclude<WireImage, Blob | VideoFrame>;
/** RGBA pixels, 4 bytes each, rows from the top, not premultiplied. */
export interface WirePixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

/** An input that becomes a tensor in the worker. Texts are one per row; samples are of one channel. */
export type RawInput =
  | { readonly kind: "image"; readonly image: WireImage }
  | { readonly kind: "text"; readonly texts: readonly string[] }
  | { readonly kind: "sound"; readonly samples: Float32Array };

/** Loads a model into a worker. */
export interface LoadMessage {
  readonly modelId: number;
  /** Replaced by `renew`. */
  files: readonly { readonly path: string; readonly data: Blob }[];
  /** Reads `files` anew where the browser has lost the bytes; returns whether it could. Stays on the page. */
  readonly renew?: ((lost: LoadMessage["files"]) => Promise<boolean>) | undefined;
  /** Checks the model's answers before requests get them. Stays on the page. */
  readonly check?: AnswerCheck | undefined;
  readonly session: Readonly<Record<string, string>>;
  /** The input that each output feeds at the next step, where the model has a recurrent state. */
  readonly states?: Readonly<Record<string, string>> | undefined;
  /** Whether the rows of a batch influence each other, where its bundle says so. */
  readonly mixesRows?: boolean | undefined;
  /** The model on a server, for a remote lane. */
  readonly remote?: RemoteName | undefined;
  /** Conversions of images to tensors, by input name. */
  readonly images: Readonly<Record<string, ImageSpec>>;
  /** A repository's conversion of texts and sounds, by input name; one for an input that the model lacks is ignored. */
  readonly readers?: Readonly<Record<string, InputReader>> | undefined;
  /** Decoding of outputs, by output name; `assets` holds the text of the files that it names. */
  readonly decodes: Readonly<Record<string, DecodeSpec>>;
  readonly assets: Readonly<Record<string, string>>;
  /** Inputs and outputs that the bundle declares; a model with others is refused. Null for a model that declares none. */
  readonly declared?: { readonly inputs: readonly BundleInput[]; readonly outputs: readonly BundleOutput[] } | null;
}

/** Runs requests of one model on one lane. */
export type RunItems = (items: readonly Feeds[]) => Promise<Ran>;

/** Checks the answers of a model on lanes of one backend (engine/golden-check.ts). */
export interface AnswerCheck {
  /** Error of a model that computed wrongly, which lanes throw in place of a load or a run; null before. */
  readonly refused: Error | null;
  /**
   * Checks a model that a lane has just loaded, before any request runs there; the load fails as it does. `endpoint` is
   * the address of the lane's server, null on this device.
   */
  loaded(run: RunItems, endpoint: string | null, facts: ModelFacts): Promise<void>;
  /** Checks a batch that a lane has just run, which fails as it does; null where there is nothing to wait for. */
  answered(items: readonly Feeds[], ran: Ran, run: RunItems): Promise<void> | null;
}

/** The inputs of one request by name; a recurrent state stays on the lane and is not sent. */
export interface Feeds {
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** Images and texts; null where it has none. */
  readonly others: Readonly<Record<string, RawInput>> | null;
}

/** Runs a batch. Compatible requests are concatenated in the worker; others run one by one there. */
export interface RunMessage {
  readonly modelId: number;
  /** The requests of the batch; one or more. */
  readonly items: readonly Feeds[];
  /**
   * Present for a step of a recurrent state: its inputs are then not among the feeds, and the batch is this one
   * request.
   */
  readonly state?: StateCall | undefined;
}

/** Result of one request of a batch. */
export interface RanItem {
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Answers by output name, one per row of the request. */
  readonly decoded: Readonly<Record<string, readonly Decoded[]>>;
}

/** Result of a batch. A batch of one that fails rejects as a whole; in a larger one each item may fail by itself. */
export interface Ran {
  /** In the order of the requests. */
  readonly items: readonly Reply<RanItem>[];
  /** Number of backend runs: 1 where all were concatenated. More where they could not be, or not yet. */
  readonly runs: number;
  /** Places of the requests that each run answered; absent where one run answered all. */
  readonly groups?: readonly (readonly number[])[] | undefined;
  /**
   * Dims of the tensors of each request by input, those of its images and texts among them; null for one that failed.
   * Absent where no request has an image or a text.
   */
  readonly dims?: readonly (Readonly<Record<string, readonly number[]>> | null)[] | undefined;
  /** Time of images to tensors. */
  readonly preprocessMs: number;
  /** Time of the backend's runs alone, with concatenation and splitting. */
  readonly runMs: number;
  /** Time of outputs to answers. */
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
  | { readonly kind: "probabilities"; readonly probabilities: Float32Array }
  | { readonly kind: "vector"; readonly vector: Float32Array }
  | {
      readonly kind: "entities";
      /**
       * Entities or tokens of a text. `start` and `end` are places in it, as `slice` takes them, and null where the caller
       * brought ids; `index` is that of the first token.
       */
      readonly entities: readonly {
        readonly label: string;
        readonly score: number;
        readonly word: string;
        readonly start: number | null;
        readonly end: number | null;
        readonly index: number;
      }[];
    }
  | {
      readonly kind: "boxes";
      /** The best first; in pixels of the picture, and not cut at its border. */
      readonly boxes: readonly {
        readonly label: string;
        readonly index: number;
        readonly score: number;
        readonly box: {
          readonly xmin: number;
          readonly ymin: number;
          readonly xmax: number;
          readonly ymax: number;
        };
      }[];
    }
  | {
      readonly kind: "segments";
      readonly width: number;
      readonly height: number;
      /** Index of each pixel's class, row by row. */
      readonly classes: Uint16Array;
      /** Labels that occur, with their share of the picture, the largest first. */
      readonly labels: readonly { readonly label: string; readonly index: number; readonly share: number }[];
    }
  /** A number for each pixel of the picture, row by row: the probability of a mask, or the model's depth. */
  | { readonly kind: "map"; readonly width: number; readonly height: number; readonly values: Float32Array }
  /** Key points in pixels of the picture; `label` is empty where the bundle names none. */
  | {
      readonly kind: "points";
      readonly points: readonly {
        readonly label: string;
        readonly index: number;
        readonly score: number;
        readonly x: number;
        readonly y: number;
      }[];
    };

/** A tensor's description; its elements are in the packed bytes. */
export interface Header {
  readonly dtype: NumericDtype;
  readonly dims: readonly number[];
  readonly length: number;
}

/** Tensors of requests, as packed in a message. */
export interface PackedTensors {
  /** Elements of one tensor after the other, each aligned to eight bytes. */
  readonly bytes: ArrayBuffer;
  /**
   * Runs of requests that differ in elements alone. Values that were not packed are here whole: texts, and transferred
   * tensors.
   */
  readonly runs: readonly { readonly count: number; readonly like: Readonly<Record<string, Header | Tensor>> }[];
}

/** The answers decoded from one output, of all requests of a batch. */
export interface PackedAnswers {
  readonly kind: Decoded["kind"];
  /** Entries per row, by request: a label or a probability is one; a text or an index is its row's only one. */
  readonly sizes: readonly (readonly number[])[];
  /** Text of each entry that has one. */
  readonly texts: readonly string[];
  /** Numbers of the entries, one entry after the other. */
  readonly numbers: Float64Array<ArrayBuffer>;
  /** Answers of kinds that are not packed, by request; the other fields are empty then. */
  readonly whole?: readonly (readonly Decoded[])[] | undefined;
}

/** A RunMessage on the wire: tensors packed, all else beside them. */
export interface WireRun extends Omit<RunMessage, "items"> {
  /** Tensors by request. */
  readonly tensors: PackedTensors;
  /** Images and texts by request; null where no request has any. */
  readonly others: readonly Feeds["others"][] | null;
}

/** Result of a WireRun. */
export interface WireRan extends Omit<Ran, "items"> {
  /** Outputs of the successful requests. */
  readonly outputs: PackedTensors;
  /** Their answers, by output name. */
  readonly decoded: Readonly<Record<string, PackedAnswers>>;
  /** Error by request, or null; null where all succeeded. */
  readonly errors: readonly (WireError | null)[] | null;
}

/** The worker's API. One call runs at a time; further ones are queued in order. */
export interface WorkerApi {
  /**
   * Holds one Web Lock for as long as the worker lives, none with null; resolves, whatever else runs, to whether it
   * does.
   */
  hold(name: string | null): Promise<Reply<boolean>>;
  start(options: StartOptions): Promise<Reply<BackendFacts>>;
  /** Announces a model that is about to be loaded; resolves, also before `start`, once its prerequisites are loaded. */
  foresee(model: Blob): Promise<Reply<null>>;
  load(message: Omit<LoadMessage, "renew" | "check">): Promise<Reply<ModelFacts>>;
  run(message: WireRun): Promise<Reply<WireRan>>;
  unload(modelId: number): Promise<Reply<null>>;
  removeState(stateId: number): Promise<Reply<null>>;
}

/** Notices that the worker sends on its own, beside Comlink's messages. */
export type WorkerNotice =
  | { readonly selvedge: "lost"; readonly reason: string }
  | { readonly selvedge: "log"; readonly line: string }
  /** Requests one more thread, and passes the port for it. */
  | { readonly selvedge: "thread"; readonly port: MessagePort }
  /** Requests the second part of the wasm binary, for a model that is about to be loaded; answered through the port. */
  | { readonly selvedge: "rest"; readonly port: MessagePort }
  /** The worker fetches and compiles the second part, blocked, until `linked`: no call of it makes progress. */
  | { readonly selvedge: "linking" }
  | { readonly selvedge: "linked"; readonly rest: WebAssembly.Module | null }
  /** Sent before the answer of the call that changed it. */
  | { readonly selvedge: "memory"; readonly bytes: number };

/**
 * Messages to the worker of a remote lane, beside Comlink's: the time that the run which is sent next has, and the cancel
 * of a run, before or while it runs.
 */
export type CallNotice =
  | { readonly selvedge: "call"; readonly call: number; readonly leftMs: number }
  | { readonly selvedge: "cancel"; readonly call: number };

/** An HTTP request that has ended, of a model's load or run. */
export interface Traffic {
  readonly modelId: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly ms: number;
}

/** Message of a remote lane's worker, sent before the answer of the call: no WorkerNotice, since the lane itself reads it. */
export interface TrafficNotice {
  readonly traffic: Traffic;
}

/** Name of a worker that is a thread of another one: ONNX Runtime's glue detects it by that. */
export const THREAD_NAME = "em-pthread";

/** The first message to a thread: the port to the worker that requested it (worker/backend/threads.ts). */
export interface ThreadMessage {
  readonly port: MessagePort;
}

/** Whether a message is a notice, not one of Comlink's. */
export function isNotice(data: unknown): data is WorkerNotice {
  return typeof data === "object" && data !== null && "selvedge" in data;
}

/** Whether a message to a worker is a notice about a run, not one of Comlink's. */
export function isCallNotice(data: unknown): data is CallNotice {
  return isNotice(data);
}

/** Whether a message to the page reports traffic. */
export function isTrafficNotice(data: unknown): data is TrafficNotice {
  return typeof data === "object" && data !== null && "traffic" in data;
}
