// Decoders, against what `tokenizers` 0.22.2 and 0.23.3 in Python give.
import { expect, test } from "vitest";
import type { DecoderPart } from "./decoders.ts";
import { createDecoder } from "./decoders.ts";

const REPLACE = { type: "Replace", pattern: { String: "\u2581" }, content: " " };

test.each<readonly [DecoderPart, readonly string[], string]>([
  [{ type: "Metaspace", replacement: "\u2581", prepend_scheme: "always" }, ["\u2581\u2581a\u2581b", "\u2581c"], "ab c"],
  [{ type: "Metaspace", replacement: "\u2581", prepend_scheme: "first" }, ["\u2581\u2581a\u2581b", "\u2581c"], "ab c"],
  [
    { type: "Metaspace", replacement: "\u2581", prepend_scheme: "never" },
    ["\u2581\u2581a\u2581b", "\u2581c"],
    "  a b c",
  ],
  [
    { type: "WordPiece", prefix: "##", cleanup: true },
    ["a", "##b", "do", "not", ".", "n't", "'", "c"],
    "ab do not.n't ' c",
  ],
  [{ type: "WordPiece", prefix: "", cleanup: false }, ["a", "b"], "ab"],
  [{ type: "BPEDecoder", suffix: "</w>" }, ["a</w>", "b", "c</w>"], "a bc"],
  [
    { type: "CTC", pad_token: "<pad>", word_delimiter_token: "|", cleanup: true },
    ["a", "a", "<pad>", "a", "|", "|", "b"],
    "aa b",
  ],
  [{ type: "CTC", pad_token: "<pad>", word_delimiter_token: "|", cleanup: false }, ["a", "|", "b"], "a|b"],
  [{ type: "ByteLevel" }, ["\u0120a", "\u00c3", "\u00a9", "<|x y|>", "\ufeff"], " aé<|x y|>\ufeff"],
  [{ type: "ByteFallback" }, ["a", "<0xC3>", "<0xA9>", "b", "<0xC3>", "<0xC3>", "<0xc3>"], "aéb\ufffd\ufffd\ufffd"],
  [
    {
      type: "Sequence",
      decoders: [
        REPLACE,
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    ["\u2581\u2581a", "<0x21>"],
    " a!",
  ],
  [{ type: "Strip", content: "é", start: 2, stop: 1 }, ["ééé a", "éb éé"], "é ab é"],
  [{ type: "Replace", pattern: { Regex: "a+" }, content: "$0" }, ["baab"], "b$0b"],
])("%j joins %j", (part, tokens, text) => {
  expect(createDecoder(part)(tokens)).toBe(text);
});

test("without a decoder tokens are joined by spaces", () => {
  expect(createDecoder(null)(["a", "b"])).toBe("a b");
});
