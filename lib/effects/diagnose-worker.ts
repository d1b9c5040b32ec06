// Finds out why a worker did not start, by evidence: the server's answer for its script, a second attempt with a
// listener for violations of the page's policies, and the page's own headers. Loaded only then. A cause that waiting
// can end is `worker-crashed`, which callers retry; the others are `setup-failed`, with the line to change.
import { BUILD_ID } from "../core/build-id.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { ErrorDetails } from "../core/errors.ts";
import { workerType } from "./opaque-origin.ts";
import type { ScriptUrl, WorkerSource } from "./effects.ts";

/** The server's answer for an address. */
interface Answer {
  readonly status: number;
  /** Content-Type without parameters; empty where there is none. */
  readonly type: string;
  /** Its address after redirects. */
  readonly url: string;
  readonly isHtml: boolean;
  readonly hasCoep: boolean;
  /** The body, or its beginning. */
  readonly text: string;
}

/** Outcome of a second attempt. */
interface Trial {
  readonly isLoaded: boolean;
  /** Directives of the Content-Security-Policy that it violated. */
  readonly violated: readonly string[];
}

/** Makes the error of a cause. */
type MakeError = (reason: string, why: string, fix: string, code?: "setup-failed" | "worker-crashed") => SelvedgeError;

const TRIAL_MS = 5_000;
/** Time without a byte after which a script that a worker waits for has stalled, as for its binary. */
const SILENT_MS = 20_000;
/** Wait for a violation's event, which may follow the worker's. */
const EVENT_MS = 200;
/** Bound on a script that is examined: the largest worker has 0.2 MB, ten times that in development. */
const SCRIPT_BYTES = 4 * 2 ** 20;
const PATH_FIX =
  "Serve the package's dist/ files there, or set `assetsBase` to where they are; in Vite's dev server set " +
  '`optimizeDeps: { exclude: ["selvedge"] }`, which the plugin of selvedge/vite does.';
const REFUSED_FIX = "Let the server answer it to every visitor.";
const ALLOW_FIX =
  "Vite's dev server sends no file outside of the app's workspace: name selvedge's folder in `server.fs.allow`, " +
  "which the plugin of selvedge/vite does.";
const COPY_FIX = "Copy the package's dist/ files there again, unchanged.";
const CODING_FIX = "Compress it once, and name that in `Content-Encoding`.";
/** Beginning of a Git LFS pointer. */
const LFS = "version https://git-lfs.github.com/";
/** Beginning of gzip, read as text. */
const GZIP = "\u001f\ufffd";

/**
 * Describes why a worker did not start; without a script, why there are no workers.
 * @param fault - what the constructor threw; the text of the error that the script threw; null where the script has
 * sent no message for long, and undefined where there was an event without a text
 * @returns null where the script sends nothing and is this build's worker: it may be slow
 */
