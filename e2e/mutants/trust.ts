// Faults of signed bundles: rollback, fast-forward, wrong software, inconsistent servers.
import type { Mutant } from "./mutant.ts";

const test = "lib/cache/tuf.test.ts";
const releases = "lib/cache/releases.ts";
const open = "lib/cache/open.ts";

/** Each mutant brings one fault back. */
export const MUTANTS: readonly Mutant[] = [
  {
    fault: "store-A4",
    breaks: "another bundle under a release number that was seen is accepted",
    file: releases,
    from: "if (release === newest.release && identity === newest.identity) continue;",
    to: "if (release === newest.release) continue;",
    test,
  },
  {
    fault: "store-A4",
    breaks: "an older release is accepted",
    file: releases,
    from: "if (newest === undefined || release > newest.release) continue;",
    to: "if (newest !== undefined || release > 0) continue;",
    test,
  },
  {
    fault: "store-B4",
    breaks: "another model of the same key is accepted at an address",
    file: releases,
    from: "if (!isNamed && before !== undefined && before !== model) {",
    to: "if (isNamed && before !== undefined && before !== model) {",
    test,
  },
  {
    fault: "store-B4",
    breaks: "the name that the caller gives is not checked",
    file: open,
    from: "if (name === undefined || model.name === name) return;",
    to: "if (name !== undefined || model.name === name) return;",
    test,
  },
  {
    fault: "store-B4",
    breaks: "releases of one model count for another",
    file: releases,
    from: "return `${key} ${model}`;",
    to: "return `${key} ${model.length * 0}`;",
    test,
  },
  {
    fault: "store-B5",
    breaks: "releases are remembered in the store alone",
    file: open,
    from: "let known = joinReleases(stored, readReleases(seen));",
    to: "let known = joinReleases(stored, readReleases(seen === null ? null : null));",
    test,
  },
  {
    fault: "store-B5",
    breaks: "releases are remembered on the page alone",
    file: open,
    from: "if (remembers) await shelf?.noteReleases(noted, note === null ? null : url).catch(() => undefined);",
    to: "",
    test,
  },
  {
    fault: "store-B6",
    breaks: "releases are counted over all keys, so that a stolen key's number outlives it",
    file: releases,
    from: "return `${key} ${model}`;",
    to: "return `${key.length} ${model}`;",
    test,
  },
  {
    fault: "store-B7",
    breaks: "a refused answer of the server makes the stored version unavailable",
    file: open,
    from: "if (isRefused(error) ||",
    to: "if ((isRefused(error) && url === '') ||",
    test,
  },
  {
    fault: "store-B9",
    breaks: "an empty list of keys trusts every bundle",
    file: "lib/engine/options.ts",
    from: "if (options.trustedKeys !== undefined && trustedKeys.length === 0)",
    to: "if (options.trustedKeys === null && trustedKeys.length === 0)",
    test: "lib/core/signature.test.ts",
  },
];
