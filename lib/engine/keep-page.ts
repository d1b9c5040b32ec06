// The page's side of keep-offline.ts: registers a service worker and sends it the list of the page's parts. A page that
// is open while its service worker starts was loaded without it, so the page has to list what was loaded.
import { SelvedgeError } from "../core/errors.ts";
import type { Assets } from "../assets.ts";
import type { ScriptUrl } from "../effects/effects.ts";
import { OFFLINE_CACHE } from "../offline/keep-offline.ts";
import type { KeepAnswer, KeepMessage, KeptPage, PagePart } from "../offline/keep-offline.ts";

/** How long a service worker may take to acknowledge the message. */
const HEARD_MS = 10_000;
/** Initiator types of requests that are not part of the page's shell. */
const NO_SHELL = /^(audio|beacon|embed|fetch|frame|iframe|image|img|input|object|ping|track|video|xmlhttprequest)$/;

/**
 * Makes a service worker keep this page and the files of its engine; null where the browser has no service workers
 * here. `builds` are the files of each build: those whose worker the page started are kept, or all where it started
 * none.
 * @throws TypeError where the service worker's scope does not cover this page
 */
export async function keepPage(script: string | ScriptUrl, builds: readonly Assets[]): Promise<KeptPage | null> {
  // Missing in insecure contexts, and in private windows of some browsers.
  const { serviceWorker } = navigator as Partial<Navigator>;
  if (serviceWorker === undefined) return null;
  const registration = await serviceWorker.register(script as string);
  if (!location.href.startsWith(registration.scope)) {
    const fix = "Serve the service worker from the root of the site.";
    throw new TypeError(`The service worker governs ${registration.scope}, and this page is outside. ${fix}`);
  }
  const worker = await activeOf(registration);
  return ask(worker, { selvedge: "keep", parts: partsOf(builds) });
}

/**
 * Removes every copy that a service worker kept of this site's pages; with an address, also unregisters the service
 * worker at that address. Returns whether there was anything to remove.
 */
export async function forgetPage(script: string | null): Promise<boolean> {
  const { serviceWorker } = navigator as Partial<Navigator>;
  let isRemoved = false;
  // The worker first: it would keep the next page again.
  for (const registration of (script === null ? undefined : await serviceWorker?.getRegistrations()) ?? []) {
    const { active, waiting, installing } = registration;
    if ([active, waiting, installing].some((worker) => worker?.scriptURL === script))
      isRemoved = (await registration.unregister()) || isRemoved;
  }
  return ("caches" in globalThis && (await caches.delete(OFFLINE_CACHE))) || isRemoved;
}

/** Lists the parts that this page has loaded so far. */
function partsOf(builds: readonly Assets[]): PagePart[] {
  const parts = new Map<string, boolean>();
  const add = (address: string, isShell: boolean): void => {
    const [url = ""] = new URL(address, location.href).href.split("#");
    if (new URL(url).origin === location.origin) parts.set(url, isShell || parts.get(url) === true);
  };
  // Documents are kept without their query.
  add(location.origin + location.pathname, true);
  for (const entry of performance.getEntriesByType("resource") as PerformanceResourceTiming[])
    add(entry.name, !NO_SHELL.test(entry.initiatorType));
  const begun = builds.filter(({ workerUrl }) => parts.has(workerUrl));
  for (const build of begun.length > 0 ? begun : builds)
    for (const asset of Object.values(build) as string[]) add(asset, true);
  return [...parts].map(([url, isShell]) => ({ url, isShell }));
}

async function activeOf(registration: ServiceWorkerRegistration): Promise<ServiceWorker> {
  const { active, waiting, installing } = registration;
  const worker = active ?? waiting ?? installing;
  if (worker === null) throw gone();
  await new Promise<void>((resolve, reject) => {
    const look = (): void => {
      if (worker.state === "activated" || worker.state === "activating") resolve();
      else if (worker.state === "redundant") reject(gone());
    };
    worker.addEventListener("statechange", look);
    look();
  });
  return worker;
}

function ask(worker: ServiceWorker, message: KeepMessage): Promise<KeptPage> {
  const { port1, port2 } = new MessageChannel();
  return new Promise<KeptPage>((resolve, reject) => {
    const silence = setTimeout(() => {
      const fix = "Call keepOffline(self) of selvedge/service-worker in it.";
      reject(new SelvedgeError("worker-crashed", `The service worker did not answer within 10 s. ${fix}`));
    }, HEARD_MS);
    port1.onmessage = ({ data }: MessageEvent<KeepAnswer>) => {
      clearTimeout(silence);
      if ("kept" in data) resolve(data);
      if ("error" in data)
        reject(new SelvedgeError("worker-crashed", `The service worker could not keep this page: ${data.error}`));
    };
    worker.addEventListener("statechange", () => {
      if (worker.state === "redundant") reject(gone());
    });
    worker.postMessage(message, [port2]);
  }).finally(() => {
    port1.close();
  });
}

function gone(): SelvedgeError {
  return new SelvedgeError("worker-crashed", "The service worker ended before it had kept this page. Reload to retry.");
}
