// Development servers with one map of headers, for all that they send: of Vite (its preview, too), webpack and Rspack,
// Angular, Nuxt and Astro.
import type { Change } from "../../evidence.ts";
import type { HeaderChange, HostRules, Line, Site } from "../host-rules.ts";
import { isOfFile } from "../syntax.ts";

/** Writes entries for the configuration of each server. */
export const devServers: Record<"vite" | "webpack-dev-server" | "ng-serve" | "nuxt-dev" | "astro-dev", HostRules> = {
  vite: {
    place: "vite.config, in server: { headers: { } } and preview: { headers: { } }",
    header: (change, site) =>
      site.bundler === "sveltekit" && isOfAll(change) ? pluginFix([...site.all, change]) : entryFix(change, site),
  },
  "webpack-dev-server": {
    place: (bundler) => `${bundler === "rspack" ? bundler : "webpack"}.config, in devServer: { headers: { } }`,
    header: entryFix,
    type: ({ extension, type }, { bundler }) => ({
      where: `${bundler === "rspack" ? bundler : "webpack"}.config, in devServer: { devMiddleware: { mimeTypes: { } } }`,
      line: `${extension.slice(1)}: "${type}",`,
    }),
    fallback: (_change, { bundler }) => ({
      where: `${bundler === "rspack" ? bundler : "webpack"}.config, in devServer: { }`,
      line: "historyApiFallback: true,  (without disableDotRule and rewrites, which answer files with the page)",
    }),
  },
  "ng-serve": {
    place: 'angular.json, architect.serve.options, in "headers": { }',
    // JSON has no comma at the end.
    header: (change, site) => entryFix(change, site, ""),
  },
  "nuxt-dev": {
    // Nitro answers with the page, and Vite with the files below /_nuxt/.
    place: 'nuxt.config, in routeRules: { "/**": { headers: { } } } and vite: { server: { headers: { } } }',
    header: entryFix,
  },
  "astro-dev": { place: "astro.config, in server: { headers: { } }", header: entryFix },
};

/** Returns the entry of the map: a file's own coding, type or year would be the page's, too. */
function entryFix(change: HeaderChange, { where }: Site, end = ","): Line {
  const { path, name, value } = change;
  return isOfAll(change)
    ? { where, line: `"${name}": ${JSON.stringify(value)}${end}` }
    : { where: `the server, on ${path} alone`, line: `${name}: ${value}` };
}

/** Whether a header harms no other file. */
function isOfAll({ path, name, value }: HeaderChange): boolean {
  return path === "/*" || !isOfFile(name, value);
}

/** Writes a plugin of Vite that sets headers: SvelteKit answers with pages, and with files of static/, without Vite's. */
function pluginFix(all: readonly Change[]): Line {
  const headers = all.filter((x): x is HeaderChange => x.kind === "header" && x.path.startsWith("/") && isOfAll(x));
  const lines = headers.map((x) => `    response.setHeader("${x.name}", ${JSON.stringify(x.value)});`);
  return {
    where:
      "vite.config, in plugins: [ ], before sveltekit(); for vite preview a second time, with configurePreviewServer; of adapter-node, the middleware alone, before its handler in a server of your own",
    line: [
      "{",
      '  name: "headers",',
      "  configureServer: ({ middlewares }) => void middlewares.use((_request, response, next) => {",
      ...new Set(lines),
      "    next();",
      "  }),",
      "},",
    ].join("\n"),
  };
}
