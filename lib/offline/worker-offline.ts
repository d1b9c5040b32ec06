// The ready-made service worker, dist/worker-offline.js: copy it to the root of the site, since the scope of a service
// worker is its own folder and those below. It takes over at once: it has no state that a page could depend on.
import { keepOffline } from "./keep-offline.ts";
import type { OfflineScope } from "./keep-offline.ts";

/** The part of a service worker's scope that lib.dom does not declare. */
interface ServiceWorkerScope extends OfflineScope {
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
}

const scope = globalThis as unknown as ServiceWorkerScope;

/** Extends a life-cycle event of the service worker until its work is done. */
function at(type: "install" | "activate", work: () => Promise<void>): void {
  scope.addEventListener(type, (event) => {
    (event as unknown as { waitUntil(work: Promise<void>): void }).waitUntil(work());
  });
}

keepOffline(scope);
at("install", () => scope.skipWaiting());
at("activate", () => scope.clients.claim());
