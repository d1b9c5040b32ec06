// Express, with its server of files and the package compression.
import type { Change } from "../../evidence.ts";
import type { HeaderChange, HostRules, Line } from "../host-rules.ts";
import { endingsOf, OF_FILES } from "../syntax.ts";

/** Writes code of the server. */
export const express: HostRules = {
  // helmet, which sets a Cross-Origin-Opener-Policy too, comes before it: the last one holds.
  place: "the server, directly before express.static",
  header(change, { where, all }) {
    const { path, name, value } = change;
    const set = `response.setHeader("${name}", ${JSON.stringify(value)});`;
    if (path === "/*") return { where, line: `app.use((_request, response, next) => { ${set} next(); });` };
    if (OF_FILES.has(name)) return staticFix([...all, change]);
    // Express 5 takes parentheses and other characters of a path for its own, and does not start.
    const test = path.endsWith("/*")
      ? `request.path.startsWith(${JSON.stringify(path.slice(0, -1))})`
      : `request.path === ${JSON.stringify(path)}`;
    return { where, line: `app.use((request, response, next) => { if (${test}) ${set} next(); });` };
  },
  type: (change, { all }) => staticFix([...all, change]),
  // Routes of the app, and of an API that comes before the page's, may have dots.
  fallback: ({ paths }) => ({
    where: "the server, after express.static and directly before the route of the page",
    line: `app.get(/${endingsOf(paths).pattern.replaceAll("/", String.raw`\/`)}/, (_request, response) => response.sendStatus(404));`,
  }),
  stored: (change, { all }) => compression([...all, change]),
  ranges: () => ({
    where: "the server",
    line: "app.use(express.static(folder));  (in place of a route that sends the file)",
  }),
  compress: (change, { all }) => compression([...all, change]),
};

/** Writes Express's server of files, of which the first that has a file answers: with all types and headers of files. */
function staticFix(all: readonly Change[]): Line {
  const headers = all.filter((x): x is HeaderChange => x.kind === "header" && OF_FILES.has(x.name));
  const url = "response.req.originalUrl";
  const set = (test: string, name: string, value: string): string =>
    `if (${test}) response.setHeader("${name}", ${JSON.stringify(value)});`;
  const lines = [
    ...all.flatMap((x) => (x.kind === "type" ? [set(`path.endsWith("${x.extension}")`, "Content-Type", x.type)] : [])),
    // The last one holds.
    ...headers
      .filter((x) => x.path.endsWith("/*"))
      .map((x) => set(`${url}.startsWith(${JSON.stringify(x.path.slice(0, -1))})`, x.name, x.value)),
    ...headers
      .filter((x) => /^\/.*[^*]$/.test(x.path))
      .map((x) => set(`${url}.split("?")[0] === ${JSON.stringify(x.path)}`, x.name, x.value)),
  ];
  return {
    where: "the server, in place of express.static(folder)",
    line: `app.use(express.static(folder, { setHeaders: (response, path) => { ${[...new Set(lines)].join(" ")} } }));`,
  };
}

/** Writes Express's compression, which a server has once, with all that a report changes of it. */
function compression(all: readonly Change[]): Line {
  // While a server of files that is mounted answers, request.path has no mount.
  const stored = all.flatMap((x) =>
    x.kind !== "as-stored"
      ? []
      : x.path.endsWith("*")
        ? [`!request.originalUrl.startsWith(${JSON.stringify(x.path.slice(0, -1))})`]
        : [`request.originalUrl.split("?")[0] !== ${JSON.stringify(x.path)}`],
  );
  const types = all.flatMap((x) =>
    x.kind === "compress" ? [`response.getHeader("Content-Type") === ${JSON.stringify(x.type)}`] : [],
  );
  const packed = [...new Set(types), "compression.filter(request, response)"].join(" || ");
  const terms = [...new Set(stored), stored.length > 0 && types.length > 0 ? `(${packed})` : packed];
  return {
    where: "the server, before express.static, in place of compression()",
    line: `app.use(compression({ filter: (request, response) => ${terms.join(" && ")} }));`,
  };
}
