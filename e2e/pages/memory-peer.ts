// The worker's side of a peer whose loads are measured: it answers null once a model is loaded, or the error's text.

/** A model to be loaded. */
export interface Ask {
  /** Path of its URL. */
  readonly path: string;
  readonly backend: "webgpu" | "wasm";
}

/** Answers the page. */
export function answer(load: (ask: Ask) => Promise<unknown>): void {
  self.addEventListener("message", ({ data }: MessageEvent<Ask>) => {
    load(data).then(
      () => {
        self.postMessage(null);
      },
      (error: unknown) => {
        self.postMessage(String(error));
      },
    );
  });
}
