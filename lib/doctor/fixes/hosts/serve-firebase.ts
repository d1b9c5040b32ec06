// The command serve; commands that set no headers, whose place it takes; and Firebase, whose rules of headers are alike.
import { decoded } from "../../urls.ts";
import type { HostRules } from "../host-rules.ts";
import { globOf, isOfFile, ruleFix } from "../syntax.ts";

/** Where serve has its headers. Of two rules that set a header, the last holds: of Firebase's, too. */
const SERVE = 'serve.json (at the end of "headers": [ ])';

/** serve sends the headers of a missing file's path with its own error, and none of them with a page of the site's. */
const ERROR_PAGE = ", and a 404.html there";

/** Writes entries for serve.json and firebase.json. */
export const serveAndFirebase: Record<"serve" | "http-server" | "python" | "firebase", HostRules> = {
  serve: {
    place: `${SERVE} in the served folder`,
    ...globRules(decoded, ERROR_PAGE),
    fallback: () => ({
      where: "the command",
      line: "npx serve dist  (without -s, which answers paths with index.html)",
    }),
  },
  "http-server": {
    place: `http-server sets no headers: npx serve, with ${SERVE} in the served folder`,
    hasNoHeaders: true,
    ...globRules(decoded, ERROR_PAGE),
    fallback: () => ({
      where: "the command",
      line: 'npx http-server dist  (without --proxy "http://…?", which answers missing paths with the page)',
    }),
  },
  python: {
    place: `python -m http.server sets no headers: npx serve, with ${SERVE} in the served folder`,
    hasNoHeaders: true,
    ...globRules(decoded, ERROR_PAGE),
    ranges: () => ({ where: "the command", line: "npx serve  (python -m http.server sends whole files alone)" }),
  },
  firebase: {
    place: 'firebase.json, in "hosting": at the end of "headers": [ ]',
    ...globRules((path) => path, ""),
    fallback: () => ({
      where: 'firebase.json, in "hosting": { "rewrites": [ ] }, in place of the entry whose destination is the page',
      line: '{ "regex": "^/(.*/)?[^/.]*$", "destination": "/index.html" }',
    }),
  },
};

/**
 * Returns rules by globs. Firebase matches the path as it is in the address, and serve as it is on the disk. `beside`:
 * what the place of a file's own header names, too.
 */
function globRules(matched: (path: string) => string, beside: string): Pick<HostRules, "header" | "type"> {
  return {
    header({ path, name, value }, site) {
      const at = globOf(matched(path.replace(/\*$/, "")));
      const source = path === "/*" ? "**" : path.endsWith("/*") ? `${at}**` : at;
      const where = isOfFile(name, value) ? site.where + beside : site.where;
      return ruleFix({ ...site, where }, JSON.stringify(source), name, JSON.stringify(value));
    },
    type: ({ extension, type }, site) => ruleFix(site, `"**/*${extension}"`, "Content-Type", `"${type}"`),
  };
}
