// The Content-Security-Policy that replaces a host's, or a page's.
import { parsePolicies, withSources, written } from "../csp.ts";
import type { Change, Host } from "../evidence.ts";
import { headerFix } from "./headers.ts";
import { markup, placeOf } from "./places.ts";
import type { HostStack, Line } from "./places.ts";

const POLICY = "Content-Security-Policy";

/** Hosts on which a policy stands in the markup, since no header can be set. */
const NO_HEADERS: ReadonlySet<Host> = new Set(["github-pages", "http-server", "python"]);

type PolicyChange = Change & { readonly kind: "csp" };

/** Writes the whole policy, since a host's line or tag has all of it. */
export function policyFix(change: PolicyChange, stack: HostStack, url: string, all: readonly Change[]): Line {
  const { path, directive, sources, seen } = change;
  const { host } = stack;
  const page = new URL(url).pathname;
  const added = changesOfRule(change, all);
  const isPage = added.some((x) => x.path === page);
  const on = isPage ? "" : ` (on ${path})`;
  if (seen === undefined) {
    const place = host === null ? "" : `, ${placeOf({ ...stack, host })}`;
    return { where: `the ${POLICY}${place}${on}`, line: `${directive} ${sources.join(" ")}  (added to what it has)` };
  }
  const { policies: texts } = added[0]?.seen ?? seen;
  const policies = texts.map((text, i) =>
    added
      .filter((x) => x.seen?.index === i)
      .reduce(
        (policy, x) => withSources(policy, x.directive, x.sources),
        parsePolicies(text)[0] ?? new Map<string, readonly string[]>(),
      ),
  );
  const value = policies.map(written).join(", ");
  const replaced = `in place of the policy that is there${/'nonce-/i.test(value) ? ", with the nonce of each response" : ""}${on}`;
  if (seen.isMeta || (host !== null && NO_HEADERS.has(host)))
    return {
      where: `the page's markup, ${replaced}`,
      line: `<meta http-equiv="${POLICY}" content="${markup(value)}">`,
    };
  // Of these, the line that is replaced says for which paths it is.
  const isPlaced = host !== null && ["nginx", "apache", "iis"].includes(host);
  const { where, line } = headerFix(
    { kind: "header", path: isPage || isPlaced ? "/*" : path, name: POLICY, value },
    stack,
  );
  return {
    where: `${host === null ? "the server" : where}, ${replaced}`,
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

/** Writes a policy as helmet's option. Without default-src helmet throws, unless an option allows that. */
function helmet(policy: ReadonlyMap<string, readonly string[]>): string {
  const directives = JSON.stringify(Object.fromEntries(policy));
  const none = policy.has("default-src")
    ? ""
    : `${policy.size > 0 ? "," : ""}"default-src":helmet.contentSecurityPolicy.dangerouslyDisableDefaultSrc`;
  return `  (with helmet: contentSecurityPolicy: { useDefaults: false, directives: ${directives.replace(/\}$/, `${none}}`)} })`;
}
