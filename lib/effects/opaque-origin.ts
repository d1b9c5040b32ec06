// Opaque origins: those of sandboxed pages (an iframe with `sandbox` and without `allow-same-origin`, or the
// Content-Security-Policy's `sandbox`), and of their workers. All that is done otherwise there asks here.

/**
 * Whether this page or worker has an opaque origin: it has no storage, and in Firefox a question about storage ends a
 * worker of such a page.
 */
export function isOpaque(): boolean {
  return globalThis.origin === "null";
}

/**
 * Type of the workers. Their script is a classic one; as a module it gets the current CSP and credentials rules. Chromium
 * starts no module from a Blob of an opaque origin.
 */
export function workerType(): WorkerType {
  return isOpaque() ? "classic" : "module";
}
