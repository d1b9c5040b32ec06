// Detects that a worker has ended, by `terminate`, a crash or the browser: the worker holds a Web Lock of a random name,
// and the page requests the same lock, which is granted when the worker ends. That takes 1 to 2 ms; Chromium ends a worker
// that computes without a pause 2 s after `terminate`. Without locks the watchdog of a pending call detects it.
//
// Firefox does not restore a page from the back/forward cache that still held or waited for a lock when its successor
// came; `pagehide` is too late, `beforeunload` is not. So the worker is asked to release its lock before the page is
// left, and another is acquired when it is shown again or was not left after all. In Firefox the lock is stolen too,
// since a worker that computes answers nothing.
import type { Effects } from "../effects/effects.ts";

/**
 * Calls `ended` when a worker has ended; `hold` has the worker hold a lock, none with null, and resolves to whether it
 * does. `settled` is called once the end will be detected, or with false once it is known that it will not. The returned function
 * stops watching.
 */
export function watchWorkerEnd(
  effects: Effects,
  hold: (name: string | null) => Promise<boolean>,
  ended: () => void,
  settled: (isWatched: boolean) => void,
): () => void {
  const { locks } = effects;
  if (!locks) {
    settled(false);
    return () => undefined;
  }
  let release: (() => void) | null = null;
  const begin = (): void => {
    const name = `selvedge worker ${effects.random()}`;
    let withdraw = (): void => undefined;
    const own = (release = (): void => {
      release = null;
      hold(null).catch(() => undefined); // it has ended
      withdraw();
      locks.steal(name);
    });
    void hold(name)
      .then(
        (isHeld) => {
          // Where the page was left meanwhile, the worker releases it again.
          if (isHeld && release === own) withdraw = locks.wait(name, ended);
          return isHeld;
        },
        () => false, // the worker ended before its first message
      )
      .then(settled);
  };
  const stopLife = effects.onLife((change) => {
    if (change === "leaving" || change === "left") release?.();
    else if ((change === "stayed" || change === "back") && release === null) begin();
  });
  begin();
  return () => {
    stopLife();
    release?.();
  };
}
