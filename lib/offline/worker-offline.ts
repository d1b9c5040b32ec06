// The ready-made service worker, dist/worker-offline.js: copy it to the root of the site, since a service worker governs
// what lies beside and below it. It takes over at once: it has no state that a page could depend on.
import { keepOffline } from "./keep-offline.ts";
import type { OfflineScope } from "./keep-offline.ts";

/** What the types of a page don't tell of the scope of a service worker. */
interface ServiceWorkerScope extends OfflineScope {
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
}

const scope = globalThis as unknown as ServiceWorkerScope;

/** Has an event of the worker's life wait for what is done at it. */
function at(type: "install" | "activate", work: () => Promise<void>): void {
  scope.addEventListener(type, (event) => {
    (event as unknown as { waitUntil(work: Promise<void>): void }).waitUntil(work());
  });
}

keepOffline(scope);
at("install", () => scope.skipWaiting());
at("activate", () => scope.clients.claim());
