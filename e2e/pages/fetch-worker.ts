// Sends a request with `fetch` from a worker, as Selvedge does: the bound of the client's cost in the `remote` benchmark.

/** A request, as bytes. */
export interface Sent {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array<ArrayBuffer>;
}

self.onmessage = async ({ data: { url, headers, body } }: MessageEvent<Sent>) => {
  const response = await fetch(url, { method: "POST", headers, body, cache: "no-store" });
  const bytes = await response.arrayBuffer();
  self.postMessage({ status: response.status, bytes }, { transfer: [bytes] });
};
