// The requests by which the cause of a failed one is found: what they ask, and what each answer means.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { causeOf } from "./network-evidence.ts";

const FOREIGN = "https://cdn.example/m.onnx";
const OWN = "https://app.example/m.onnx";

/** Kind of a request: with CORS or not, of the file or the page's own origin. */
type Asked = "probe" | "get" | "manual" | "own";

interface Answer {
  readonly type: ResponseType;
  readonly body: { cancel(): Promise<void> } | null;
}

let asked: { readonly url: string; readonly kind: Asked; readonly init: RequestInit }[] = [];
let target: EventTarget;
const answer = (type: ResponseType, body: Answer["body"] = null): Answer => ({ type, body });

/** A worker of a page whose requests are answered by kind; those of no kind fail. */
function open(answers: Partial<Record<Asked, Answer>> = {}, page = "https://app.example", onLine = true): void {
  asked = [];
  target = new EventTarget();
  vi.stubGlobal("self", Object.assign(target, { location: new URL(`${page}/worker.js`) }));
  vi.stubGlobal("navigator", { onLine });
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    const isOwn = url === `${page}/`;
    const kind = isOwn ? "own" : init.method === "GET" ? "get" : init.redirect === "manual" ? "manual" : "probe";
    asked.push({ url, kind, init });
    const found = answers[kind];
    return found === undefined ? Promise.reject(new TypeError("Failed to fetch")) : Promise.resolve(found);
  });
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Returns the cause, once the wait for a violation is over. */
async function causeNow(url: string): ReturnType<typeof causeOf> {
  const cause = causeOf(url);
  await vi.advanceTimersByTimeAsync(50);
  return cause;
}

/** Dispatches a violation of the page's policy. */
function violate(effectiveDirective = "connect-src", disposition = "enforce"): void {
  target.dispatchEvent(Object.assign(new Event("securitypolicyviolation"), { effectiveDirective, disposition }));
}

test("http on an https page is mixed content, without a request; on http pages and for this machine it is not", async () => {
  open();
  expect(await causeNow("http://cdn.example/m")).toEqual({
    reason: "mixed-content",
    text: "The page is https: serve the file over https too.",
  });
  expect(asked).toEqual([]);
  for (const host of ["localhost:8080", "127.0.0.1", "127.1.2.3", "[::1]:80", "app.localhost"]) {
    open();
    expect((await causeNow(`http://${host}/m`)).reason).toBe("offline");
  }
  for (const host of ["localhost.example", "my-localhost", "127.example", "128.0.0.1", "127.0.0.1.example"]) {
    open();
    expect((await causeNow(`http://${host}/m`)).reason, host).toBe("mixed-content");
  }
  open({}, "http://app.example");
  expect((await causeNow("http://cdn.example/m")).reason).toBe("offline");
});

test("a browser that is offline says so, without a request; for a blob: that is no cause", async () => {
  open({}, "https://app.example", false);
  expect(await causeNow(FOREIGN)).toEqual({ reason: "offline", text: "The browser is offline." });
  expect(asked).toEqual([]);
  expect((await causeNow("blob:https://app.example/1f")).reason).toBe("not-found");
});

test("the file is asked for without CORS, its bytes or the browser's copy, for at most 3 s", async () => {
  const timeout = vi.spyOn(AbortSignal, "timeout");
  open();
  await causeNow(FOREIGN);
  expect(asked.map((x) => [x.url, x.kind, x.init.method, x.init.mode, x.init.redirect, x.init.cache])).toEqual([
    [FOREIGN, "probe", "HEAD", "no-cors", undefined, "no-store"],
    [FOREIGN, "manual", "HEAD", undefined, "manual", "no-store"],
    ["https://app.example/", "own", "HEAD", "no-cors", undefined, "no-store"],
  ]);
  expect(timeout.mock.calls).toEqual([[3_000], [3_000], [3_000]]);
  expect(asked.every((x) => x.init.signal instanceof AbortSignal)).toBe(true);
});

test("a violation of connect-src that follows the failure within 50 ms is the cause", async () => {
  open();
  const cause = causeOf(FOREIGN);
  await vi.advanceTimersByTimeAsync(49);
  violate();
  await vi.advanceTimersByTimeAsync(1);
  expect(await cause).toEqual({
    reason: "csp",
    text: "Allow `connect-src https://cdn.example` in the Content-Security-Policy.",
  });
});

