// Faults of bundles: what a bundle.json may hold, and what reading one costs.
import type { Mutant } from "./mutant.ts";

/** The mutants of this area. */
export const MUTANTS: readonly Mutant[] = [
  {
    fault: "store-A5",
    breaks: "A bundle.json of half a megabyte costs little memory.",
    file: "lib/bundle-schema.ts",
    from: "{ abortEarly: true }",
    to: "{}",
    test: "lib/bundle-format.test.ts",
    title: "(store-A5)",
  },
  {
    fault: "store-A5",
    breaks: "Values nested without end are refused.",
    file: "lib/bundle-schema.ts",
    from: "if (depth > DEPTH_MAX)",
    to: "if (depth > 1e9)",
    test: "lib/bundle-format.test.ts",
    title: "(store-A5)",
  },
  {
    fault: "store-C9",
    breaks: "A session entry that names a file is refused.",
    file: "lib/bundle-shape.ts",
    from: "(?:path|file|folder|format|context)",
    to: "(?:nothing)",
    test: "lib/bundle-format.test.ts",
    title: "(store-C9)",
  },
  {
    fault: "store-C9",
    breaks: "An entry of ONNX Runtime that this release does not know keeps its variant away.",
    file: "lib/bundle-schema.ts",
    from: "SESSION_SPACES.test(x) && !SESSION_ENTRIES.has(x)",
    to: "!SESSION_SPACES.test(x)",
    test: "lib/bundle-format.test.ts",
    title: "(store-C9)",
  },
  {
    fault: "store-C21",
    breaks: "A port called __proto__ is refused.",
    file: "lib/bundle-shape.ts",
    from: "__proto__|",
    to: "",
    test: "lib/bundle-format.test.ts",
    title: "(store-C21, processing-L7)",
  },
  {
    fault: "processing-L7",
    breaks: "A port called constructor is refused.",
    file: "lib/bundle-shape.ts",
    from: "constructor|",
    to: "",
    test: "lib/bundle-format.test.ts",
    title: "(store-C21, processing-L7)",
  },
];
