// `selvedge/service-worker`: has an app's own service worker keep what its pages are made of, so that they start without
// a network. `dist/worker-offline.js` is the same, ready made, for apps that have none.
//
// Models are not its business: `bundle.json` and chunks pass by untouched, since the store has them, checked by their
// hashes (`selvedge/cache`). Kept are documents, scripts, styles, fonts, workers and WebAssembly of the same origin.
//
// The network comes first. A kept copy is given where the network is away, fails, or is silent for long; so a page is
// never older than it must be, and this needs no list of files and no version. Copies are kept as they came, with all
// headers: a worker under cross-origin isolation needs its own, and WebAssembly that is compiled while it comes its type.

/** What a service worker keeps, and how long it waits. */
export interface OfflineOptions {
  /** Says what is kept beside documents, scripts, styles, fonts, workers and WebAssembly. Default: nothing. */
  readonly also?: ((request: Request) => boolean) | undefined;
  /** How long the network may be silent before a kept copy is given, in ms. Default: 4000. */
  readonly patienceMs?: number | undefined;
  /** How long a copy is kept that the server did not send anew, in days. Default: 60. */
  readonly keepDays?: number | undefined;
}

/** What of a service worker's global scope is used: pass `self`. */
export interface OfflineScope {
  /** Hears of requests and messages. */
  addEventListener(type: string, listener: (event: Event) => void): void;
}

/** A part of a page, as the page names it. */
export interface PagePart {
  readonly url: string;
  /** Whether it is kept in any case; if not, `also` decides. */
  readonly isShell: boolean;
}

/** Asks a service worker to keep the parts of a page; with it comes a port for the answers. */
export interface KeepMessage {
  readonly selvedge: "keep";
  readonly parts: readonly PagePart[];
}

/** The answers: that it was heard, and what came of it. */
export type KeepAnswer = { readonly heard: true } | KeptPage;

/** What is kept of a page. */
export interface KeptPage {
  /** The addresses of what is kept. */
  readonly kept: readonly string[];
  /** The addresses of what could not be fetched or stored; without them the page may not start. */
  readonly failed: readonly string[];
}

interface Extendable {
  waitUntil(work: Promise<unknown>): void;
}