test("one of the page's own origin is allowed by 'self'", async () => {
  open();
  const cause = causeOf(OWN);
  violate();
  await vi.advanceTimersByTimeAsync(50);
  expect((await cause).text).toBe("Allow `connect-src 'self'` in the Content-Security-Policy.");
});

test("a violation of another directive, or that is only reported, is no cause, nor is one that came later", async () => {
  open();
  const cause = causeOf(FOREIGN);
  violate("img-src");
  violate("connect-src", "report");
  await vi.advanceTimersByTimeAsync(50);
  violate();
  expect((await cause).reason).toBe("offline");
});

test("a violation before another one stays the cause", async () => {
  open();
  const cause = causeOf(FOREIGN);
  violate();
  violate("img-src");
  await vi.advanceTimersByTimeAsync(50);
  expect((await cause).reason).toBe("csp");
});

test("the listener for violations is removed", async () => {
  open();
  const [add, remove] = [vi.spyOn(target, "addEventListener"), vi.spyOn(target, "removeEventListener")];
  await causeNow(FOREIGN);
  expect(add.mock.calls.map(([type]) => type)).toEqual(["securitypolicyviolation"]);
  expect(remove.mock.calls).toEqual(add.mock.calls);
});

test("where the file is answered without CORS and not with it, the server must send the header", async () => {
  open({ probe: answer("opaque") });
  expect(await causeNow(FOREIGN)).toEqual({
    reason: "cors",
    text: "It is on another origin, whose server must send `Access-Control-Allow-Origin: https://app.example` (or `*`).",
  });
  expect(asked.map((x) => x.kind)).toEqual(["probe", "get"]);
  open({ probe: answer("opaque") });
  expect((await causeNow(OWN)).text).toBe(
    "It is redirected to another origin, whose server must send `Access-Control-Allow-Origin: https://app.example` (or `*`).",
  );
});

test("where it can be read now, or was answered openly, the failure was a passing one", async () => {
  const closed = { reason: "unreachable", text: "The connection was closed before an answer." };
  open({ probe: answer("opaque"), get: answer("cors") });
  expect(await causeNow(FOREIGN)).toEqual(closed);
  open({ probe: answer("basic") });
  expect(await causeNow(OWN)).toEqual(closed);
  expect(asked.map((x) => x.kind)).toEqual(["probe"]);
});

test("an answer is not waited on for violations", async () => {
  open({ probe: answer("basic") });
  expect((await causeOf(OWN)).reason).toBe("unreachable");
});

test("a body is not read, and one that can't be cancelled does no harm", async () => {
  const cancel = vi.fn(() => Promise.reject(new Error("locked")));
  open({ probe: answer("basic", { cancel }) });
  expect((await causeNow(OWN)).reason).toBe("unreachable");
  expect(cancel).toHaveBeenCalledOnce();
});

test("a redirect whose target does not answer is named", async () => {
  open({ manual: answer("opaqueredirect") });
  expect(await causeNow(FOREIGN)).toEqual({
    reason: "unreachable",
    text: "It is redirected without end, or to an address that does not answer this page.",
  });
});

test("an answer that is no redirect is none", async () => {
  open({ manual: answer("basic"), own: answer("basic") });
  expect((await causeNow(OWN)).text).toBe("The server ends the request without an answer.");
});

test("where the page's own origin answers, the file's server is away, or ends the request", async () => {
  open({ own: answer("basic") });
  expect(await causeNow(FOREIGN)).toEqual({
    reason: "unreachable",
    text: "Its server is away, or sends no Access-Control-Allow-Origin.",
  });
  expect(await causeNow(OWN)).toEqual({
    reason: "unreachable",
    text: "The server ends the request without an answer.",
  });
});

test("where nothing answers, the network is away", async () => {
  open();
  expect(await causeNow(FOREIGN)).toEqual({ reason: "offline", text: "The network or the server is away." });
});

test("an origin that can't be asked, as an extension's, counts as reachable", async () => {
  open();
  const location = { origin: "chrome-extension://abc", protocol: "chrome-extension:" };
  vi.stubGlobal("self", Object.assign(target, { location }));
  expect((await causeNow(FOREIGN)).text).toBe("Its server is away, or sends no Access-Control-Allow-Origin.");
  expect(asked.map((x) => x.kind)).toEqual(["probe", "manual"]);
});
