// Requests as bytes on the wire: nothing is decoded, nothing cached, redirects are recorded. fetch() decodes a body and
// hides what the server sent.
import { request as requestHttp } from "node:http";
import type { IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { isLoopback } from "./urls.ts";
import type { Answer } from "./evidence.ts";

/** Options of a request. */
export interface AskOptions {
  readonly method?: "GET" | "HEAD";
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes of the body that are kept; default 64 kB. */
  readonly limit?: number;
}

const LIMIT = 64 * 1024;
/** As browsers follow. */
const REDIRECTS_MAX = 20;
const TIMEOUT_MS = 10_000;
const NOTHING = new Uint8Array();

/** Requests an address, and follows redirects. Never rejects: a failure is an answer of status 0. */
export async function ask(url: string, options: AskOptions = {}): Promise<Answer> {
  const redirects: string[] = [];
  for (let at = url; ;) {
    const answer = await once(at, options, redirects);
    const { location } = answer.headers;
    const isRedirect = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined;
    if (!isRedirect || !URL.canParse(location, at)) return answer;
    const isLoop = redirects.length === REDIRECTS_MAX || redirects.includes(at);
    if (isLoop) return answer;
    redirects.push(at);
    at = new URL(location, at).href;
  }
}

/** Whether a file was answered; 206 too, which browsers take where nobody asked for a part. */
export function isOk({ status }: Pick<Answer, "status">): boolean {
  return [200, 203, 206].includes(status);
}

/** Returns a body as text. */
export function textOf({ body }: Answer): string {
  return new TextDecoder().decode(body);
}

function once(url: string, options: AskOptions, redirects: readonly string[]): Promise<Answer> {
  const { method = "GET", headers = {}, limit = LIMIT } = options;
  return new Promise((resolve) => {
    const fail = (error: unknown): void => {
      const reason = error instanceof Error ? error.message : String(error);
      resolve({ url, status: 0, headers: {}, body: NOTHING, isWhole: false, redirects: [...redirects], error: reason });
    };
    if (!/^https?:/.test(url)) {
      fail(new Error(`not an http address: ${url.slice(0, 40)}`));
      return;
    }
    const { hostname } = new URL(url);
    const send = url.startsWith("https:") ? requestHttps : requestHttp;
    const given = { "accept-encoding": "identity", "user-agent": "selvedge-doctor", ...headers };
    // A development server on this machine has a certificate of its own.
    const sent = send(url, { method, headers: given, rejectUnauthorized: !isLoopback(hostname) }, (response) => {
      read(response, limit).then(([body, isWhole]) => {
        resolve({
          url,
          status: response.statusCode ?? 0,
          headers: headersOf(response),
          body,
          isWhole,
          redirects: [...redirects],
        });
      }, fail);
    });
    sent.setTimeout(TIMEOUT_MS, () => sent.destroy(new Error(`no answer in ${TIMEOUT_MS / 1000} s`)));
    sent.on("error", fail);
    sent.end();
  });
}

function headersOf({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(", ") : value]],
    ),
  );
}

async function read(response: IncomingMessage, limit: number): Promise<[body: Uint8Array, isWhole: boolean]> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Uint8Array>) {
    parts.push(part);
    size += part.byteLength;
    if (size > limit) {
      response.destroy();
      return [Buffer.concat(parts).subarray(0, limit), false];
    }
  }
  return [Buffer.concat(parts), response.complete];
}
