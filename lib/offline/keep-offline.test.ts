// The service worker over stand-ins of the Cache API and the network: kept responses, their users, and its messages.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { keepOffline } from "./keep-offline.ts";
import type { KeptPage, OfflineOptions } from "./keep-offline.ts";

const ORIGIN = "https://app.test";

/** A response of the same origin, as from a browser's fetch. */
class Basic extends Response {
  override get type(): ResponseType {
    return "basic";
  }
  override clone(): Response {
    return new Basic(super.clone().body, { status: this.status, headers: this.headers });
  }
}

/** A cache that lists its entries in the order of writing, and respects `Vary`. */
class Copies {
  readonly entries: { readonly request: Request; readonly response: Response }[] = [];

  #find(request: Request, ignoreVary: boolean): number {
    return this.entries.findIndex((entry) => {
      const vary = (entry.response.headers.get("vary") ?? "").split(",").filter((x) => x.trim() !== "");
      const isSame = vary.every((name) => entry.request.headers.get(name.trim()) === request.headers.get(name.trim()));
      return entry.request.url === request.url && (ignoreVary || isSame);
    });
  }
  match(request: Request, options: CacheQueryOptions = {}): Promise<Response | undefined> {
    expect(options.ignoreSearch ?? false).toBe(false);
    return Promise.resolve(this.entries[this.#find(request, options.ignoreVary ?? false)]?.response.clone());
  }
  async put(request: Request, response: Response): Promise<void> {
    await this.delete(request);
    this.entries.push({ request, response });
  }
  delete(request: Request, options: CacheQueryOptions = {}): Promise<boolean> {
    const at = this.#find(request, options.ignoreVary ?? false);
    if (at >= 0) this.entries.splice(at, 1);
    return Promise.resolve(at >= 0);
  }
  keys(): Promise<Request[]> {
    return Promise.resolve(this.entries.map((entry) => entry.request));
  }
}

let copies: Copies;
let network: (url: string) => Response | null;

beforeEach(() => {
  copies = new Copies();
  network = () => null;
  vi.stubGlobal("location", { origin: ORIGIN });
  vi.stubGlobal("caches", { open: () => Promise.resolve(copies) });
  vi.stubGlobal("fetch", (request: Request) => {
    const response = network(request.url);
    return response === null ? Promise.reject(new TypeError("Failed to fetch")) : Promise.resolve(response);
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

/** A service worker; returns its handlers of requests and messages. */
function start(options: OfflineOptions = {}) {
  const listeners = new Map<string, (event: Event) => void>();
  keepOffline({ addEventListener: (type, listener) => listeners.set(type, listener) }, options);
  /**
   * Requests an address as a browser would; null where the service worker leaves it to the browser, or can't answer.
   */
  const ask = async (path: string, kind: object = {}): Promise<string | null> => {
    const request = Object.assign(new Request(ORIGIN + path), {});
    const shown = { mode: "navigate", destination: "document", ...kind };
    for (const [name, value] of Object.entries(shown)) Object.defineProperty(request, name, { value });
    let answer: Promise<Response> | null = null;
    const work: Promise<unknown>[] = [];
    const event = {
      request,
      respondWith: (response: Promise<Response>) => (answer = response),
      waitUntil: (each: Promise<unknown>) => work.push(each),
    };
    listeners.get("fetch")?.(event as unknown as Event);
    const given = answer as Promise<Response> | null;
    const text = await (given ?? Promise.reject(new Error("left to the browser")))
      .then((response) => response.text())
      .catch(() => null);
    await Promise.all(work);
    return text;
  };
  /** Sends a message; returns the answers. */
  const tell = async (data: unknown): Promise<unknown[]> => {
    const answers: unknown[] = [];
    const work: Promise<unknown>[] = [];
    const port = { postMessage: (answer: unknown) => answers.push(answer) };
    const event = { data, ports: [port], waitUntil: (each: Promise<unknown>) => work.push(each) };
    listeners.get("message")?.(event as unknown as Event);
    await Promise.all(work);
    return answers;
  };
  return { ask, tell };
}

const html = (text: string, headers: Record<string, string> = {}): Response =>
  new Basic(text, { headers: { "content-type": "text/html", ...headers } });
const kept = (): string[] => copies.entries.map(({ request }) => request.url.slice(ORIGIN.length));

test("a page that is the same for everybody is kept, and shown without a network", async () => {
  const { ask } = start();
  network = () => html("hello", { "cache-control": "public, no-cache", vary: "Accept-Encoding, Origin" });
  expect(await ask("/page")).toBe("hello");
  network = () => null;
  expect(await ask("/page")).toBe("hello");
});

test.each([
  { "cache-control": "private" },
  { "cache-control": "max-age=60, Private" },
  { "cache-control": "no-store" },
  { vary: "Cookie" },
  { vary: "Accept-Encoding, cookie" },
  { vary: "authorization" },
  { vary: "*" },
])("a page that is one user's is not kept: %o (store-B2)", async (headers) => {
  const { ask } = start();
  network = () => html("ALICE: balance 1,234", headers);
  expect(await ask("/account")).toBe("ALICE: balance 1,234");
  network = () => null;
  expect(await ask("/account")).toBe(null);
  expect(kept()).toEqual([]);
});

test.each<[string, string, object]>([
  ["a page with a query", "/order?id=1&token=SECRET", {}],
  ["a page in a frame", "/page", { destination: "iframe" }],
  ["a request with a password", "/page", { headers: new Headers({ authorization: "Basic c2VjcmV0" }) }],
  ["a script with a password", "/app.js", { destination: "script", headers: new Headers({ authorization: "x" }) }],
])("%s is not kept (store-B2)", async (_, path, kind) => {
  const { ask } = start();
  network = () => html("secret");
  expect(await ask(path, kind)).toBe(null); // left to the browser
  expect(kept()).toEqual([]);
});

test("one query never shows the page of another (store-B2)", async () => {
  const { ask } = start();
  network = () => html("order");
  await ask("/order");
  network = () => null;
  expect(await ask("/order?id=2")).toBe(null);
});

test("a copy is removed as soon as its server says that the page is one user's (store-B2)", async () => {
  const { ask } = start();
  network = () => html("everybody's");
  await ask("/page");
  network = () => html("Alice's", { "cache-control": "private" });
  expect(await ask("/page")).toBe("Alice's");
  network = () => null;
  expect(await ask("/page")).toBe(null);
});

test.each([401, 403, 404, 410])("a copy is removed as soon as its server answers %d (store-gone)", async (status) => {
  const { ask, tell } = start();
  network = () => html("a page");
  for (const path of ["/a", "/b", "/c"]) expect(await ask(path)).toBe("a page");
  network = (url) => (url.endsWith("/c") ? html("a page") : new Basic("no", { status }));
  expect(await ask("/a")).toBe("no");
  await tell({ selvedge: "keep", parts: [{ url: `${ORIGIN}/b`, isShell: true }] });
  network = () => null;
  expect([await ask("/a"), await ask("/b"), await ask("/c")]).toEqual([null, null, "a page"]);
});

test("a copy stays where its server fails, is busy or sends it elsewhere (store-gone)", async () => {
  const { ask } = start();
  network = () => html("a page");
  await ask("/a");
  for (const status of [302, 408, 429, 500, 503]) {
    network = () => new Basic(null, { status });
    await ask("/a");
  }
  network = () => null;
  expect(await ask("/a")).toBe("a page");
});

test("copies are bounded: documents are evicted first, oldest first (store-B2)", async () => {
  const { ask } = start({ maxEntries: 4 });
  network = (url) =>
    url.endsWith(".js") ? new Basic("x", { headers: { "content-type": "text/javascript" } }) : html(url);
  await ask("/app.js", { mode: "no-cors", destination: "script" });
  for (let i = 0; i < 9; i += 1) await ask(`/page-${i}`);
  expect(kept()).toEqual(["/app.js", "/page-6", "/page-7", "/page-8"]);
  expect(() => start({ maxEntries: 0 })).toThrow("maxEntries must be a number above 0");
});

test("a copy that its server did not send for too long is not shown, and removed (store-B2)", async () => {
  const sentDaysAgo = (days: number): string => new Date(Date.now() - days * 86_400_000).toUTCString();
  const { ask } = start();
  for (const [path, days] of [
    ["/old", 61],
    ["/new", 59],
  ] as const) {
    network = () => html(path, { date: sentDaysAgo(days) });
    await ask(path);
  }
  network = () => null;
  expect([await start({ keepDays: 90 }).ask("/old"), await ask("/new"), await ask("/old")]).toEqual([
    "/old",
    "/new",
    null,
  ]);
  expect(kept()).toEqual(["/new"]);
});

test("the parts of a page are kept, but none that is one user's (store-B2)", async () => {
  const { tell } = start();
  network = (url) => (url.endsWith("/mine") ? html("mine", { vary: "Cookie" }) : html("all", {}));
  const parts = ["/", "/mine", "/list?page=2"].map((path) => ({ url: ORIGIN + path, isShell: true }));
  const [heard, page] = (await tell({ selvedge: "keep", parts })) as [unknown, KeptPage];
  expect(heard).toEqual({ heard: true });
  expect(page).toEqual({ kept: [`${ORIGIN}/`], failed: [`${ORIGIN}/mine`, `${ORIGIN}/list?page=2`] });
});

test("a script that varies by Origin is found by a request that carries one, and kept once", async () => {
  const { ask, tell } = start();
  const code = (): Response => new Basic("code", { headers: { "content-type": "text/javascript", vary: "Origin" } });
  const script = { mode: "cors", destination: "script", headers: new Headers({ origin: ORIGIN }) };
  network = code;
  await tell({ selvedge: "keep", parts: [{ url: `${ORIGIN}/app.js`, isShell: true }] });
  network = () => null;
  expect(await ask("/app.js", script)).toBe("code");
  network = code;
  expect(await ask("/app.js", script)).toBe("code");
  expect(kept()).toEqual(["/app.js"]);
});

test.each([[undefined], [null], ["parts"], [{}]])(
  "a message without parts is answered: %j (store-C22)",
  async (parts) => {
    const { tell } = start();
    expect(await tell({ selvedge: "keep", parts })).toEqual([
      { heard: true },
      { error: "TypeError: keep: the message names no parts" },
    ]);
  },
);

test("an address that can't be read counts as failed, and the others are kept (store-C22)", async () => {
  const { tell } = start();
  network = () => html("all");
  const parts = [{ url: "http://", isShell: true }, null, { isShell: true }, { url: `${ORIGIN}/`, isShell: true }];
  expect(await tell({ selvedge: "keep", parts })).toEqual([
    { heard: true },
    { kept: [`${ORIGIN}/`], failed: ["http://", "undefined", "undefined"] },
  ]);
});

test("a browser that refuses to store is reported, not waited for (store-C22)", async () => {
  const { tell } = start();
  vi.stubGlobal("caches", {
    open: () => Promise.reject(new DOMException("The operation is insecure.", "SecurityError")),
  });
  expect(await tell({ selvedge: "keep", parts: [] })).toEqual([
    { heard: true },
    { error: "SecurityError: The operation is insecure." },
  ]);
});
