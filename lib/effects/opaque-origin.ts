/**
 * Type of the workers. Their script is a classic one; as a module it gets the current CSP and credentials rules. Chromium
 * starts no module from a Blob of a sandboxed page.
 */
export function workerType(): WorkerType {
  return self.origin === "null" ? "classic" : "module";
}
