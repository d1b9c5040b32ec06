// Vercel and Next.js, which match paths by path-to-regexp. Of two rules that set a header, the last holds.
import type { HostRules } from "../host-rules.ts";
import { ruleFix } from "../syntax.ts";

/** Writes entries for vercel.json. */
export const vercel: HostRules = {
  place: 'vercel.json, at the end of "headers": [ ]',
  header: ({ path, name, value }, site) => ruleFix(site, `"${patternOf(path, "(.*)")}"`, name, JSON.stringify(value)),
  type: ({ extension, type }, site) => ruleFix(site, `"/(.*)\\\\${extension}"`, "Content-Type", `"${type}"`),
  fallback: () => ({
    where: 'vercel.json, in "rewrites": [ ], in place of the entry whose destination is the page',
    line: '{ "source": "/((?!.*\\\\.[^/]*$).*)", "destination": "/index.html" }',
  }),
};

/** Writes entries for next.config. */
export const next: HostRules = {
  place: "next.config, at the end of headers: async () => [ ]",
  header: ({ path, name, value }, { where }) => ({
    where,
    // The path has the app's basePath already.
    line: `{ source: "${patternOf(path, ":path*")}",${path === "/*" ? "" : " basePath: false,"} headers: [{ key: "${name}", value: ${JSON.stringify(value)} }] },`,
  }),
  fallback: () => ({ where: "middleware or proxy, matcher", line: '"/((?!api|_next|models|.*\\\\..*).*)"' }),
};

/** Writes a path as a pattern, between quotes; Vercel refuses to deploy an invalid one. `rest`: what a folder's ends with. */
function patternOf(path: string, rest: string): string {
  const [at, end] = path.endsWith("/*") ? [path.slice(0, -1), rest] : [path, ""];
  return at.replaceAll(/[\\():*+?{}]/g, String.raw`\\$&`) + end;
}
