// Adapts the pool to the page's lifecycle. A page that returns from the back/forward cache or from being frozen may
// find workers that died meanwhile, so each idle one is checked before it is used; a busy one has its watchdog, which
// counts only time in which the page ran. A page that is hidden for long keeps one idle wasm worker and no GPU device:
// a browser charges a GPU loss to every page that holds one. The pool grows again on demand.
import type { Effects } from "../effects/effects.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { CrashMarkers } from "./crash-markers.ts";
import type { Pool } from "../pool/pool.ts";

/** How long a page is hidden before its pool shrinks, in ms. */
export const HIDDEN_MS = 300_000;

/** Follows the page's lifecycle until the returned function is called. */
export function followLife(effects: Effects, pool: Pool, markers: CrashMarkers): () => void {
  let cancel = (): void => undefined;
  const stop = effects.onLife((change) => {
    if (change === "leaving" || change === "stayed") return;
    cancel();
    if (change === "left") markers.clear();
    else if (change === "back") pool.check();
    else if (change === "hidden")
      cancel = effects.setTimer(() => {
        pool.shrink(new SelvedgeError("closed", "The page is hidden."));
      }, HIDDEN_MS);
  });
  return () => {
    cancel();
    stop();
  };
}
