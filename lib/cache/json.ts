// JSON from the network: `bundle.json` and `signature.json`.
import { SelvedgeError } from "../core/errors.ts";
import { readAll, request, retry } from "./http.ts";
import type { NetOptions } from "./http.ts";
import { sniff } from "../core/sniff.ts";

/**
 * Fetches and parses JSON; the caller validates it. With `sameOrigin` an answer from another origin, by a redirect, is
 * refused.
 */
export async function fetchJson(
  url: string,
  maxBytes: number,
  net: NetOptions,
  { attempts, sameOrigin = false }: { attempts?: () => Promise<number>; sameOrigin?: boolean } = {},
): Promise<unknown> {
  const bytes = await retry(
    net,
    async () => {
      // Revalidates the browser's own copy: one small request where it is unchanged.
      const body = await request(url, { cache: "no-cache" }, net);
      if (sameOrigin && isElsewhere(body.url, url)) {
        body.cancel();
        const message = `${url} was redirected to ${body.url}, another origin: load it from there, or name \`identity\` or trusted keys.`;
        const details = { url, to: body.url, reason: "redirected", final: true };
        throw new SelvedgeError("integrity-failed", message, details);
      }
      return readAll(url, body, maxBytes, null, () => undefined);
    },
    attempts,
  );
  const text = new TextDecoder().decode(bytes);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const found = sniff(bytes);
    const reason = found?.reason === "html" || found?.reason === "git-lfs" ? found.reason : "not-json";
    const fix = found === null || reason === "not-json" ? "Is the path right?" : found.fix;
    const message = `${url} is not JSON: it is ${found?.what ?? otherOf(text, error)}. ${fix}`;
    throw new SelvedgeError("bundle-invalid", message, { url, reason }, error);
  }
}

/** Completes "it is …" for a text that is no JSON. */
function otherOf(text: string, error: unknown): string {
  if (text === "") return "empty";
  return /^\s*[{[]/.test(text) ? `cut short or altered (${String(error)})` : "another file";
}

/** Whether an answer came from another origin than requested; an answer without an address counts as same-origin. */
function isElsewhere(from: string, asked: string): boolean {
  return from !== "" && new URL(from).origin !== new URL(asked).origin;
}
