// `selvedge/service-worker`: has an app's own service worker keep the parts of its pages, so that they start without a
// network. `dist/worker-offline.js` is the same, ready made, for apps that have none.
//
// Models are not kept here: `bundle.json` and chunks pass untouched, since the store has them, verified by their hashes
// (`selvedge/cache`). Kept are documents, scripts, styles, fonts, workers and WebAssembly of the same origin.
//
// A copy outlives the session of its user: the next person who opens the address gets it. So nothing is kept that the
// server calls private or that varies by user, no document with a query and none in a frame. A copy is removed as soon
// as its server says one of these, or answers 401, 403, 404 or 410. The number of copies is bounded; documents are
// evicted first, the one written longest ago before the others.
//
// Network first. A kept copy is the fallback where the network is away, fails, or stalls; so a page is never older than
// necessary, and this needs no list of files and no version. Copies are kept unchanged, with all headers: a worker
// under cross-origin isolation needs its own, and WebAssembly that is compiled while it is fetched its type.

/** Options of `keepOffline`. */
export interface OfflineOptions {
  /** Whether a response is kept beside documents, scripts, styles, fonts, workers and WebAssembly. Default: none. */
  readonly also?: ((request: Request) => boolean) | undefined;
  /** Time without an answer from the network before a kept copy is used, in ms. Default: 4000. */
  readonly patienceMs?: number | undefined;
  /** Time for which a copy is kept that the server did not send anew, in days. Default: 60. */
  readonly keepDays?: number | undefined;
  /** The most copies that are kept. Default: 500. */
  readonly maxEntries?: number | undefined;
}

/** The used part of a service worker's global scope: pass `self`. */
export interface OfflineScope {
  /** Adds a listener for requests and messages. */
  addEventListener(type: string, listener: (event: Event) => void): void;
}

/** A part of a page, as listed by the page. */
export interface PagePart {
  /** Its address. */
  readonly url: string;
  /** Whether it is always kept; if not, `also` decides. */
  readonly isShell: boolean;
}

/** Asks a service worker to keep the parts of a page; the message carries a port for the answers. */
export interface KeepMessage {
  /** Marks the message. */
  readonly selvedge: "keep";
  /** All parts of the page. */
  readonly parts: readonly PagePart[];
}

/** Answers: an acknowledgement of the message, then the outcome or the reason why there is none. */
export type KeepAnswer = { readonly heard: true } | KeptPage | { readonly error: string };

