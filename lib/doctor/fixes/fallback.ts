// Rules that answer what is missing with the page, narrowed to paths of pages.
import { isHashed } from "../urls.ts";
import { inTag } from "./places.ts";
import type { HostStack, Line } from "./places.ts";

/** Endings of files that a page asks for. */
const ENDINGS = ["js", "mjs", "wasm", "json", "onnx", "bin"] as const;

/** Writes endings, and chunks without one, as a regular expression. */
function endsIn(endings: readonly string[], hasBare: boolean): string {
  const parts = [...(endings.length > 0 ? [`\\.(${endings.join("|")})`] : []), ...(hasBare ? ["/chunks/[^./]+"] : [])];
  return parts.length === 1 ? `${parts.join("")}$` : `(${parts.join("|")})$`;
}

/** Writes a path of Netlify: that of a folder for one with a hash in its name, which the next build changes. */
function netlifyPath(path: string): string {
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  return path.endsWith("/") || (isHashed(path) && folder !== "/") ? `${folder}*` : path;
}

/** Returns the rule that answers the page for paths of pages alone. `paths`: files that were answered with it. */
export function fallbackFix(paths: readonly string[], { host, bundler }: HostStack): Line {
  const shown = paths.join(", ");
  const seen = new Set(paths.flatMap((x) => /\.(\w+)$/.exec(x)?.[1] ?? []));
  const endings = [...new Set([...ENDINGS, ...seen])];
  // Chunks of old bundles have no ending.
  const hasBare = paths.some((x) => /\/chunks\/[^./]+$/.test(x));
  const pattern = endsIn(endings, hasBare);
  switch (host) {
    case "nginx":
      // Elsewhere it would have neither the root nor the headers of that location. There it comes before locations of
      // the server block, which may be for files of other endings.
      return {
        where: "nginx.conf, inside the location whose try_files names the page; in the server block where none does",
        line: `location ~ ${seen.size > 0 || hasBare ? endsIn([...seen], hasBare) : pattern} { try_files $uri =404; }`,
      };
    case "apache":
      return {
        where: ".htaccess, the one that applies (AllowOverride FileInfo; for FallbackResource Indexes, too)",
        line: [
          "# directly before the RewriteRule to index.html, if there is one",
          `RewriteCond %{REQUEST_URI} !${pattern}`,
          "# if there is a FallbackResource",
          inTag("If", `%{REQUEST_URI} =~ m#${pattern}#`, "FallbackResource disabled"),
        ].join("\n"),
      };
    case "caddy":
      return {
        where: "Caddyfile, in place of try_files",
        line: `@page {\n  not path ${endings.map((x) => `*.${x}`).join(" ")}${hasBare ? " */chunks/*" : ""}\n  file {path} /index.html\n}\nrewrite @page {http.matchers.file.relative}`,
      };
    case "serve":
      return { where: "the command", line: "npx serve dist  (without -s, which answers paths with index.html)" };
    case "vercel":
      return {
        where: 'vercel.json, in "rewrites": [ ], in place of the entry whose destination is the page',
        line: '{ "source": "/((?!.*\\\\.[^/]*$).*)", "destination": "/index.html" }',
      };
    case "cloudflare-pages":
      return {
        where: "the deployed folder",
        line: `deploy ${shown}, and a 404.html beside index.html  (without one, Pages answers index.html for what is missing; with one, each route of the app needs its line in public/_redirects, as /route / 200)`,
      };
    case "netlify":
      // Netlify knows no pattern of endings. A rule with 404 and without ! lets files come first, too.
      return {
        where: "public/_redirects, in this order and without !, so that files come first",
        line: [...new Set(paths.map((x) => `${netlifyPath(x)} /404.html 404`)), "/* /index.html 200"].join("\n"),
      };
    case "express":
      return {
        where: "the server, after express.static and before the route of the page",
        line: `app.get(/\\.\\w+$${hasBare ? "|\\/chunks\\/[^/]+$" : ""}/, (_request, response) => response.sendStatus(404));`,
      };
    case "firebase":
      return {
        where: 'firebase.json, in "hosting": { "rewrites": [ ] }, in place of the entry whose destination is the page',
        line: '{ "regex": "^/(.*/)?[^/.]*$", "destination": "/index.html" }',
      };
    case "iis":
      return {
        where: "web.config, the conditions (logicalGrouping MatchAll) of the rule that rewrites to the page",
        line: `<add input="{URL}" pattern="${pattern}" negate="true" />`,
      };
    case "github-pages":
      return {
        where: "the deployed branch or artifact",
        line: `deploy ${shown}, and an empty .nojekyll beside index.html  (GitHub Pages rewrites no path; Jekyll leaves out names that begin with _)`,
      };
    case "http-server":
      return {
        where: "the command",
        line: 'npx http-server dist  (without --proxy "http://…?", which answers missing paths with the page)',
      };
    case "webpack-dev-server":
      return {
        where: `${bundler === "rspack" ? bundler : "webpack"}.config, in devServer: { }`,
        line: "historyApiFallback: true,  (without disableDotRule and rewrites, which answer files with the page)",
      };
    case "next":
      return { where: "middleware or proxy, matcher", line: '"/((?!api|_next|models|.*\\\\..*).*)"' };
    default:
      return {
        where: "the rewrite rule of the host",
        line: `answer ${shown} with the file, and 404 where there is none`,
      };
  }
}
