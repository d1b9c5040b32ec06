// The Content-Security-Policy that replaces a host's, or a page's.
import { parsePolicies, withSources, written } from "../csp.ts";
import type { Change, Host } from "../evidence.ts";
import { headerFix } from "./headers.ts";
import { markup, placeOf } from "./places.ts";
import type { HostStack, Line } from "./places.ts";

const POLICY = "Content-Security-Policy";

/** Hosts on which a policy stands in the markup, since no header can be set. */
const NO_HEADERS: ReadonlySet<Host> = new Set(["github-pages", "http-server", "python"]);

/** Writes the whole policy, since a host's line or tag has all of it. */
export function policyFix(
  change: Change & { kind: "csp" },
  stack: HostStack,
  url: string,
  all: readonly Change[],
): Line {
  const { path, directive, sources, seen } = change;
  const { host } = stack;
  const isPage = path === new URL(url).pathname;
  const on = isPage ? "" : ` (on ${path})`;
  if (seen === undefined) {
    const place = host === null ? "" : `, ${placeOf({ ...stack, host })}`;
    return { where: `the ${POLICY}${place}${on}`, line: `${directive} ${sources.join(" ")}  (added to what it has)` };
  }
  const header = JSON.stringify([path, seen.policies, seen.isMeta]);
  const added = [change, ...all].flatMap((x) =>
    x.kind === "csp" && x.seen !== undefined && JSON.stringify([x.path, x.seen.policies, x.seen.isMeta]) === header
      ? { ...x, index: x.seen.index }
      : [],
  );
  const policies = seen.policies.map((text, i) =>
    added
      .filter((x) => x.index === i)
      .reduce(
        (policy, x) => withSources(policy, x.directive, x.sources),
        parsePolicies(text)[0] ?? new Map<string, readonly string[]>(),
      ),
  );
  const value = policies.map(written).join(", ");
  const replaced = `in place of the policy that is there${/'nonce-/.test(value) ? ", with the nonce of each response" : ""}${on}`;
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
  const directives = Object.fromEntries(policies[0] ?? []);
  const helmet = `  (with helmet: contentSecurityPolicy: { useDefaults: false, directives: ${JSON.stringify(directives)} })`;
  return {
    where: `${host === null ? "the server" : where}, ${replaced}`,
    line: host === "express" && policies.length === 1 ? `${line}${helmet}` : line,
  };
}
