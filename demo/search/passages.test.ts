import fc from "fast-check";
import { expect, test } from "vitest";
import { PASSAGE_MAX, passagesOf } from "./passages.ts";

test("no character but white space is lost, and no passage is empty or too long", () => {
  const line = fc.string({ unit: "grapheme", maxLength: 3 * PASSAGE_MAX });
  fc.assert(
    fc.property(fc.array(line), fc.constantFrom("\n", "\n\n", "\r\n\r\n", "\r\r"), (lines, between) => {
      const text = lines.join(between);
      const passages = passagesOf(text);
      expect(passages.join("").replaceAll(/\s/g, "")).toBe(text.replaceAll(/\s/g, ""));
      for (const { length } of passages) {
        expect(length).toBeGreaterThan(0);
        expect(length).toBeLessThanOrEqual(PASSAGE_MAX);
      }
    }),
  );
});

test("a heading begins the passage of the paragraph below it, and lines of a paragraph are joined", () => {
  const body = "The bread is baked for forty minutes in a hot oven,\nuntil its crust is dark and it sounds hollow.";
  expect(passagesOf(`# Bread\n\n${body}\n\n\n# Soup`)).toEqual([`# Bread\n${body.replace("\n", " ")}`, "# Soup"]);
});

test("paragraphs are parted by whatever ends a line", () => {
  const body = "The bread is baked for forty minutes in a hot oven, until its crust is dark.";
  for (const end of ["\n", "\r\n", "\r"]) expect(passagesOf([body, body].join(end + end))).toEqual([body, body]);
});

test("each item of a list is a passage", () => {
  const items = [
    "- The oven is cleaned with a paste of baking soda, left overnight.",
    "2. Windows are washed in spring, from the top down, on a cloudy day.",
  ];
  expect(passagesOf(items.join("\n"))).toEqual(items);
});

test("a long paragraph is cut after a sentence, else between words", () => {
  const sentences = "It rained all day in the hills. ".repeat(60);
  for (const passage of passagesOf(sentences)) expect(passage).toMatch(/hills\.$/);
  for (const passage of passagesOf("word ".repeat(500))) expect(passage).toMatch(/^word( word)*$/);
});

test("a surrogate pair is never cut", () => {
  const passages = passagesOf(`a${"😀".repeat(PASSAGE_MAX)}`);
  expect(passages.length).toBeGreaterThan(1);
  for (const passage of passages) expect(passage).not.toMatch(/\p{Surrogate}/u);
});
