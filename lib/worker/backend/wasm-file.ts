// Fetches and compiles a part of ONNX Runtime's binary, once: ONNX Runtime's own glue would request a file with a wrong
// Content-Type, or a page in its place, three times, and report it in the console. Here the error names the cause.
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";
import { sniff } from "../../core/sniff.ts";
import type { ErrorCode, ErrorDetails } from "../../core/errors.ts";
import { SILENT_MS, WatchedFetch } from "../../rpc/watched-fetch.ts";
import { readSections } from "./sections.ts";

const FIX = "Serve all of the package's dist files side by side, or set `assetsBase` to where they are.";

/**
 * Returns the module at an address, unless it is given.
 * @throws SelvedgeError `setup-failed` with the cause; `worker-crashed` where a retry may help
 */
export async function compileFile(url: string, given: WebAssembly.Module | null = null): Promise<WebAssembly.Module> {
  if (given !== null) return given;
  const violated = watchPolicy();
  const watched = new WatchedFetch();
  let response: Response | null = null;
  try {
    response = await watched.fetch(url);
    const type = (response.headers.get("content-type") ?? "").split(";")[0]?.trim() ?? "";
    const refused = answerFailure(url, response.status, type);
    if (refused !== null) throw refused;
    if (type === "application/wasm") return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    if (isSelvedgeError(error)) throw error;
    if (watched.isStalled) throw stallFailure(url, error);
    throw response === null ? await networkFailure(url, error, violated) : await contentFailure(url, response, error);
  } finally {
    watched.end();
    violated.stop();
  }
}

function stallFailure(url: string, cause: unknown): SelvedgeError {
  const text = `${nameOf(url)} stalled: no data for ${SILENT_MS / 1_000} s (${url}). Try again.`;
  // With a cause, as a watchdog's error: a load that would wait for it again is not repeated.
  return new SelvedgeError("worker-crashed", text, { url, reason: "wasm-stalled", cause: "stalled" }, cause);
}

/** Whether the error is that of a server that accepts requests for the file and sends nothing. */
export function isStall(error: unknown): boolean {
  return isSelvedgeError(error) && error.details["reason"] === "wasm-stalled";
}

/** Returns the error for a server's answer that can't be the file; null where it may be. */
export function answerFailure(url: string, status: number, type: string): SelvedgeError | null {
  const shown = `status ${status}, ${type || "no Content-Type"}`;
  const fail = (code: ErrorCode, reason: string, what: string, fix: string): SelvedgeError =>
    new SelvedgeError(code, `${nameOf(url)} ${what}: ${url}. ${fix}`, { url, status, answer: shown, reason });
  // 501 and 505: a server that will not know the request later either.
  const isRefused = [401, 403, 407, 451, 501, 505].includes(status);
  if ((status >= 500 && !isRefused) || status === 429)
    return fail("worker-crashed", "server", `was not served (${shown})`, "Try again.");
  if (isRefused)
    return fail("setup-failed", "wasm-missing", `is refused (${shown})`, "Let the server answer it to every visitor.");
  const what = status === 404 || status === 410 ? "is missing" : "is refused";
  if (status >= 400 || status < 200) return fail("setup-failed", "wasm-missing", `${what} (${shown})`, FIX);
  if (type === "text/html") return fail("setup-failed", "wasm-html", `is an HTML page (${shown})`, FIX);
  return null;
}

/**
 * Returns the error for a file that came and was not compiled: the cause itself where the file is right, as below a
 * policy. Firefox reports a file that ends early as another error than a CompileError.
 */
