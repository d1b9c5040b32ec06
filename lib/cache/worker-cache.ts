// The entry of the worker that fetches models; esbuild makes dist/worker-cache.js of it.
import type { Endpoint } from "comlink";
import { serveCache } from "./worker.ts";

serveCache(
  self as unknown as Endpoint,
  (url, init) => fetch(url, init),
  () => performance.now(),
);
