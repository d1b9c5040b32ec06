// Mutants of the server for bundles and of the export for inference servers.
import type { Mutant } from "./mutant.ts";

const LANE = "lib/serve/lane.test.ts";
const LANES = "lib/serve/lanes.test.ts";
const EXECUTOR = "lib/serve/executor.test.ts";
const EXPORT = "lib/export/export.test.ts";

/** Faults of the server and the export, one edit each. */
export const MUTANTS: readonly Mutant[] = [
  {
    fault: "serve-empty-claim",
    breaks: "an empty tensor of a large shape makes an output of gigabytes from a hundred bytes",
    file: "lib/serve/protocol.ts",
    from: "if (claimed > EMPTY_CLAIM_MAX)",
    to: "if (claimed > Infinity)",
    test: "lib/serve/server.test.ts",
  },
  {
    fault: "serve-lane",
    breaks: "a run takes the rest of a buffer, which is another request's",
    file: "lib/serve/lane.ts",
    from: "data.byteLength === data.buffer.byteLength",
    to: "data.byteLength > 0",
    test: LANE,
  },
  {
    fault: "serve-lane",
    breaks: "the close of a lane waits for its run however long that takes",
    file: "lib/serve/lane.ts",
    from: "await Promise.race([exit, sleep(maxMs, undefined, { ref: false })]);",
    to: "await exit;",
    test: LANE,
  },
  {
    fault: "serve-lanes",
    breaks: "a server whose first lane does not start reports no error",
    file: "lib/serve/lanes.ts",
    from: "if (i === 0 || this.#isClosed) throw error;",
    to: "if (this.#isClosed) throw error;",
    test: LANES,
  },
  {
    fault: "serve-lanes",
    breaks: "a lane that fails is started again once a second, however often it failed",
    file: "lib/serve/lanes.ts",
    from: "Math.min(RESTART_MAX_MS, 2 * delayMs)",
    to: "delayMs",
    test: LANES,
  },
  {
    fault: "serve-lanes",
    breaks: "a lane whose thread ended still gets requests",
    file: "lib/serve/lanes.ts",
    from: "executor.remove(id);",
    to: "",
    test: LANES,
  },
  {
    fault: "serve-executor",
    breaks: "a batch whose requests ran again alone counts as a slow batch",
    file: "lib/serve/executor.ts",
    from: "return runs > groups.length ? null : ranMs;",
    to: "return ranMs;",
    test: EXECUTOR,
  },
  {
    fault: "serve-executor",
    breaks: "the queue is not bounded",
    file: "lib/serve/executor.ts",
    from: "maxSize: settings.maxQueue }",
    to: "maxSize: 1_000_000 }",
    test: EXECUTOR,
  },
  {
    fault: "serve-executor",
    breaks: "a cancelled request keeps its place in the queue",
    file: "lib/serve/executor.ts",
    from: 'this.#tell({ type: "cancelled", id: each });',
    to: "",
    test: EXECUTOR,
  },
  {
    fault: "export-rows",
    breaks: "rows that influence each other are batched by the exported server",
    file: "lib/export/exported-model.ts",
    from: "isBatchable: hasBatches && !chosen.mixesRows",
    to: "isBatchable: hasBatches",
    test: EXPORT,
  },
  {
    fault: "export-rows",
    breaks: "the graph is not read where the bundle does not say whether rows influence each other",
    file: "lib/export/exported-model.ts",
    from: "variant.mixesRows ?? modelMixesRows(model)",
    to: "variant.mixesRows ?? false",
    test: EXPORT,
  },
  {
    fault: "export-shapes",
    breaks: "a batched model's shapes state the batch axis too",
    file: "lib/export/triton.ts",
    from: "dims.slice(Number(isBatched))",
    to: "dims",
    test: EXPORT,
  },
  {
    fault: "export-ranks",
    breaks: "a tensor whose number of axes is unknown is exported as one without axes",
    file: "lib/export/triton.ts",
    from: "if (model.openRanks.length > 0)",
    to: "if (model.openRanks.length < 0)",
    test: EXPORT,
  },
  {
    fault: "export-name",
    breaks: "a name that leaves the folder is taken",
    file: "lib/export/exported-model.ts",
    from: "if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) return name;",
    to: "if (name !== null) return name;",
    test: EXPORT,
  },
  {
    fault: "serve-manage",
    breaks: "any page of a listed origin unloads the models of the server behind the gateway",
    file: "lib/serve/gateway.ts",
    from: 'if (request.method === "POST" && !ANSWERS.test(pathname))',
    to: "if (!ANSWERS)",
    test: "lib/serve/gateway.test.ts",
    title: "(serve-manage)",
  },
];