async function contentFailure(url: string, { headers }: Response, cause: unknown): Promise<unknown> {
  const fail = (code: ErrorCode, reason: string, text: string): SelvedgeError =>
    new SelvedgeError(code, `${nameOf(url)} ${text}`, { url, reason }, cause);
  const encoding = headers.get("content-encoding");
  const { bytes, size } = await readAgain(url);
  if (bytes === null && size === 0 && encoding !== null) {
    const text = `is not compressed as its header says (\`Content-Encoding: ${encoding}\`): ${url}.`;
    return fail("setup-failed", "wasm-encoding", `${text} Send that header only with files that are.`);
  }
  if (bytes?.[0] === 0x1f && bytes[1] === 0x8b) {
    const how = "is gzip: compressed twice, or without a `Content-Encoding` that says so";
    const text = `${how} (${url}). Compress it once, and name that in the header.`;
    return fail("setup-failed", "wasm-encoding", text);
  }
  try {
    if (bytes !== null) readSections(bytes);
  } catch {
    const other = bytes === null ? null : sniff(bytes);
    if (other?.reason === "git-lfs")
      return fail("setup-failed", "wasm-invalid", `is ${other.what}: ${url}. ${other.fix}`);
    const text = `is not WebAssembly, or not all of it (${size} bytes): ${url}. ${FIX}`;
    return fail("setup-failed", "wasm-invalid", text);
  }
  if (bytes !== null && cause instanceof WebAssembly.CompileError) return cause;
  return fail("worker-crashed", "wasm-cut", `did not come whole: the response ended early (${url}). Try again.`);
}

/** Fetches a file once more: its bytes, null where they end early, and their number, null where no answer comes. */
async function readAgain(url: string): Promise<{ bytes: Uint8Array | null; size: number | null }> {
  const watched = new WatchedFetch();
  let size: number | null = null;
  try {
    const { body } = await watched.fetch(url);
    const parts: Uint8Array<ArrayBuffer>[] = [];
    size = 0;
    const reader = body?.getReader();
    for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
      parts.push(part.value);
      size += part.value.byteLength;
    }
    return { bytes: new Uint8Array(await new Blob(parts).arrayBuffer()), size };
  } catch {
    return { bytes: null, size };
  } finally {
    watched.end();
  }
}

/** Returns the error for a request that brought no answer. */
async function networkFailure(url: string, cause: unknown, violated: Violations): Promise<SelvedgeError> {
  const fail = (code: ErrorCode, why: string, details: ErrorDetails): SelvedgeError =>
    new SelvedgeError(code, `${nameOf(url)} could not be fetched: ${why} (${url})`, { url, ...details }, cause);
  const { origin } = new URL(url);
  const isForeign = origin !== self.location.origin;
  if ((await violated.seen()).includes("connect-src"))
    return fail(
      "setup-failed",
      `allow \`connect-src ${isForeign ? origin : "'self'"}\` in the Content-Security-Policy`,
      {
        reason: "wasm-csp",
      },
    );
  if (!navigator.onLine || !(await isReachable()))
    return fail("worker-crashed", "the network is away", { reason: "offline" });
  // Firefox rejects a response that ends before its first byte as if there were none.
  if (await answers(url)) return fail("worker-crashed", "the response ended early. Try again.", { reason: "wasm-cut" });
  if (await isRedirected(url)) {
    const why = "it is redirected without end, or to an address that does not answer this page";
    return fail("setup-failed", `${why}: take that redirect off.`, { reason: "wasm-unreachable" });
  }
  const why = isForeign ? "it is on another origin, which must send Access-Control-Allow-Origin" : "no answer came";
  return fail("setup-failed", `${why}. ${FIX}`, { reason: "wasm-unreachable" });
}

/** Whether the worker's own origin answers; true where it has none that can be asked. */
async function isReachable(): Promise<boolean> {
  return !self.location.protocol.startsWith("http") || answers(self.location.href);
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(SILENT_MS) }).then(
    () => true,
    () => false,
  );
}

/** Whether an address is redirected. */
async function isRedirected(url: string): Promise<boolean> {
  const init = {
    method: "HEAD",
    cache: "no-store",
    redirect: "manual",
    signal: AbortSignal.timeout(SILENT_MS),
  } as const;
  return fetch(url, init).then(
    ({ type }) => type === "opaqueredirect",
    () => false,
  );
}

/** Violations of the Content-Security-Policy since this was made. */
interface Violations {
  /** Returns the directives; waits for the event, which may follow the failure. */
  seen(): Promise<readonly string[]>;
  stop(): void;
}

function watchPolicy(): Violations {
  const directives: string[] = [];
  const note = (event: Event): void => {
    directives.push((event as SecurityPolicyViolationEvent).effectiveDirective);
  };
  self.addEventListener("securitypolicyviolation", note);
  return {
    seen: async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return directives;
    },
    stop: () => {
      self.removeEventListener("securitypolicyviolation", note);
    },
  };
}

function nameOf(url: string): string {
  return url.split(/[?#]/)[0]?.split("/").pop() ?? url;
}
