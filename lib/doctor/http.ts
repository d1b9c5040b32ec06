// Requests as bytes on the wire: nothing is decoded, nothing cached, redirects are recorded. fetch() decodes a body and
// hides what the server sent.
import { request as requestHttp } from "node:http";
import type { IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { decoded, isLoopback } from "./urls.ts";
import type { HttpAnswer } from "./evidence.ts";

/** Options of a request. */
export interface RequestOptions {
  readonly method?: "GET" | "HEAD";
  readonly headers?: Readonly<Record<string, string>>;
  /** Login, for the address's own origin; a redirect to another one does not get it. */
  readonly login?: Login | null;
  /** Bytes of the body that are kept; default 64 kB. */
  readonly limit?: number;
  /** Longest time for the body, of which what has come by then is kept; default 30 s. */
  readonly bodyMs?: number;
}

/** Name and password of Basic authentication: those that stand before the host in `https://name:password@host/`. */
export interface Login {
  readonly origin: string;
  readonly username: string;
  readonly password: string;
}

const LIMIT = 64 * 1024;
/** As browsers follow. */
const REDIRECTS_MAX = 20;
const TIMEOUT_MS = 10_000;
/** A stream of events never ends. */
const BODY_MS = 30_000;
const NOTHING = new Uint8Array();

/**
 * Takes the name and password out of an address: browsers leave them out of the addresses of a page's files, and a report
 * is passed around.
 * @throws Error for what is no address
 */
export function withoutLogin(address: string): { readonly url: string; readonly login: Login | null } {
  if (!URL.canParse(address))
    throw new Error(
      `${withoutSecret(address)} is not an address such as http://localhost:5173/${encodingHint(address)}`,
    );
  const url = new URL(address);
  const { username, password, origin } = url;
  url.username = url.password = "";
  const login = { origin, username: decoded(username), password: decoded(password) };
  return { url: url.href, login: username === "" && password === "" ? null : login };
}

/** Takes out of an address all that may be a password, also where it makes another address of it, as a "/" does. */
export function withoutSecret(address: string): string {
  return address.replace(/\/\/.*@/s, "//…@");
}

/** Returns the end of a message on an address that may have such a password; "" for others. */
export function encodingHint(address: string): string {
  return address.includes("@") ? ": percent-encode the name and password, a / as %2F, # as %23, ? as %3F" : "";
}

/** Requests an address, and follows redirects. Never rejects: a failure is an answer of status 0. */
export async function ask(url: string, options: RequestOptions = {}): Promise<HttpAnswer> {
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
export function isOk({ status }: Pick<HttpAnswer, "status">): boolean {
  return [200, 203, 206].includes(status);
}

/** Returns a body as text. */
export function textOf({ body }: HttpAnswer): string {
  return new TextDecoder().decode(body);
}

function once(url: string, options: RequestOptions, redirects: readonly string[]): Promise<HttpAnswer> {
  const { method = "GET", headers = {}, limit = LIMIT, bodyMs = BODY_MS, login = null } = options;
  return new Promise((resolve) => {
    const fail = (error: unknown): void => {
      const reason = error instanceof Error ? error.message : String(error);
      resolve({ url, status: 0, headers: {}, body: NOTHING, isWhole: false, redirects: [...redirects], error: reason });
    };
    if (!/^https?:/.test(url)) {
      fail(new Error(`not an http address: ${url.slice(0, 40)}`));
      return;
    }
    const { hostname, origin } = new URL(url);
    const send = url.startsWith("https:") ? requestHttps : requestHttp;
    const asked = { "accept-encoding": "identity", "user-agent": "selvedge-doctor", ...headers };
    // As Node's own option: it writes the header.
    const auth = login?.origin === origin ? { auth: `${login.username}:${login.password}` } : {};
    // A development server on this machine has a certificate of its own.
    const sent = send(
      url,
      { method, headers: asked, ...auth, rejectUnauthorized: !isLoopback(hostname) },
      (response) => {
        read(response, limit, bodyMs).then(([body, isWhole]) => {
          resolve({
            url,
            status: response.statusCode ?? 0,
            headers: headersOf(response),
            body,
            isWhole,
            redirects: [...redirects],
          });
        }, fail);
      },
    );
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

async function read(
  response: IncomingMessage,
  limit: number,
  bodyMs: number,
): Promise<[body: Uint8Array, isWhole: boolean]> {
  const until = performance.now() + bodyMs;
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Uint8Array>) {
    parts.push(part);
    size += part.byteLength;
    if (size > limit || performance.now() > until) {
      response.destroy();
      return [Buffer.concat(parts).subarray(0, limit), false];
    }
  }
  return [Buffer.concat(parts), response.complete];
}
