// The worker's side of a peer in the benchmark of faults, as hand-written around a library: one request after the
// other, each answered by its result or its error. Its calls have the names of Selvedge's, so that the same fault
// injection finds them (demo/faults/harm.ts).

/** Inputs of a run. */
export type PeerFeeds = Readonly<
  Record<string, { readonly dtype: "float32" | "int64"; readonly dims: number[]; readonly data: PeerData }>
>;
/** Numbers of a tensor. */
export type PeerData = Float32Array | BigInt64Array;

/** Request of the page. */
export interface PeerAsk {
  readonly id: number;
  /** "load" or "run". */
  readonly path: readonly [string];
  readonly model?: Uint8Array<ArrayBuffer>;
  readonly backend?: "webgpu" | "wasm";
  readonly feeds?: PeerFeeds;
}

/** Response to the page. */
export interface PeerAnswer {
  readonly id: number;
  readonly y?: PeerData;
  readonly error?: string;
}

/** A library behind this worker. */
export interface Peer {
  load(model: Uint8Array<ArrayBuffer>, backend: "webgpu" | "wasm"): Promise<void>;
  /** Returns the output `y`. */
  run(feeds: PeerFeeds): Promise<PeerData>;
}

/** Answers the page's requests. */
export function answer(peer: Peer): void {
  let tail: Promise<unknown> = Promise.resolve();
  const handle = async ({ id, model, backend = "wasm", feeds }: PeerAsk): Promise<void> => {
    let said: PeerAnswer = { id };
    try {
      if (model !== undefined) await peer.load(model, backend);
      else if (feeds !== undefined) said = { id, y: await peer.run(feeds) };
    } catch (error) {
      said = { id, error: String(error) };
    }
    self.postMessage(said);
  };
  self.addEventListener("message", ({ data }: MessageEvent<PeerAsk>) => {
    tail = tail.then(() => handle(data));
  });
}
