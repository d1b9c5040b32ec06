// Faults of the toolchain's own files: signatures, chunks, splitting, safetensors, replacing a folder.
import type { Mutant } from "./mutant.ts";

/** The mutants of this area. */
export const MUTANTS: readonly Mutant[] = [
  {
    fault: "tool-keys",
    breaks: "signing with one key drops another's signature",
    file: "lib/signature.ts",
    from: "if (known !== undefined && (await isValid(full, kept, known))) others.push(kept);",
    to: "if (known !== undefined && expires === full.expires && (await isValid(full, kept, known))) others.push(kept);",
    test: "lib/compress/sign.test.ts",
    title: "(tool-keys)",
  },
  {
    fault: "tool-keys-forged",
    breaks: "a signature that does not match is kept",
    file: "lib/signature.ts",
    from: "if (known !== undefined && (await isValid(full, kept, known)))",
    to: "if (known !== undefined)",
    test: "lib/compress/sign.test.ts",
    title: "(tool-keys)",
  },
  {
    fault: "tool-keys-date",
    breaks: "the date of a key's own signature is not looked at",
    file: "lib/signature.ts",
    from: "valid.filter((x) => nowMs < Date.parse(x.expires))",
    to: "valid.filter(() => nowMs < Date.parse(json.expires))",
    test: "lib/compress/sign.test.ts",
    title: "(tool-keys)",
  },
  {
    fault: "tool-wire",
    breaks: "bytes behind the end of a stored chunk are not noticed",
    file: "lib/compress/read-bundle.ts",
    from: "if (stored.length !== wireBytes)",
    to: "if (stored.length < 0)",
    test: "lib/compress/sign.test.ts",
    title: "(tool-wire)",
  },
  {
    fault: "tool-split",
    breaks: "vectors that shape inference reads are stored apart, and the model does not load",
    file: "lib/compress/split-weights.ts",
    from: " || mayBeShape(tensor)",
    to: "",
    test: "lib/compress/split-weights.test.ts",
    title: "(tool-split)",
  },
  {
    fault: "tool-split-load",
    breaks: "a split model is published without a load",
    file: "lib/compress/pack.ts",
    from: "  await checkSplit(first.bytes, path, split);\n",
    to: "",
    test: "lib/compress/split-weights.test.ts",
    title: "(tool-split-load)",
  },
];
