// Origins whose pages may use a server (CORS). The server has no pages, so no origin is its own. Errors of fastify that
// pass by the hooks of requests have the same headers where the request's own headers were read: else a page can't read
// them.
import { STATUS_CODES } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyReply, FastifyRequest } from "fastify";
import { errorBody, HttpError } from "./http-error.ts";

/** Header with the length of the JSON in front of tensor bytes. */
export const HEADER_LENGTH = "inference-header-content-length";
const MAX_AGE_S = "7200";
/** Status of an error of Node's parser, by its code; 400 for others. */
const STATUS: Readonly<Record<string, number>> = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 };
const REASON: Readonly<Record<number, string>> = {
  400: "the request is not HTTP",
  408: "the request did not arrive in time",
  431: "the request's headers are too large",
};

/** A request with its answer, and the headers that this has by its origin. */
interface Exchange {
  readonly headers: Readonly<Record<string, string>>;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** The origins of one server. */
export class Origins {
  readonly #listed: readonly string[];
  /** The exchanges on a connection, the unanswered ones among them: a client may send requests ahead. */
  readonly #exchanges: WeakMap<Socket, readonly Exchange[]> = new WeakMap();

  /** `*` stands for any. */
  constructor(listed: readonly string[]) {
    this.#listed = listed;
  }

  /**
   * Allows a listed origin, and refuses others: without Access-Control-Allow-Origin a page can't read an answer, but it can
   * still send a POST of text/plain. @throws HttpError 403
   */
  check({ headers: { origin }, raw }: FastifyRequest, reply: FastifyReply): void {
    const headers = this.#headersOf(origin);
    this.#exchanges.set(raw.socket, [...this.#unanswered(raw.socket), { headers, request: raw, response: reply.raw }]);
    reply.headers(headers);
    if (origin !== undefined && !this.#has(origin)) {
      const quoted = JSON.stringify(origin.slice(0, 100));
      throw new HttpError(403, `pages of ${quoted} may not use this server: list the origin with --origin`);
    }
  }

  /** Answers an address that can't be decoded, as one with a broken escape. */
  readonly badUrl = (error: Error & { readonly statusCode?: number }, request: FastifyRequest, reply: FastifyReply) => {
    reply.headers(this.#headersOf(request.headers.origin));
    const { statusCode: status = 400, message } = error;
    void reply.code(status).send(errorBody(request.url, status, message.slice(0, 200)));
  };

  /** Answers a request that is no HTTP, or does not arrive in time. */
  readonly badRequest = (error: Error & { readonly code?: string }, socket: Socket): void => {
    if (error.code === "ECONNRESET" || socket.destroyed) return;
    const status = STATUS[error.code ?? ""] ?? 400;
    const body = JSON.stringify({ error: REASON[status] });
    const [own, ...others] = this.#unanswered(socket);
    // A request before this one waits for its answer, or reads it: this one would be taken for it.
    if (others.length > 0 || own?.request.complete === true || own?.response.headersSent === true) {
      socket.destroy(error);
      return;
    }
    const headers = {
      ...(own?.headers ?? this.#headersOf(undefined)),
      "content-type": "application/json",
      "content-length": String(body.length),
      connection: "close",
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    if (socket.writable) socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`);
    socket.destroy(error);
  };

  #unanswered(socket: Socket): readonly Exchange[] {
    return (this.#exchanges.get(socket) ?? []).filter((x) => !x.response.writableEnded);
  }

  #has(origin: string): boolean {
    return this.#listed.includes("*") || this.#listed.includes(origin);
  }

  /** Returns the headers for pages of an origin. An answer without one differs too: caches must know. */
  #headersOf(origin: string | undefined): Readonly<Record<string, string>> {
    if (origin === undefined || !this.#has(origin)) return { vary: "origin" };
    return {
      vary: "origin",
      "access-control-allow-origin": this.#listed.includes("*") ? "*" : origin,
      "access-control-expose-headers": `${HEADER_LENGTH}, retry-after, date`,
      "access-control-allow-methods": "GET, POST",
      "access-control-allow-headers": `authorization, content-type, content-encoding, ${HEADER_LENGTH}`,
      "access-control-max-age": MAX_AGE_S,
    };
  }
}
