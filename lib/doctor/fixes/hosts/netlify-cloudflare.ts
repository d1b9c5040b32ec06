// Netlify and Cloudflare Pages, which read headers from a file _headers; and Cloudflare's proxy before another host.
import { isHashed } from "../../urls.ts";
import type { HeaderChange, HostRules, Line, Site } from "../host-rules.ts";
import { together } from "../syntax.ts";

/** Writes blocks for _headers and rules for _redirects. */
export const netlifyAndCloudflare: Record<"netlify" | "cloudflare-pages" | "cloudflare", HostRules> = {
  netlify: {
    place: "public/_headers, at its end",
    ...blockRules(
      (x) => `  ${x.name}: ${x.value}`,
      "Netlify compresses by itself, and ignores a Content-Encoding of _headers",
    ),
    // Netlify knows no pattern of endings. A rule with 404 and without ! lets files come first, too.
    fallback: ({ paths }) => ({
      where: "public/_redirects, in this order and without !, so that files come first",
      line: [...new Set(paths.map((x) => `${redirectedPath(x)} /404.html 404`)), "/* /index.html 200"].join("\n"),
    }),
  },
  "cloudflare-pages": {
    // Of two headers of a name in a block, it sends both values.
    place:
      "public/_headers, in the block that the path has, in place of these headers there, or else at its end: of two blocks of a path, Pages takes the last alone",
    // Pages joins a header to one of another rule that is there, unless the rule detaches it first.
    ...blockRules(
      (x) => `  ! ${x.name}\n  ${x.name}: ${x.value}`,
      "Pages compresses by itself, a second time what _headers gives a Content-Encoding",
    ),
    fallback: ({ paths }) => ({
      where: "the deployed folder",
      line: `deploy ${paths.join(", ")}, and a 404.html beside index.html  (without one, Pages answers index.html for what is missing; with one, each route of the app needs its line in public/_redirects, as /route / 200)`,
    }),
  },
  cloudflare: { place: "the origin server behind Cloudflare's proxy; on Cloudflare Pages, public/_headers" },
};

/** Returns rules by blocks of _headers. `linesOf`: a header's lines in a block; `reason`: why none has a coding. */
function blockRules(linesOf: (x: HeaderChange) => string, reason: string): Pick<HostRules, "header" | "type"> {
  const header = (change: HeaderChange, { where, all }: Site): Line =>
    change.name === "Content-Encoding"
      ? { where: "where the site is deployed", line: `deploy ${change.path} uncompressed  (${reason})` }
      : { where, line: [change.path, ...together(change, all).map(linesOf)].join("\n") };
  return {
    header,
    type: ({ extension, type }, site) =>
      header({ kind: "header", path: `/*${extension}`, name: "Content-Type", value: type }, { ...site, all: [] }),
  };
}

/** Writes a path of _redirects: that of a folder for one with a hash in its name, which the next build changes. */
function redirectedPath(path: string): string {
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  return path.endsWith("/") || (isHashed(path) && folder !== "/") ? `${folder}*` : path;
}
