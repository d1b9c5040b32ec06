// Content security policies (CSP level 3) as far as Selvedge meets them: whether a directive admits an address or a
// keyword. Several policies hold at once: each must admit it.
import { decoded } from "./urls.ts";

const FALLBACKS: Readonly<Record<string, readonly string[]>> = {
  "script-src": ["script-src", "default-src"],
  "script-src-elem": ["script-src-elem", "script-src", "default-src"],
  "worker-src": ["worker-src", "child-src", "script-src", "default-src"],
  "connect-src": ["connect-src", "default-src"],
};

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443" };

/** One policy: sources by directive. */
export type Policy = ReadonlyMap<string, readonly string[]>;

/** Parses the value of one or several `Content-Security-Policy` headers. */
export function parsePolicies(value: string | undefined): Policy[] {
  return (value ?? "")
    .split(",")
    .map((policy) => {
      const directives = new Map<string, readonly string[]>();
      for (const part of policy.split(";")) {
        const [name = "", ...sources] = part.trim().split(/\s+/);
        if (name !== "" && !directives.has(name.toLowerCase())) directives.set(name.toLowerCase(), sources);
      }
      return directives;
    })
    .filter((x) => x.size > 0);
}

/** Writes a policy. */
export function written(policy: Policy): string {
  return [...policy].map(([name, sources]) => [name, ...sources].join(" ")).join("; ");
}

/** Adds sources to a directive of a policy. */
export function withSources(policy: Policy, directive: string, sources: readonly string[]): Policy {
  const kept = (policy.get(directive) ?? []).filter((x) => x.toLowerCase() !== "'none'");
  return new Map([...policy, [directive, [...new Set([...kept, ...sources])]]]);
}

/** Returns the directive that governs another one's subject in a policy, and its sources; null where nothing does. */
export function governing(policy: Policy, directive: string): { name: string; sources: readonly string[] } | null {
  const name = FALLBACKS[directive]?.find((x) => policy.has(x));
  return name === undefined ? null : { name, sources: policy.get(name) ?? [] };
}

/** Whether a policy admits an address. `page` is the address that `'self'` stands for. */
export function admits(policy: Policy, directive: string, url: string, page: string): boolean {
  const rule = governing(policy, directive);
  if (rule === null) return true;
  // A nonce or 'strict-dynamic' vouches for scripts that no list of addresses shows.
  if (directive === "worker-src" && isDynamic(rule.sources)) return true;
  return rule.sources.some((source) => matches(source, new URL(url), new URL(page)));
}

/** Whether a policy lets WebAssembly compile. */
export function admitsWasm(policy: Policy): boolean {
  const rule = governing(policy, "script-src");
  return rule === null || rule.sources.some((x) => /^'(?:wasm-unsafe-eval|unsafe-eval)'$/i.test(x));
}

/** Whether a policy admits an inline script: by its nonce, by one of its hashes, or all of them. */
export function admitsInline(policy: Policy, nonce: string | null, hashes: readonly string[]): boolean {
  const rule = governing(policy, "script-src-elem");
  if (rule === null) return true;
  if (hasNonce(rule.sources, nonce) || hashes.some((x) => hasHash(rule.sources, x))) return true;
  // A nonce, a hash or 'strict-dynamic' in the list turns 'unsafe-inline' off.
  const isStrict = rule.sources.some((x) => /^'(?:nonce-|sha(?:256|384|512)-|strict-dynamic')/i.test(x));
  return !isStrict && rule.sources.some((x) => /^'unsafe-inline'$/i.test(x));
}

/** An external script as its tag has it. */
export interface ExternalScript {
  readonly url: string;
  readonly nonce: string | null;
  /** Hashes of its `integrity`. */
  readonly hashes: readonly string[];
}

/** Whether a policy admits an external script of a page's markup: by its nonce, its hashes, or its address. */
export function admitsScript(policy: Policy, { url, nonce, hashes }: ExternalScript, page: string): boolean {
  const rule = governing(policy, "script-src-elem");
  if (rule === null) return true;
  if (hasNonce(rule.sources, nonce)) return true;
  if (hashes.length > 0 && hashes.every((x) => hasHash(rule.sources, x))) return true;
  // 'strict-dynamic' turns lists of addresses off.
  if (isDynamic(rule.sources)) return false;
  return rule.sources.some((source) => matches(source, new URL(url), new URL(page)));
}

/** Whether sources have 'strict-dynamic'. */
export function isDynamic(sources: readonly string[]): boolean {
  return sources.some((x) => /^'strict-dynamic'$/i.test(x));
}

/** Whether sources have a nonce, of which the word before it may be in capitals and the value may not. */
function hasNonce(sources: readonly string[], nonce: string | null): boolean {
  return sources.some((x) => /^'nonce-(.+)'$/i.exec(x)?.[1] === nonce);
}

/** Whether sources have a hash, in either alphabet of base64, padded or not. */
function hasHash(sources: readonly string[], hash: string): boolean {
  const plain = (text: string): string => {
    const [, name = "", value = text] = /^'?(sha\d+)-([^=']+)=*'?$/i.exec(text) ?? [];
    return `${name.toLowerCase()}-${value.replaceAll("-", "+").replaceAll("_", "/")}`;
  };
  return sources.some((x) => plain(x) === plain(hash));
}

function matches(source: string, url: URL, page: URL): boolean {
  const word = source.toLowerCase();
  if (word === "'self'") return url.origin === page.origin;
  if (word.startsWith("'")) return false;
  if (word === "*") return /^(?:https?|wss?):$/.test(url.protocol) || url.protocol === page.protocol;
  if (/^[a-z][a-z\d+.-]*:$/.test(word)) return url.protocol === word || (word === "http:" && url.protocol === "https:");
  const [, scheme, host = "", port, path] =
    /^(?:([a-z][a-z\d+.-]*):\/\/)?([^:/]+)(?::(\d+|\*))?(\/.*)?$/.exec(word) ?? [];
  const isScheme =
    scheme === undefined
      ? url.protocol === page.protocol || url.protocol === "https:"
      : url.protocol === `${scheme}:` || (scheme === "http" && url.protocol === "https:");
  const isHost = host.startsWith("*.") ? url.hostname.endsWith(host.slice(1)) : host === "*" || url.hostname === host;
  const own = url.port === "" ? (DEFAULT_PORTS[url.protocol] ?? "") : url.port;
  const isPort =
    port === "*" || (port === undefined ? url.port === "" : port === own || (port === "80" && own === "443"));
  // A path that ends with a slash is a folder; paths keep their case.
  const given = decoded((path === undefined ? "" : source.slice(source.length - path.length)).replace(/\?.*$/, ""));
  const pathname = decoded(url.pathname);
  const isPath = given === "" || (given.endsWith("/") ? pathname.startsWith(given) : pathname === given);
  return isScheme && isHost && isPort && isPath;
}