/** The kept parts of a page. */
export interface KeptPage {
  /** Addresses that are kept. */
  readonly kept: readonly string[];
  /** Addresses that could not be fetched or stored; without them the page may not start. */
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

/** Name of the cache that holds the copies. */
export const OFFLINE_CACHE = "selvedge-offline";
const SHELL: ReadonlySet<string> = new Set([
  ...["audioworklet", "document", "font", "manifest", "script", "sharedworker", "style", "worker"],
]);
/** Statuses of a server that no longer serves a file to this user, or to anybody. */
const WITHDRAWN: ReadonlySet<number> = new Set([401, 403, 404, 410]);
/** Request headers by which a response must not vary to be kept. */
const PERSONAL = /(^|,)\s*(\*|cookie|authorization)\s*(,|$)/i;
/** Age at which an unchanged copy is written anew, so that it does not count as unused. */
const RENEW_MS = 7 * 86_400_000;

/**
 * Keeps the pages of this service worker's scope for use without a network. It answers requests: where the app's worker
 * answers some itself, call this after its own listener, and let that listener stop the event.
 * @throws TypeError or RangeError for a wrong option
 * @example import { keepOffline } from "selvedge/service-worker"; keepOffline(self, { also: (request) =>
 * request.destination === "image" });
 */
export function keepOffline(scope: OfflineScope, options: OfflineOptions = {}): void {
  const { also = () => false, patienceMs = 4_000, keepDays = 60, maxEntries = 500 } = options;
  if (typeof also !== "function") throw new TypeError(`also must be a function, not ${typeof also}`);
  for (const [name, value] of Object.entries({ patienceMs, keepDays, maxEntries }))
    if (!(value > 0)) throw new RangeError(`${name} must be a number above 0, not ${String(value)}`);
  const isKept = (request: Request): boolean =>
    new URL(request.url).origin === location.origin &&
    request.method === "GET" &&
    !request.headers.has("range") &&
    !request.headers.has("authorization") &&
    (isDocument(request)
      ? new URL(request.url).search === ""
      : request.mode !== "navigate" && (SHELL.has(request.destination) || isWasm(request.url) || also(request)));

  scope.addEventListener("fetch", (heard) => {
    const event = heard as unknown as FetchHeard;
    if (isKept(event.request)) event.respondWith(answer(event, { patienceMs, keepDays, maxEntries }));
  });
  scope.addEventListener("message", (heard) => {
    const event = heard as unknown as MessageHeard;
    const [port] = event.ports;
    if (!isKeep(event.data) || port === undefined) return;
    const tell = (answer: KeepAnswer): void => {
      port.postMessage(answer);
    };
    tell({ heard: true });
    const work = async (): Promise<KeptPage> => {
      const { wanted, failed } = readParts(event.data, isKept);
      await forgetOld(keepDays);
      const page = await keepAll(wanted, maxEntries);
      return { ...page, failed: [...failed, ...page.failed] };
    };
    event.waitUntil(
      work().then(tell, (error: unknown) => {
        tell({ error: String(error) });
      }),
    );
  });
}

/**
 * Reads the list of parts to keep; an address that can't be parsed counts as failed.
 * @throws TypeError where the message has no list of parts
 */
function readParts(
  data: unknown,
  isKept: (request: Request) => boolean,
): { readonly wanted: readonly Request[]; readonly failed: readonly string[] } {
  const { parts } = data as Partial<KeepMessage>;
  if (!Array.isArray(parts)) throw new TypeError("keep: the message names no parts");
  const [wanted, failed]: [Request[], string[]] = [[], []];
  for (const part of parts as readonly (Partial<PagePart> | null)[])
    try {
      if (typeof part?.url !== "string") throw new TypeError("a part has no address");
      const request = new Request(part.url);
      if (isKept(request) || (part.isShell && isOurs(request.url))) wanted.push(request);
    } catch {
      failed.push(String(part?.url));
    }
  return { wanted, failed };
}

/** Answers from the network, or with the kept copy where the network is away, fails or stalls. */
async function answer(
  event: FetchHeard,
  { patienceMs, keepDays, maxEntries }: Record<"patienceMs" | "keepDays" | "maxEntries", number>,
): Promise<Response> {
  const { request } = event;
  const coming = fetch(request);
  // A response after the timeout is kept all the same; where there is no room it is not, and the page gets it anyway.
  const kept = coming.then((response) => settle(request, response, () => response.clone(), maxEntries));
  event.waitUntil(kept.catch(() => undefined));
  const patience = new Promise<null>((resolve) => {
    setTimeout(resolve, patienceMs, null);
  });
  const first = await Promise.race([coming.catch(() => null), patience]);
  if (first !== null && first.status < 500) return first;
  return (await findFresh(request, keepDays)) ?? first ?? coming;
}

/**
 * Options by which a copy matches although the page requests it with other headers than `keep` did: servers that allow
 * CORS send `Vary: Origin`, and module scripts carry an Origin. A response that varies by its user is never kept.
 */
const ANY_VARIANT = { ignoreVary: true } as const;

async function find(request: Request): Promise<Response | undefined> {
  return (await caches.open(OFFLINE_CACHE)).match(request, ANY_VARIANT);
}

/** Returns a copy, but removes one that is too old: `forgetOld` runs only where a page asks to be kept. */
async function findFresh(request: Request, keepDays: number): Promise<Response | undefined> {
  const found = await find(request);
  if (!isOld(found?.headers, keepDays)) return found;
  const cache = await caches.open(OFFLINE_CACHE);
  await cache.delete(request, ANY_VARIANT);
  return undefined;
}

/** Keeps a response where that is allowed; removes the copy where the server no longer allows it. */
async function settle(request: Request, response: Response, copy: () => Response, maxEntries: number): Promise<void> {
  if (isForbidden(response.headers) || WITHDRAWN.has(response.status))
    await (await caches.open(OFFLINE_CACHE)).delete(request, ANY_VARIANT);
  else if (isRight(request, response)) await keep(request, copy(), maxEntries);
}

/** Whether a response is the requested file, and may be kept. */
function isRight({ url, destination }: Request, { headers, status, type }: Response): boolean {
  const { pathname, search } = new URL(url);
  // An app's start page instead of a missing script must not replace that script.
  const mayBePage = /^(document|)$/.test(destination) && !/\.(css|m?js|wasm)$/.test(pathname) && search === "";
  return status === 200 && type === "basic" && (!isPage(headers) || mayBePage);
}

function isPage(headers: Headers): boolean {
  return /^text\/html\b/i.test(headers.get("content-type") ?? "");
}

/** Whether a request is for a top-level page; one in a frame is another site's choice as often as the user's. */
function isDocument({ mode, destination }: Request): boolean {
  return mode === "navigate" && /^(document|)$/.test(destination);
}

/** Keeps a copy, unless an equal one is kept already. */
async function keep(request: Request, response: Response, maxEntries: number): Promise<void> {
  const { headers, status } = response;
  const cache = await caches.open(OFFLINE_CACHE);
  const known = await cache.match(request, ANY_VARIANT);
  if (known !== undefined && isSame(known.headers, headers)) return response.body?.cancel();
  await cache.delete(request, ANY_VARIANT);
  // Browsers refuse a response to a navigation that is marked as redirected.
  await cache.put(request, response.redirected ? new Response(response.body, { status, headers }) : response);
  await evict(cache, maxEntries);
}

/** Evicts documents, then other copies, down to the bound: those written longest ago first, as a cache lists them. */
async function evict(cache: Cache, maxEntries: number): Promise<void> {
  const keys = await cache.keys();
  if (keys.length <= maxEntries) return;
  const pages = await Promise.all(keys.map(async (key) => isPage((await cache.match(key))?.headers ?? new Headers())));
  const order = [...keys.filter((_, i) => pages[i]), ...keys.filter((_, i) => !pages[i])];
  for (const key of order.slice(0, keys.length - maxEntries)) await cache.delete(key);
}

async function keepAll(requests: readonly Request[], maxEntries: number): Promise<KeptPage> {
  const kept: string[] = [];
  const failed: string[] = [];
  for (const request of requests) {
    try {
      const response = await fetch(request);
      await settle(request, response, () => response, maxEntries);
    } catch {
      // Network away, or no room: the copy of before counts.
    }
    ((await find(request)) === undefined ? failed : kept).push(request.url);
  }
  return { kept, failed };
}

/** Removes copies that the server has not sent for that long: names with a hash in them accumulate otherwise. */
async function forgetOld(keepDays: number): Promise<void> {
  const cache = await caches.open(OFFLINE_CACHE);
  for (const request of await cache.keys())
    if (isOld((await cache.match(request))?.headers, keepDays)) await cache.delete(request);
}

function isOld(headers: Headers | undefined, keepDays: number): boolean {
  return Date.now() - sentAt(headers) > keepDays * 86_400_000;
}

/** Whether the headers of two copies say that they are equal, and the first is not old. */
function isSame(known: Headers, next: Headers): boolean {
  if (sentAt(next) - sentAt(known) > RENEW_MS) return false;
  const names = ["etag", "last-modified", "content-length", "content-type", "content-security-policy"];
  const isTold = next.has("etag") || next.has("last-modified");
  return isTold && names.every((name) => known.get(name) === next.get(name));
}

/** Returns when a server sent a copy, in ms since 1970; now where it did not say. */
function sentAt(headers: Headers | undefined): number {
  const ms = Date.parse(headers?.get("date") ?? "");
  return Number.isNaN(ms) ? Date.now() : ms;
}

/** Whether a response is one user's, or must not be stored. */
function isForbidden(headers: Headers): boolean {
  return /\b(no-store|private)\b/i.test(headers.get("cache-control") ?? "") || PERSONAL.test(headers.get("vary") ?? "");
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
