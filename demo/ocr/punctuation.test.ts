import { describe, expect, it } from "vitest";
import { narrowPunctuation } from "./punctuation.ts";

describe("narrowPunctuation", () => {
  it("replaces full-width forms in Latin text", () => {
    expect(narrowPunctuation("County？ 18.4％ （carpet）！")).toBe("County? 18.4% (carpet)!");
  });

  it("leaves Chinese and Japanese lines as they are", () => {
    for (const line of ["你好，世界！", "カタカナ！", "version２：中"]) expect(narrowPunctuation(line)).toBe(line);
  });
});