export async function diagnose(source: WorkerSource | null, fault: unknown): Promise<SelvedgeError | null> {
  if (source === null) return noWorker();
  const { href, script } = source;
  if (isTrustedTypes(fault)) return trustedTypes(href, fault);
  // After an error event the browser has waited already.
  const silentMs = fault === null ? SILENT_MS : TRIAL_MS;
  const { violated: asking, stop } = watchPolicy();
  const { answer, isSilent, status } = await askScript(href, silentMs);
  if (answer === null) await new Promise((resolve) => setTimeout(resolve, EVENT_MS));
  stop();
  const report: MakeError = (reason, why, fix, code = "setup-failed") => {
    const unseen = !isSilent ? "not reachable" : status === null ? "no answer" : `status ${status}, and no end`;
    const shown = answer === null ? unseen : `status ${answer.status}, ${answer.type || "no Content-Type"}`;
    // With this cause a load is not tried again in a new worker, which would hang too.
    const details: ErrorDetails = { url: href, answer: shown, reason, ...(isSilent && { cause: "watchdog" }) };
    const cause = fault instanceof Error ? fault : undefined;
    return new SelvedgeError(code, `The worker script ${href} did not load (${shown}): ${why} ${fix}`, details, cause);
  };
  const content = answer?.status === 200 ? contentFault(answer.text) : null;
  const copyFix = fixOf(answer);
  if (isSilent) return report("worker-stalled", `no data for ${silentMs / 1_000} s.`, "Try again.", "worker-crashed");
  if (fault === null) return content === null ? null : report("worker-invalid", `${content}.`, copyFix);
  const refusal = typeof fault === "string" || answer === null ? null : refusalOf(answer, report);
  if (refusal !== null) return refusal;
  const { isLoaded, violated } = await attempt(script);
  if (isLoaded) return report("transient", "a second attempt did load.", "Try again.", "worker-crashed");
  if (violated.includes("require-trusted-types-for")) return trustedTypes(href, fault);
  if (typeof fault === "string" && violated.length === 0)
    return report("worker-invalid", `${content ?? "its code fails"} (${fault}).`, copyFix);
  const directive = violated.find((each) => /^(worker|child|script|default)-src/.test(each));
  const isForeign = script.toString() !== href && !href.startsWith("blob:") && isElsewhere(href);
  if (isForeign) return foreign(href, answer, directive ?? asking.find((each) => each === "connect-src"), fault);
  if (directive !== undefined) {
    const fix = "Allow `worker-src 'self'` (or the script's origin).";
    return report("worker-csp", `the Content-Security-Policy forbids it (${directive}).`, fix);
  }
  return unlessPolicy(href, answer, report, asking.includes("connect-src"));
}

/** Returns the error for an answer that is no script; null where it is one. */
function refusalOf({ status, type, url, isHtml }: Answer, report: MakeError): SelvedgeError | null {
  // 501 and 505: a server that will not know the request later either.
  const isVite = status === 403 && url.includes("/@fs/");
  const isRefused = [401, 403, 407, 451, 501, 505].includes(status);
  if ((status >= 500 && !isRefused) || status === 429)
    return report("server", "the server failed.", "Try again.", "worker-crashed");
  if (isHtml && status < 400) return report("worker-html", "it is an HTML page.", PATH_FIX);
  if (isRefused) return report("worker-missing", "the server refuses it.", isVite ? ALLOW_FIX : REFUSED_FIX);
  if (status >= 400) return report("worker-missing", "the file is not there.", PATH_FIX);
  if (/(java|ecma)script/.test(type)) return null;
  return report("worker-type", "that is no JavaScript type.", "Serve .js files as text/javascript.");
}

/** Returns the fault of a script that is not this build's worker, or not all of it; null where it may be. */
function contentFault(text: string): string | null {
  if (text.trim() === "") return "it is empty";
  if (text.startsWith(LFS)) return "it is a Git LFS pointer: run `git lfs pull` before deploying";
  if (text.startsWith(GZIP)) return "it is gzip: compressed twice, or without a `Content-Encoding` that says so";
  return BUILD_ID.startsWith("@") || text.includes(BUILD_ID) ? null : "it is another script, or not all of this one";
}

function fixOf(answer: Answer | null): string {
  return answer?.text.startsWith(GZIP) === true ? CODING_FIX : COPY_FIX;
}

/** Returns the error for a script that no policy of the page refuses. */
async function unlessPolicy(
  href: string,
  answer: Answer | null,
  report: MakeError,
  isUnasked: boolean,
): Promise<SelvedgeError> {
  const why = await redirectionOf(href, answer);
  if (why !== null)
    return report("worker-redirected", why, "Serve the file itself there, or set `assetsBase` to where it is served.");
  if (answer === null) {
    if (await isOffline()) return report("offline", "the network is away.", "Try again.", "worker-crashed");
    if (!isUnasked && href.startsWith("http"))
      return report("server", "the connection was closed without an answer.", "Try again.", "worker-crashed");
    return report("worker-unreachable", "it could not be requested.", PATH_FIX);
  }
  if (!answer.hasCoep && (await ask(location.href, { method: "HEAD" }))?.hasCoep === true) {
    const fix = "Send `Cross-Origin-Embedder-Policy: require-corp` with it too.";
    return report("worker-coep", "the page has a Cross-Origin-Embedder-Policy and this file has none.", fix);
  }
  // Chromium reports no syntax error of a worker.
  const content = contentFault(answer.text);
  if (content !== null) return report("worker-invalid", `${content}.`, fixOf(answer));
  return report("worker-refused", "the browser refuses it.", "The browser's console says why.");
}

