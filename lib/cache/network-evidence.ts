// Finds out why a request brought no answer, which browsers do not tell: a second request without CORS, with a listener
// for violations of the Content-Security-Policy, and one to the page's own origin.

/** Cause of a request without an answer. */
export interface Cause {
  /** The word in an error's `details.reason`. */
  readonly reason: "csp" | "mixed-content" | "offline" | "cors" | "not-found" | "unreachable";
  /** Sentence with the line to change. */
  readonly text: string;
}

const PROBE_MS = 3_000;
/** Wait for a violation's event, which may follow the failure. */
const EVENT_MS = 50;

/** Returns the cause of a failed request; never rejects. */
export async function causeOf(url: string): Promise<Cause> {
  const { origin, protocol } = new URL(url);
  const isForeign = origin !== self.location.origin;
  if (self.location.protocol === "https:" && protocol === "http:" && !isLocal(url))
    return { reason: "mixed-content", text: "The page is https: serve the file over https too." };
  const isBlob = protocol === "blob:";
  if (!navigator.onLine && !isBlob) return { reason: "offline", text: "The browser is offline." };
  const { answer, isForbidden } = await probe(url);
  if (isForbidden) {
    const allowed = /^(blob|data):$/.test(protocol) ? protocol : isForeign ? origin : "'self'";
    return { reason: "csp", text: `Allow \`connect-src ${allowed}\` in the Content-Security-Policy.` };
  }
  if (isBlob) {
    const text =
      "The blob: URL was revoked, is of another page, or its file has changed: pass the Blob or File itself.";
    return { reason: "not-found", text };
  }
  // Opaque: of another origin, by a redirect or not. Where it can be read now, the failure was a passing one.
  if (answer?.type === "opaque" && (await answerOf(url, { method: "GET" })) === null) {
    const text = `It is ${isForeign ? "on" : "redirected to"} another origin, whose server must send \`Access-Control-Allow-Origin: ${self.location.origin}\` (or \`*\`).`;
    return { reason: "cors", text };
  }
  if (answer !== null) return { reason: "unreachable", text: "The connection was closed before an answer." };
  // Without an end, or the host behind it is away for now, as a hub's host of files may be: both look the same.
  if ((await answerOf(url, { method: "HEAD", redirect: "manual" }))?.type === "opaqueredirect") {
    const text = "It is redirected without end, or to an address that does not answer this page.";
    return { reason: "unreachable", text };
  }
  if (!(await isOwnReachable())) return { reason: "offline", text: "The network or the server is away." };
  const text = isForeign
    ? "Its server is away, or sends no Access-Control-Allow-Origin."
    : "The server ends the request without an answer.";
  return { reason: "unreachable", text };
}

/** Requests an address without reading it, which needs no CORS, and notes whether the page's policy forbids it. */
async function probe(url: string): Promise<{ answer: Response | null; isForbidden: boolean }> {
  let isForbidden = false;
  const note = ({ effectiveDirective, disposition }: SecurityPolicyViolationEvent): void => {
    isForbidden ||= effectiveDirective === "connect-src" && disposition === "enforce";
  };
  self.addEventListener("securitypolicyviolation", note);
  const answer = await answerOf(url, { method: "HEAD", mode: "no-cors" });
  if (answer === null) await new Promise((resolve) => setTimeout(resolve, EVENT_MS));
  self.removeEventListener("securitypolicyviolation", note);
  return { answer, isForbidden };
}

/** Whether the page's own origin answers; true where it is none that can be asked. */
async function isOwnReachable(): Promise<boolean> {
  const { origin } = self.location;
  return !origin.startsWith("http") || (await answerOf(`${origin}/`, { method: "HEAD", mode: "no-cors" })) !== null;
}

/** Returns the answer to a request, whose body is not read; null where there is none. */
async function answerOf(url: string, init: RequestInit): Promise<Response | null> {
  try {
    const response = await fetch(url, { ...init, cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
    response.body?.cancel().catch(() => undefined);
    return response;
  } catch {
    return null;
  }
}

function isLocal(url: string): boolean {
  return /^(localhost|127\.[\d.]+|\[::1\]|.*\.localhost)$/.test(new URL(url).hostname);
}
