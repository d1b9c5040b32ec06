// A server that speaks enough of the Open Inference Protocol for one model, "double" (y = 2 x, FP32 [-1, 4]), and
// misbehaves on request: for faults that no real engine shows on demand. Real HTTP over 127.0.0.1.
import { createServer } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { gunzipSync } from "node:zlib";

/** A request as it came. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The body, uncompressed. */
  readonly body: Buffer;
}

/** Answers a request in another way; `pass` answers it rightly. */
export type ServerFault = (response: ServerResponse, seen: SeenRequest, pass: () => void) => void;

/** Metadata of the model "double". */
export const DOUBLE = {
  name: "double",
  versions: ["1"],
  platform: "test",
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [-1, 4] }],
};

/** A server with faults. */
export class FaultyEngine {
  /** Requests to `infer`, in order. */
  readonly infers: SeenRequest[] = [];
  /** Faults of the next requests to `infer`, one each; then `always`, where it is set. */
  readonly faults: ServerFault[] = [];
  always: ServerFault | null = null;
  /** Replaces a path's reply, by path. */
  readonly paths = new Map<string, ServerFault>();
  /** Whether it has the binary extension. */
  isBinary = true;
  port = 0;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #arrival: (() => void) | null = null;

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts, on the port of the first start. */
  async start(): Promise<void> {
    const server = createServer((request, response) => {
      void this.#answer(request, response);
    });
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.port, "127.0.0.1", resolve);
    });
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Ends at once, as a killed process: connections are reset, new ones refused. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    const closed = new Promise<void>((resolve) => {
      if (server === null) resolve();
      else
        server.close(() => {
          resolve();
        });
    });
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  /** Resolves when the next request to `infer` has arrived. */
  async arrival(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#arrival = resolve;
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    try {
      for await (const part of request) parts.push(part as Buffer);
    } catch {
      return; // The client went away.
    }
    const whole = Buffer.concat(parts);
    const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(whole) : whole;
    const seen = { method: request.method ?? "", path: request.url ?? "", headers: request.headers, body };
    const isInfer = seen.path.endsWith("/infer");
    const pass = (): void => {
      if (isInfer) this.#infer(seen, response);
      else sendJson(response, seen.path.includes("/models/") ? DOUBLE : { name: "test", version: "1", extensions: [] });
    };
    if (isInfer) this.infers.push(seen);
    const fault = isInfer ? (this.faults.shift() ?? this.always) : this.paths.get(seen.path);
    if (fault === null || fault === undefined) pass();
    else fault(response, seen, pass);
    if (isInfer) this.#arrival?.();
  }

  #infer({ headers, body }: SeenRequest, response: ServerResponse): void {
    const length = headers["inference-header-content-length"];
    if (length !== undefined && !this.isBinary) {
      sendJson(response, { detail: [{ msg: "Input should be a valid dictionary" }] }, 422);
      return;
    }
    const head = JSON.parse(body.subarray(0, length === undefined ? body.length : Number(length)).toString()) as {
      id: string;
      inputs: { shape: number[]; data?: number[] }[];
      parameters?: { binary_data_output?: boolean };
    };
    const [input] = head.inputs;
    const bytes = length === undefined ? null : body.subarray(Number(length));
    const values =
      input?.data ?? Array.from({ length: (bytes?.length ?? 0) / 4 }, (_, i) => bytes?.readFloatLE(4 * i) ?? 0);
    const doubled = values.map((x) => 2 * x);
    const reply = { model_name: "double", model_version: "1", id: head.id };
    const output = { name: "y", datatype: "FP32", shape: input?.shape };
    if (this.isBinary && head.parameters?.binary_data_output === true)
      sendBinary(
        response,
        { ...reply, outputs: [{ ...output, parameters: { binary_data_size: 4 * doubled.length } }] },
        floats(doubled),
      );
    else sendJson(response, { ...reply, outputs: [{ ...output, data: doubled }] });
  }
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

/** Answers with JSON and tensor bytes behind it. */
export function sendBinary(response: ServerResponse, head: unknown, bytes: Buffer): void {
  const json = Buffer.from(JSON.stringify(head));
  response.writeHead(200, { "inference-header-content-length": String(json.length) }).end(Buffer.concat([json, bytes]));
}

/** Returns values as the bytes of an FP32 tensor. */
export function floats(values: readonly number[]): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}
