// Bodies of requests, decompressed as they arrive. Each byte is counted when it is there: an announced length takes
// nothing from others, and a small compressed body that expands to a large one counts as the large one.
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import type { FastifyReply, FastifyRequest } from "fastify";
import { HttpError } from "./http-error.ts";

/** Output of one step of decompression, in bytes. */
const CHUNK = 65_536;

/** Bytes of all requests that are not answered yet, and of answers that are not sent yet. */
export class PendingBytes {
  readonly #max: number;
  readonly #held: Map<FastifyRequest, number> = new Map();
  #total = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Counts what `add` states for a request, until its answer was sent or its client left. */
  track(request: FastifyRequest, reply: FastifyReply): void {
    this.#held.set(request, 0);
    reply.raw.once("close", () => {
      this.release(request);
      this.#held.delete(request);
    });
  }

  /** Adds bytes to those of a request. Returns whether it is still tracked. */
  add(request: FastifyRequest, bytes: number): boolean {
    const held = this.#held.get(request);
    if (held === undefined) return false;
    this.#held.set(request, held + bytes);
    this.#total += bytes;
    return true;
  }

  /** Subtracts all bytes of a request. */
  release(request: FastifyRequest): void {
    this.add(request, -(this.#held.get(request) ?? 0));
  }

  /**
   * Checks before a request's body is read, and before its answer is made: many requests whose answers are far larger may
   * have been admitted before the first of these is there. @throws HttpError 429 where so many bytes more are too many
   */
  check(bytes: number): void {
    if (this.#total + bytes > this.#max) throw new HttpError(429, "too many bytes are not answered yet", 1);
  }
}

/**
 * Reads a request's body, decompressed unless it is passed on as it is.
 * @throws HttpError 400 for one that is broken, 413 for one of more than `maxBytes`, 415 for another encoding, 429 as
 * `PendingBytes.check`, 499 where the client left
 */
export async function readBody(
  request: FastifyRequest,
  maxBytes: number,
  pending: PendingBytes,
  isPassedOn = false,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    const source: Readable = isPassedOn ? request.raw : decompressed(request.raw);
    // A request that is destroyed takes its connection along.
    const destroyOnReturn = source !== request.raw;
    for await (const bytes of source.iterator({ destroyOnReturn }) as AsyncIterable<Uint8Array>) {
      length += bytes.length;
      if (length > maxBytes) throw new HttpError(413, `the body has, or expands to, more than ${maxBytes} bytes`);
      pending.check(bytes.length);
      if (!pending.add(request, bytes.length)) throw new HttpError(499, "the client left");
      parts.push(bytes);
    }
  } catch (error) {
    pending.release(request);
    parts.length = 0;
    await dropRest(request.raw);
    if (error instanceof HttpError) throw error;
    throw new HttpError(400, request.raw.errored === null ? "the body is not gzip" : "the request ended early");
  }
  return Buffer.concat(parts, length);
}

function decompressed(payload: IncomingMessage): Readable {
  const encoding = payload.headers["content-encoding"] ?? "identity";
  // Names of codings have no case (RFC 9110, 8.4.1); "x-gzip" is an old one of gzip.
  if (/^identity$/i.test(encoding)) return payload;
  if (!/^(x-)?gzip$/i.test(encoding))
    throw new HttpError(415, `Content-Encoding ${JSON.stringify(encoding.slice(0, 100))}: send gzip, or none`);
  const gunzip = createGunzip({ chunkSize: CHUNK });
  payload.once("error", (error) => gunzip.destroy(error));
  return payload.pipe(gunzip);
}

/** Reads what is left without keeping it: a connection that is closed before that may lose the answer. */
function dropRest(payload: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    if (payload.readableEnded || payload.destroyed) {
      resolve();
      return;
    }
    for (const event of ["end", "error", "close"])
      payload.once(event, () => {
        resolve();
      });
    payload.unpipe();
    payload.resume();
  });
}
