// GitHub Pages, which sets no headers of a site's own.
import type { HostRules } from "../host-rules.ts";

/** Names what is deployed: GitHub Pages has no configuration. */
export const githubPages: HostRules = {
  place: "GitHub Pages sets no headers: use another host",
  hasNoHeaders: true,
  fallback: ({ paths }) => ({
    where: "the deployed branch or artifact",
    line: `deploy ${paths.join(", ")}, and an empty .nojekyll beside index.html  (GitHub Pages rewrites no path; Jekyll leaves out names that begin with _)`,
  }),
};
