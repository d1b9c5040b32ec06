// Words for failures, loaded when a request has failed: the server's own from an error's body, and the cause of a reply
// that a page can't read. Bodies are of five kinds: {"error": text}, {"detail": text or list}, plain text, HTML, or none;
// Content-Type says nothing about them, and one of 100 MB has echoed the request, so they may have been cut.
import type { NetworkEffects } from "../effects/network.ts";
import type { Endpoint } from "./endpoints.ts";
import { FailedAttempt } from "./failure.ts";

/** Returns an error's own words, to follow its status: ": unknown model". */
export function wordsOf(body: Uint8Array): string {
  const words = messageOf(new TextDecoder().decode(body));
  return words === "" ? "" : `: ${words}`;
}

const MESSAGE_MAX = 300;

/** Returns the server's own words from an error's body. */
function messageOf(body: string): string {
  const text = body.trim();
  if (/^<(!doctype|html|head|body)\b/i.test(text)) return "an HTML page";
  const found = fieldsOf(text);
  const words = (found.length > 0 ? found.join("; ") : text).replace(/\s+/g, " ").replace(/[. ]+$/, "");
  return words.length > MESSAGE_MAX ? `${words.slice(0, MESSAGE_MAX)}…` : words;
}

/** Returns the messages in a JSON body: of `error` or `detail`, or of the entries of a list. */
function fieldsOf(text: string): string[] {
  if (!text.startsWith("{")) return [];
  const field = /"(?:error|detail|msg|message)"\s*:\s*("(?:[^"\\]|\\.)*")/g;
  return [...text.matchAll(field)].slice(0, 4).flatMap(([, quoted = ""]) => {
    try {
      return [String(JSON.parse(quoted))];
    } catch {
      return [];
    }
  });
}

/**
 * Returns the failure of a server that is up and whose reply a page may not read; null where it is not, or is of the page's
 * origin. Where replies could be read before, a proxy may stand in for a server that restarts, so it may pass. Never
 * rejects.
 */
export async function unreadable(
  effects: NetworkEffects,
  { url, wasRead }: Endpoint,
  bounds: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<FailedAttempt | null> {
  const isForeign = new URL(url).origin !== new URL(effects.baseUrl ?? url).origin;
  if (!isForeign || !(await isUp(effects, `${url}/v2/health/live`, bounds))) return null;
  const text = wasRead
    ? "the server is up and its reply can't be read, others could: a proxy's 502 or 503, or status 500 of KServe and MLServer, without CORS headers"
    : "the server is up and sends no CORS headers, as Triton never does: serve it on the page's origin through a proxy";
  return new FailedAttempt(text, { reason: wasRead ? "unreachable" : "cors" });
}

/** Whether a server answers a request that needs no CORS. */
async function isUp(
  effects: NetworkEffects,
  url: string,
  bounds: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<boolean> {
  let cancel = (): void => undefined;
  const late = new Promise<null>((resolve) => {
    cancel = effects.setTimer(() => {
      resolve(null);
    }, bounds.timeoutMs);
  });
  try {
    const init: RequestInit = { mode: "no-cors", cache: "no-store", signal: bounds.signal };
    const response = await Promise.race([effects.fetch(url, init), late]);
    response?.body?.cancel().catch(() => undefined);
    return response?.type === "opaque";
  } catch {
    return false;
  } finally {
    cancel();
  }
}
