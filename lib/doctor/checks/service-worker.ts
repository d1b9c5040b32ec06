// A service worker of the app: it may answer with files of an older release, and its precache may hold 32 MB of binaries.
import { createHash } from "node:crypto";
import type { DoctorCheck, Evidence, Diagnosis, SiteFile } from "../evidence.ts";
import { textOf } from "../http.ts";
import { bare, pathOf, roleByName } from "../urls.ts";
import { filesOf, isServed } from "./facts.ts";

/** Finds stale answers and precaches that are too large. */
export const serviceWorker: DoctorCheck = (evidence) => [...stale(evidence), ...precache(evidence)];

function stale(evidence: Evidence): Diagnosis[] {
  const { browser } = evidence;
  const answered = new Map((browser?.seen ?? []).filter((x) => x.sha256 !== undefined).map((x) => [bare(x.url), x]));
  const old = evidence.files.filter(({ url, answer }) => {
    const seen = answered.get(bare(url));
    if (seen === undefined || !answer.isWhole || answer.status !== 200 || "content-encoding" in answer.headers)
      return false;
    return createHash("sha256").update(answer.body).digest("hex") !== seen.sha256;
  });
  const failed = (browser?.seen ?? []).filter(
    (x) => x.isFromServiceWorker && x.status >= 400 && roleByName(x.url) !== null,
  );
  const urls = [...new Set([...old, ...failed, ...otherBuilds(evidence)].map((x) => x.url))];
  const script = browser?.serviceWorker ?? null;
  if (script === null || urls[0] === undefined) return [];
  return [
    {
      id: "service-worker-stale",
      severity: "error",
      message: `The service worker ${pathOf(script)} answers ${pathOf(urls[0])} with another file than the server.`,
      evidence: urls.slice(0, 3).map((url) => `${url}: from the service worker, not the server's bytes`),
      changes: [{ kind: "refresh-service-worker", url: pathOf(script) }],
    },
  ];
}

/**
 * Returns worker scripts of which the page got another build, while the server's own is the page's. Browsers do not
 * keep the bytes of a worker that has ended, and the engine ends such a one at once.
 */
function otherBuilds({ browser, files }: Evidence): SiteFile[] {
  return (browser?.errors ?? []).flatMap(({ reason, message }) => {
    const [, url, build] = /^(\S+) is of another build than the page \(page ([^\s,]+)/.exec(message) ?? [];
    if (reason !== "version" || url === undefined || build === undefined) return [];
    return files.filter((x) => bare(x.url) === bare(url) && isServed(x) && textOf(x.answer).includes(build));
  });
}

/** Workbox refuses files above its limit at build time, and the others are fetched by every visitor at once. */
function precache(evidence: Evidence): Diagnosis[] {
  const { project } = evidence;
  const listed = filesOf(evidence, "service-worker").filter((x) =>
    /ort-(?:jspi|wasm)[^"']*\.wasm/.test(new TextDecoder().decode(x.answer.body)),
  );
  const config = Object.entries(project?.configs ?? {}).find(([name]) =>
    /^(?:vite|astro|nuxt|svelte)\.config\./.test(name),
  );
  const isPwa =
    project !== null && ["vite-plugin-pwa", "@vite-pwa/nuxt", "@vite-pwa/astro"].some((x) => x in project.packages);
  const isIgnored = /globIgnores|maximumFileSizeToCacheInBytes/.test(config?.[1] ?? "");
  const isBroken = isPwa && config !== undefined && !isIgnored;
  if (listed[0] === undefined && !isBroken) return [];
  return [
    {
      id: "pwa-precache",
      severity: "warning",
      message:
        "The service worker precaches ONNX Runtime's binaries: Workbox fails above 2 MiB a file, or each visitor fetches all builds.",
      evidence:
        listed[0] === undefined
          ? [`${config?.[0] ?? ""}: the PWA plugin without workbox.globIgnores`]
          : [`${listed[0].url}: lists ort-*.wasm`],
      changes: [{ kind: "keep-out-of-precache" }],
    },
  ];
}
