// How the page steals a worker's lock, by browser. The workers' end of the locks is tested in rpc/worker-end.test.ts.
import { afterEach, expect, test, vi } from "vitest";
import { browserLocks } from "./web-locks.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

test.each([
  ["Firefox", {}, [["a", { steal: true }]]],
  ["Chromium, whose page a granted lock would keep out of the back/forward cache", { userAgentData: {} }, []],
])("stealing in %s", (_, facts, requests) => {
  const request = vi.fn((_name: string, _options: LockOptions, _granted: () => void) => Promise.resolve());
  vi.stubGlobal("navigator", { locks: { request }, ...facts });
  browserLocks()?.steal("a");
  expect(request.mock.calls.map(([name, options]) => [name, options])).toEqual(requests);
});
