// Mutants of the client of inference servers, and of what a lane accepts from a server.
import type { Mutant } from "./mutant.ts";

const CODEC = "lib/remote/codec.test.ts";
const BOUNDS = "lib/remote/client-bounds.test.ts";
const CONCURRENCY = "lib/remote/client-concurrency.test.ts";
const JOIN = "lib/worker/join-batch.test.ts";
const LANE = "lib/engine/remote-lane.test.ts";
const LOAD = "lib/engine/remote-load.test.ts";

/** Faults of the client, one edit each. */
export const MUTANTS: readonly Mutant[] = [
  {
    fault: "remote-rows",
    breaks: "an answer of a server with fewer or more rows than its request is taken",
    file: "lib/worker/join-batch.ts",
    from: "else if (model.isRemote) throw",
    to: "else if (!model.isProved) throw",
    test: JOIN,
    title: "a server's answer with other rows than its request is refused",
  },
  {
    fault: "remote-boxes",
    breaks: "boxes of several pictures are taken for a fault of the server, and for rows of a batch",
    file: "lib/worker/join-batch.ts",
    from: "if (wanted === 1) model.isCounted = model.canJoin = false;",
    to: "if (wanted === 1) continue;",
    test: JOIN,
    title: "a detector whose boxes have the name of the batch",
  },
  {
    fault: "server-share",
    breaks: "a server gets half of a request's time where this device can't answer in the other half",
    file: "lib/engine/remote-lane.ts",
    from: "Math.max(EXPECTED * inMs, hereInMs)",
    to: "EXPECTED * inMs",
    test: LANE,
    title: "a server has all of a request's time",
  },
  {
    fault: "server-batch",
    breaks: "a call to a server that hangs is waited for until the last of its requests has had its share",
    file: "lib/engine/remote-lane.ts",
    from: "shareMs = Math.min(shareMs, ownShareMs)",
    to: "shareMs = ownShareMs",
    test: LANE,
    title: "a call to a server that hangs ends for all its requests",
  },
  {
    fault: "remote-digits",
    breaks: "a text of digits in a reply is read as a number",
    file: "lib/remote/json-tensors.ts",
    from: '  if (typeof value !== "object" || value === null) return null;\n',
    to: '  if (typeof value === "string") return digitsOf({ digits: value });\n  if (typeof value !== "object" || value === null) return null;\n',
    test: CODEC,
    title: "with a text of digits for a number",
  },
  {
    fault: "remote-blame",
    breaks: "a server is blamed for a call of which another one had used up the time",
    file: "lib/remote/call.ts",
    from: "effects.now() - sentMs < state.timeoutMs / 2",
    to: "false",
    test: CONCURRENCY,
    title: "is not blamed where another one had used up most of the call's time",
  },
  {
    fault: "remote-headers",
    breaks: "servers are blamed for headers that the app does not return",
    file: "lib/remote/call.ts",
    from: "(sentMs === Infinity && own.check === undefined) ||",
    to: "",
    test: BOUNDS,
    title: "that end while `headers` is waited for say so",
  },
  {
    fault: "remote-golden",
    breaks: "each lane that connects asks a server's golden twice",
    file: "lib/engine/remote-check.ts",
    from: "        if (this.#timed.has(endpoint)) return;\n",
    to: "",
    test: LOAD,
    title: "the golden is asked twice where it tells the server's time",
  },
  {
    fault: "version-both",
    breaks: "servers that all moved to another version are refused, each for what the other had before",
    file: "lib/engine/remote-check.ts",
    from: "    if (this.#versions.get(endpoint)?.version !== own) this.#versions.delete(endpoint);\n",
    to: "",
    test: LOAD,
    title: "may all change their version while none is used",
  },
  {
    fault: "version-age",
    breaks: "a server's new version is refused for good where the one with the old version is not asked any more",
    file: "lib/engine/remote-check.ts",
    from: " || now - stated.heldMs > FORGET_MS",
    to: "",
    test: LOAD,
    title: "a server's new version is used once",
  },
  {
    fault: "version-held",
    breaks: "two versions answer at once, ten minutes after the first was checked",
    file: "lib/engine/remote-check.ts",
    from: "      if (this.#isHeld(other)) stated.heldMs = now;\n",
    to: "",
    test: LOAD,
    title: "a server's new version is not used as long as",
  },
  {
    fault: "remote-check",
    breaks: "a check that ends late counts for the server that was asked instead",
    file: "lib/remote/embeddings.ts",
    from: "const known = found.get(from)",
    to: "const known = [...found.values()].at(-1)",
    test: "lib/serve/embeddings.test.ts",
    title: "a check that ends late, after another server was asked instead",
  },
  {
    fault: "remote-ask",
    breaks: "headers that come late are sent with the next request",
    file: "lib/worker/backend/remote-backend.ts",
    from: "if (data.id === asked) settle?.(data);",
    to: "settle?.(data);",
    test: "lib/worker/backend/remote-backend.test.ts",
    title: "headers that come late, after those of the next request",
  },
];