/** Describes an environment without workers. */
function noWorker(): SelvedgeError {
  const { process, navigator, document, location } = globalThis as Partial<typeof globalThis> & {
    process?: { versions?: { node?: string } };
  };
  const agent = navigator?.userAgent ?? "";
  const isServiceWorker = "ServiceWorkerGlobalScope" in globalThis && "skipWaiting" in globalThis;
  let [place, fix] = ["this environment", "Use a current browser."];
  if (isServiceWorker && location?.protocol.endsWith("-extension:") === true)
    [place, fix] = [
      "an extension's service worker",
      "Run the engine in an offscreen document, or in one of its pages.",
    ];
  else if (isServiceWorker) [place, fix] = ["a service worker", "Run the engine in the page."];
  else if (/jsdom|HappyDOM/i.test(agent))
    [place, fix] = [
      /jsdom/i.test(agent) ? "jsdom" : "happy-dom",
      "Replace selvedge in these tests, or test in a browser.",
    ];
  else if (process?.versions?.node !== undefined && document === undefined)
    [place, fix] = [
      "Node",
      "Create the engine in the browser: not while a server renders, but in an effect or onMount.",
    ];
  else if ("SharedWorkerGlobalScope" in globalThis) [place, fix] = ["a shared worker", "Run the engine in the page."];
  const message = `The engine needs Web Workers, and there are none in ${place}. ${fix}`;
  return new SelvedgeError("setup-failed", message, { reason: "no-worker", environment: place });
}

function isTrustedTypes(thrown: unknown): boolean {
  return thrown instanceof TypeError && /Trusted/.test(thrown.message);
}

function trustedTypes(href: string, thrown: unknown): SelvedgeError {
  const message =
    "The page enforces Trusted Types (`require-trusted-types-for 'script'`): pass `trustedTypesPolicy`, made by " +
    '`trustedTypes.createPolicy("selvedge", { createScriptURL: (url) => url })`, and allow its name in the header: ' +
    "`Content-Security-Policy: trusted-types selvedge`.";
  return new SelvedgeError("setup-failed", message, { url: href, reason: "trusted-types" }, thrown);
}

function foreign(href: string, answer: Answer | null, directive: string | undefined, thrown: unknown): SelvedgeError {
  const { origin } = new URL(href);
  const why =
    directive !== undefined
      ? `the Content-Security-Policy forbids that (${directive})`
      : answer === null
        ? "its server sends no Access-Control-Allow-Origin, or is away"
        : "the browser refuses it, as below a Content-Security-Policy that keeps a Blob from importing it";
  const message =
    `The worker script ${href} is on another origin than the page, and ${why}. Serve the package's dist/ from the ` +
    "page's origin and set `assetsBase`; or send `Access-Control-Allow-Origin` with its files and allow " +
    `\`worker-src blob: ${origin}\`, and ${origin} in \`script-src\` and \`connect-src\` too.`;
  const details = { url: href, reason: "cross-origin", ...(directive !== undefined && { directive }) };
  return new SelvedgeError("setup-failed", message, details, thrown);
}

/** Requests an address; null where there is no answer in time, or none that may be read. */
async function ask(url: string, init: RequestInit): Promise<Answer | null> {
  return readAnswer(fetch(url, { ...init, signal: AbortSignal.timeout(TRIAL_MS) }));
}

/** Requests a script for as long as bytes come. */
async function askScript(
  url: string,
  silentMs: number,
): Promise<{ readonly answer: Answer | null; readonly isSilent: boolean; readonly status: number | null }> {
  const stop = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let status: number | null = null;
  const note = (response: Response): Response => {
    ({ status } = response);
    return response;
  };
  // Firefox holds a request back while the worker's own, for the same entry of its cache, has no end.
  const beside = setTimeout(() => {
    if (status === null) fetch(url, { cache: "no-store", signal: stop.signal }).then(note, () => undefined);
  }, silentMs / 2);
  const renew = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      stop.abort();
    }, silentMs);
  };
  renew();
  const answer = await readAnswer(fetch(url, { signal: stop.signal }).then(note), renew);
  clearTimeout(timer);
  clearTimeout(beside);
  const isSilent = stop.signal.aborted;
  stop.abort();
  return { answer, isSilent, status };
}

