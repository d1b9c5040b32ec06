// Binaries that a service worker leaves out of its precache.
import type { Bundler } from "../evidence.ts";
import type { Line } from "./host-rules.ts";

/** Plugins of Vite that make a service worker by Workbox. */
const PWA: Readonly<Partial<Record<Bundler, string>>> = {
  vite: "vite.config, VitePWA",
  sveltekit: "vite.config, SvelteKitPWA",
  astro: "astro.config, AstroPWA",
  nuxt: "nuxt.config, pwa",
};

/** Patterns that keep binaries out, with those of Workbox's own list for webpack, which this one replaces. */
const EXCLUDE = "exclude: [/\\.wasm$/, /\\.map$/, /^manifest.*\\.js$/]";

/** Returns the line of the plugin that makes the service worker. */
export function precacheFix(bundler: Bundler | null): Line {
  const where = bundler === null ? undefined : PWA[bundler];
  if (where !== undefined)
    return {
      where: `${where}, in workbox: { }`,
      line: 'globIgnores: ["**/*.wasm"], runtimeCaching: [{ urlPattern: /\\.wasm$/, handler: "NetworkFirst" }],  (with strategies: "injectManifest", injectManifest: { globIgnores: ["**/*.wasm"] }; to precache them all the same, maximumFileSizeToCacheInBytes: 16 * 2 ** 20)',
    };
  switch (bundler) {
    case "webpack":
    case "rspack":
      return { where: `${bundler}.config, GenerateSW or InjectManifest of workbox-webpack-plugin`, line: EXCLUDE };
    case "next":
      return {
        where: "next.config, withSerwistInit, or workboxOptions of @ducanh2912/next-pwa",
        line: `${EXCLUDE}  (next-pwa: buildExcludes: [/\\.wasm$/]; files of public/: Serwist's globPublicPatterns: ["**/!(*.wasm)"], next-pwa's publicExcludes: ["!**/*.wasm"]; in serwist.config, without webpack: globIgnores: ["**/*.wasm"])`,
      };
    case "angular":
      return { where: "ngsw-config.json, at the end of each assetGroups[].resources.files", line: '"!/**/*.wasm"' };
    default:
      return {
        where: "workbox-config.js, or the list of files in the service worker",
        line: 'globIgnores: ["**/node_modules/**/*", "**/*.wasm"]  (of a list by hand: without *.wasm)',
      };
  }
}
