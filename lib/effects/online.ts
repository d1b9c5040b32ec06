// Whether there is a network, as the browser says. Apart from effects.ts: only engines with servers ask.

/** Returns false where the browser knows that it has no network. */
export function isOnline(): boolean {
  return (globalThis as { readonly navigator?: { readonly onLine?: boolean } }).navigator?.onLine !== false;
}
