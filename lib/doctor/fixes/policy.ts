// The Content-Security-Policy that replaces a host's, or a page's.
import { parsePolicies, withSources, written } from "../csp.ts";
import type { Policy } from "../csp.ts";
import type { Change, Host, Stack } from "../evidence.ts";
import type { HeaderChange, Line } from "./host-rules.ts";
import { headerFix, rulesOf, siteOf } from "./hosts.ts";
import { markup } from "./syntax.ts";

const POLICY = "Content-Security-Policy";

type PolicyChange = Change & { readonly kind: "csp" };

/** The policy that a host's header is to have, and for which of its responses. */
interface HostPolicy {
  readonly header: HeaderChange;
  readonly policies: readonly Policy[];
  readonly isPage: boolean;
}

/** Returns the whole policy, with what all changes of its rule add; null where no policy was seen. */
function wholeOf(change: PolicyChange, host: Host | null, url: string, all: readonly Change[]): HostPolicy | null {
  if (change.seen === undefined) return null;
  const added = changesOfRule(change, all);
  const page = new URL(url).pathname;
  const isPage = added.some((x) => x.path === page);
  const { policies: texts } = added[0]?.seen ?? change.seen;
  const policies = texts.map((text, i) =>
    added
      .filter((x) => x.seen?.index === i)
      .reduce<Policy>((policy, x) => withSources(policy, x.directive, x.sources), parsePolicies(text)[0] ?? new Map()),
  );
  const path = isPage || rulesOf(host).hasSections ? "/*" : change.path;
  return { header: { kind: "header", path, name: POLICY, value: policies.map(written).join(", ") }, policies, isPage };
}

/** Returns the changes of a report with each policy that a header has as that header: one block may have both. */
export function withPolicies(all: readonly Change[], host: Host | null, url: string): readonly Change[] {
  return all.map((x) => (x.kind === "csp" && x.seen?.isMeta === false ? (wholeOf(x, host, url, all)?.header ?? x) : x));
}

/** Writes the whole policy, since a host's line or tag has all of it. */
export function policyFix(change: PolicyChange, stack: Stack, url: string, all: readonly Change[]): Line {
  const { path, directive, sources, seen } = change;
  const { host } = stack;
  const { hasNoHeaders } = rulesOf(host);
  const whole = wholeOf(change, host, url, all);
  const on = (whole?.isPage ?? path === new URL(url).pathname) ? "" : ` (on ${path})`;
  if (seen === undefined || whole === null) {
    const place =
      host === null ? "" : `, ${hasNoHeaders ? "the page's markup" : withoutOrder(siteOf(stack, all).where)}`;
    return { where: `the ${POLICY}${place}${on}`, line: `${directive} ${sources.join(" ")}  (added to what it has)` };
  }
  const { header, policies } = whole;
  const { value } = header;
  // SvelteKit's own policy replaces one that a server has set before.
  const ofKit = stack.bundler === "sveltekit" ? ", or in svelte.config where kit.csp writes that" : "";
  const replaced = `in place of the policy that is there${ofKit}${/'nonce-/i.test(value) ? ", with the nonce of each response" : ""}${on}`;
  if (seen.isMeta || hasNoHeaders)
    return {
      where: `the page's markup, ${replaced}`,
      line: `<meta http-equiv="${POLICY}" content="${markup(value)}">`,
    };
  const { where, line } = headerFix(header, stack, withPolicies(all, host, url));
  return {
    where: `${host === null ? "the server" : withoutOrder(where)}, ${replaced}`,
    line: host === "express" && policies[0] !== undefined && policies.length === 1 ? line + helmet(policies[0]) : line,
  };
}

/**
 * Returns the changes of the rule that a change is of, in the order of the report. Responses with the same policies have
 * them by one rule of the host, as a rule: it gets what each of them needs.
 */
function changesOfRule(change: PolicyChange, all: readonly Change[]): readonly PolicyChange[] {
  if (change.seen === undefined) return [change];
  const known = all.includes(change) ? all : [change, ...all];
  const rule = ruleOf(change);
  const changes = known.filter((x): x is PolicyChange => x.kind === "csp" && ruleOf(x) === rule);
  // Each response has a nonce of its own: the first one's stands for all.
  const nonce = /'nonce-[^']*'/i.exec(changes[0]?.seen?.policies.join(" ") ?? "")?.[0];
  return changes.map((x) => ({ ...x, sources: x.sources.map((y) => (/^'nonce-/i.test(y) ? (nonce ?? y) : y)) }));
}

function ruleOf({ seen }: PolicyChange): string | undefined {
  if (seen === undefined) return undefined;
  return JSON.stringify([seen.policies.map((x) => x.replaceAll(/'nonce-[^']*'/gi, "'nonce'")), seen.isMeta]);
}

/** Takes out of a place what it says of the order: a policy that is there is replaced where it stands. */
function withoutOrder(where: string): string {
  return where.replace(
    / \(at the end[^)]*\)|(?:, in the block|, in place of|[,:] at (?:its|the) end|, before the site's).*$/,
    "",
  );
}

/** Writes a policy as helmet's option. Without default-src helmet throws, unless an option allows that. */
function helmet(policy: Policy): string {
  const directives = JSON.stringify(Object.fromEntries(policy));
  const none = policy.has("default-src")
    ? ""
    : `${policy.size > 0 ? "," : ""}"default-src":helmet.contentSecurityPolicy.dangerouslyDisableDefaultSrc`;
  return `  (with helmet: contentSecurityPolicy: { useDefaults: false, directives: ${directives.replace(/\}$/, `${none}}`)} })`;
}
