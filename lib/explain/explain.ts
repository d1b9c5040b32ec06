// Facts of an error: cause, fix with the line for each bundler and host, and the message as a failing page
// showed it. `selvedge explain` prints it, and docs/errors/ has it as pages (pages.ts).
import { ERROR_REASONS } from "../core/error-reasons.ts";
import { ERROR_CODES, SelvedgeError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { Bundler, Change, Host, Stack } from "../doctor/evidence.ts";
import { fixOf } from "../doctor/fixes.ts";
import { CHANGES, PAGE } from "../doctor/changes.ts";
import { CODES } from "./codes.ts";
import messages from "./messages.json" with { type: "json" };

/** A line to write, and for whom. */
export interface FixLine {
  /** Bundlers or hosts that need this line; empty: all that no other line names. */
  readonly stacks: readonly string[];
  /** File, command or place. */
  readonly where: string;
  readonly line: string;
}

/** One cause of a code. */
export interface ExplainedReason {
  /** The word in `details.reason`. */
  readonly reason: string;
  readonly cause: string;
  readonly fix: string;
  readonly retryable: boolean;
  /** Messages that the tests have seen, with example addresses. */
  readonly messages: readonly string[];
  readonly lines: readonly FixLine[];
}

/** A code with its causes. */
export interface ExplainedError {
  readonly code: ErrorCode;
  readonly cause: string;
  readonly fix: string;
  /** True or false for all its errors, or "by reason". */
  readonly retryable: boolean | "by reason";
  readonly messages: readonly string[];
  readonly reasons: readonly ExplainedReason[];
}

const BUNDLERS: Readonly<Record<Bundler, string>> = {
  vite: "Vite",
  webpack: "webpack",
  rspack: "Rspack",
  next: "Next.js",
  nuxt: "Nuxt",
  sveltekit: "SvelteKit",
  angular: "Angular",
  parcel: "Parcel",
  rollup: "Rollup",
  esbuild: "esbuild",
  astro: "Astro",
  importmap: "import map",
};
const HOSTS: Readonly<Record<Host, string>> = {
  nginx: "nginx",
  apache: "Apache",
  caddy: "Caddy",
  netlify: "Netlify",
  vercel: "Vercel",
  "cloudflare-pages": "Cloudflare Pages",
  cloudflare: "Cloudflare's proxy",
  "github-pages": "GitHub Pages",
  firebase: "Firebase",
  serve: "serve",
  "http-server": "http-server",
  express: "Express",
  iis: "IIS",
  vite: "Vite's server",
  "webpack-dev-server": "webpack-dev-server",
  "ng-serve": "ng serve",
  "nuxt-dev": "Nuxt's dev server",
  "astro-dev": "Astro's dev server",
  next: "Next's server",
  python: "python -m http.server",
};

/** Describes a code. */
export function explain(code: ErrorCode): ExplainedError {
  const reasons = ERROR_REASONS.filter((x) => x.code === code).map(({ reason, cause, fix, retryable }) => ({
    ...{ reason, cause, fix, retryable },
    messages: messagesOf(`${code} ${reason}`),
    lines: (CHANGES[`${code} ${reason}`] ?? []).flatMap(linesOf),
  }));
  const usual = new SelvedgeError(code, "").retryable;
  const isSame = reasons.every((x) => x.retryable === usual);
  return { code, ...CODES[code], retryable: isSame ? usual : "by reason", messages: messagesOf(code), reasons };
}

/** Lists the codes of which a word is one, or that have a cause of that name. */
export function codesOf(word: string): ErrorCode[] {
  return ERROR_CODES.filter((x) => x === word || ERROR_REASONS.some((y) => y.code === x && y.reason === word));
}

/** Lists all words that `codesOf` knows. */
export function words(): string[] {
  return [...new Set([...ERROR_CODES, ...ERROR_REASONS.map((x) => x.reason)])];
}

function messagesOf(key: string): readonly string[] {
  return (messages as Readonly<Record<string, readonly string[]>>)[key] ?? [];
}

/** Returns the lines of a change: the general one, and those of bundlers and hosts that need another. */
function linesOf(change: Change): FixLine[] {
  const fix = (stack: Partial<Stack>): Omit<FixLine, "stacks"> => {
    const { where, line } = fixOf(change, { url: PAGE, stack: { bundler: null, host: null, isDev: false, ...stack } });
    return { where, line };
  };
  const keyOf = (x: Omit<FixLine, "stacks">): string => JSON.stringify([x.where, x.line]);
  const usual = fix({});
  const others = new Map<string, Omit<FixLine, "stacks"> & { stacks: string[] }>();
  for (const [id, name] of [...entriesOf(BUNDLERS, "bundler"), ...entriesOf(HOSTS, "host")]) {
    const each = fix(id);
    const key = keyOf(each);
    if (key === keyOf(usual)) continue;
    const known = others.get(key);
    if (known === undefined) others.set(key, { ...each, stacks: [name] });
    else known.stacks.push(name);
  }
  // A line that is for Vite's pre-bundling alone has no general form.
  return change.kind === "exclude-prebundle"
    ? [{ ...usual, stacks: ["Vite"] }, ...others.values()]
    : [{ ...usual, stacks: [] }, ...others.values()];
}

function entriesOf(names: Readonly<Record<string, string>>, axis: "bundler" | "host"): [Partial<Stack>, string][] {
  return Object.entries(names).map(([id, name]) => [{ [axis]: id }, name]);
}