async function readAnswer(requested: Promise<Response>, onPart?: () => void): Promise<Answer | null> {
  try {
    const response = await requested;
    const { status, headers, url: final } = response;
    const type = (headers.get("content-type") ?? "").split(";")[0]?.trim() ?? "";
    const text = await beginningOf(response, onPart);
    const isHtml = type === "text/html" || /^\s*<(!doctype|html)/i.test(text);
    return { status, type, url: final, isHtml, hasCoep: headers.has("cross-origin-embedder-policy"), text };
  } catch {
    return null;
  }
}

/** Describes a redirection to another origin or without an end; null where there is none. */
async function redirectionOf(href: string, answer: Answer | null): Promise<string | null> {
  if (isElsewhere(href)) return null;
  const foreignTo = (target: string): string =>
    `it is redirected to ${target}: browsers start no worker from another origin that way.`;
  if (answer !== null) return isElsewhere(answer.url) ? foreignTo(new URL(answer.url).origin) : null;
  // An answer without CORS can't be read, but its redirection can be noticed, and whether it has an end.
  const [seen, end] = await Promise.all(
    [{ redirect: "manual" } as const, { mode: "no-cors" } as const].map((how) =>
      fetch(href, { ...how, signal: AbortSignal.timeout(TRIAL_MS) }).catch(() => null),
    ),
  );
  if (seen?.type !== "opaqueredirect") return null;
  if (end != null) return foreignTo("an address that this page can't read");
  return "it is redirected without an end, as to itself, or to an address that can't be reached.";
}

/** Reads a body as text up to a bound, and cancels the rest. */
async function beginningOf({ body }: Response, onPart?: () => void): Promise<string> {
  if (body === null) return "";
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  while (size < SCRIPT_BYTES) {
    const { value, done } = await reader.read();
    if (done) break;
    onPart?.();
    size += value.byteLength;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return text;
}

/** Notes the directives that are violated from now on. */
function watchPolicy(): { readonly violated: readonly string[]; stop(): void } {
  const violated: string[] = [];
  const note = (event: Event): void => {
    const { disposition, effectiveDirective } = event as SecurityPolicyViolationEvent;
    if (disposition === "enforce") violated.push(effectiveDirective);
  };
  const target: EventTarget = typeof document === "undefined" ? self : document;
  target.addEventListener("securitypolicyviolation", note);
  return {
    violated,
    stop: () => {
      target.removeEventListener("securitypolicyviolation", note);
    },
  };
}

/** Starts the worker once more and notes which policies that violates. */
async function attempt(script: ScriptUrl): Promise<Trial> {
  const { violated, stop } = watchPolicy();
  let worker: Worker | null = null;
  const isLoaded = await new Promise<boolean>((resolve) => {
    const settle = (isLoaded: boolean): void => {
      setTimeout(resolve, isLoaded ? 0 : EVENT_MS, isLoaded);
    };
    setTimeout(settle, TRIAL_MS, false);
    try {
      worker = new Worker(script as string, { type: workerType(), name: "selvedge" });
      worker.onmessage = (): void => {
        settle(true); // that it is ready
      };
      worker.onerror = (event): void => {
        event.preventDefault();
        settle(false);
      };
    } catch {
      settle(false);
    }
  });
  (worker as Worker | null)?.terminate();
  stop();
  return { isLoaded, violated };
}

/** Whether the page's own address can't be reached, either; a policy that forbids the request says nothing. */
async function isOffline(): Promise<boolean> {
  if (!navigator.onLine) return true;
  const { violated, stop } = watchPolicy();
  const answer = await ask(location.href, { method: "HEAD", cache: "no-store" });
  if (answer === null) await new Promise((resolve) => setTimeout(resolve, EVENT_MS));
  stop();
  return answer === null && !violated.includes("connect-src");
}

function isElsewhere(href: string): boolean {
  return new URL(href).origin !== self.origin;
}