interface FetchHeard extends Extendable {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

interface MessageHeard extends Extendable {
  readonly data: unknown;
  readonly ports: readonly MessagePort[];
}

const CACHE = "selvedge-offline";
const SHELL: ReadonlySet<string> = new Set([
  ...["audioworklet", "document", "font", "iframe", "manifest", "script", "sharedworker", "style", "worker"],
]);
/** A copy as old as this is written anew though it did not change, so that it is not taken for one out of use. */
const RENEW_MS = 7 * 86_400_000;

/**
 * Keeps the pages of this service worker's scope for times without a network. It answers requests: where the app's
 * worker answers some itself, call this after its own listener, and let that listener stop the event.
 * @throws TypeError or RangeError for a wrong option
 * @example
 * import { keepOffline } from "selvedge/service-worker";
 * keepOffline(self, { also: (request) => request.destination === "image" });
 */
export function keepOffline(scope: OfflineScope, options: OfflineOptions = {}): void {
  const { also = () => false, patienceMs = 4_000, keepDays = 60 } = options;
  if (typeof also !== "function") throw new TypeError(`also must be a function, not ${typeof also}`);
  for (const [name, value] of Object.entries({ patienceMs, keepDays }))
    if (!(value > 0)) throw new RangeError(`${name} must be a number above 0, not ${String(value)}`);
  const isKept = (request: Request): boolean =>
    new URL(request.url).origin === location.origin &&
    request.method === "GET" &&
    !request.headers.has("range") &&
    (request.mode === "navigate" || SHELL.has(request.destination) || isWasm(request.url) || also(request));

  scope.addEventListener("fetch", (heard) => {
    const event = heard as unknown as FetchHeard;
    if (isKept(event.request)) event.respondWith(answer(event, patienceMs));
  });
  scope.addEventListener("message", (heard) => {
    const event = heard as unknown as MessageHeard;
    const [port] = event.ports;
    if (!isKeep(event.data) || port === undefined) return;
    port.postMessage({ heard: true } satisfies KeepAnswer);
    const parts = event.data.parts.map(({ url, isShell }) => ({ request: new Request(url), isShell }));
    const wanted = parts.filter(({ request, isShell }) => isKept(request) || (isShell && isOurs(request.url)));
    const work = forgetOld(keepDays)
      .then(() => keepAll(wanted.map((x) => x.request)))
      .then((kept) => {
        port.postMessage(kept satisfies KeepAnswer);
      });
    event.waitUntil(work);
  });
}

/** Answers from the network, or with the kept copy where that is away, fails or is silent for long. */
async function answer(event: FetchHeard, patienceMs: number): Promise<Response> {
  const { request } = event;
  const coming = fetch(request);
  // What comes after patience ended is kept all the same; what finds no room is not, and the page has it anyway.
  const kept = coming.then((response) => (isRight(request, response) ? keep(request, response.clone()) : undefined));
  event.waitUntil(kept.catch(() => undefined));
  const patience = new Promise<null>((resolve) => {
    setTimeout(resolve, patienceMs, null);
  });
  const first = await Promise.race([coming.catch(() => null), patience]);
  if (first !== null && first.status < 500) return first;
  return (await find(request)) ?? first ?? coming;
}

/** Finds the kept copy; of a page also one that was asked for with another query. */
async function find(request: Request): Promise<Response | undefined> {
  const cache = await caches.open(CACHE);
  const exact = await cache.match(request, { ignoreVary: true });
  if (exact !== undefined || request.mode !== "navigate") return exact;
  return cache.match(request, { ignoreVary: true, ignoreSearch: true });
}

/** Tells whether a response is what was asked for, and may be kept. */
function isRight({ url, destination }: Request, { headers, status, type }: Response): boolean {
  const isPage = /^text\/html\b/i.test(headers.get("content-type") ?? "");
  // An app's start page in place of a script that is missing must not take that script's place.
  const mayBePage = /^(document|iframe|)$/.test(destination) && !/\.(css|m?js|wasm)$/.test(new URL(url).pathname);
  return status === 200 && type === "basic" && (!isPage || mayBePage) && !isForbidden(headers);
}

/** Keeps a copy, unless the same is kept already. */
async function keep({ url }: Request, response: Response): Promise<void> {
  const { headers, status } = response;
  const cache = await caches.open(CACHE);
  const known = await cache.match(url, { ignoreVary: true });
  if (known !== undefined && isSame(known.headers, headers)) return response.body?.cancel();
  // A browser refuses a page that says of itself that it was redirected.
  await cache.put(url, response.redirected ? new Response(response.body, { status, headers }) : response);
}

async function keepAll(requests: readonly Request[]): Promise<KeptPage> {
  const kept: string[] = [];
  const failed: string[] = [];
  for (const request of requests) {
    try {
      const response = await fetch(request);
      if (isRight(request, response)) await keep(request, response);
    } catch {
      // Away, or no room: what was kept before counts.
    }
    ((await find(request)) === undefined ? failed : kept).push(request.url);
  }
  return { kept, failed };
}

/** Removes copies that the server did not send for so long: names with a hash in them pile up otherwise. */
async function forgetOld(keepDays: number): Promise<void> {
  const cache = await caches.open(CACHE);
  for (const request of await cache.keys()) {
    const sentMs = sentAt((await cache.match(request, { ignoreVary: true }))?.headers);
    if (Date.now() - sentMs > keepDays * 86_400_000) await cache.delete(request, { ignoreVary: true });
  }
}

/** Tells by what the server says of two copies that they are the same, and that the first is not old. */
function isSame(known: Headers, next: Headers): boolean {
  if (sentAt(next) - sentAt(known) > RENEW_MS) return false;
  const names = ["etag", "last-modified", "content-length", "content-type", "content-security-policy"];
  const isTold = next.has("etag") || next.has("last-modified");
  return isTold && names.every((name) => known.get(name) === next.get(name));
}

/** When a server sent a copy, in ms since 1970; now where it did not say. */
function sentAt(headers: Headers | undefined): number {
  const ms = Date.parse(headers?.get("date") ?? "");
  return Number.isNaN(ms) ? Date.now() : ms;
}

function isForbidden(headers: Headers): boolean {
  return /no-store/i.test(headers.get("cache-control") ?? "");
}

function isOurs(url: string): boolean {
  return new URL(url).origin === location.origin;
}

function isWasm(url: string): boolean {
  return new URL(url).pathname.endsWith(".wasm");
}

function isKeep(data: unknown): data is KeepMessage {
  return typeof data === "object" && data !== null && "selvedge" in data && data.selvedge === "keep";
}
