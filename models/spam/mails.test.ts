import { expect, test } from "vitest";
import { readMails, SPLITS, splitMails } from "./mails.ts";

const mails = readMails();

test("all mails are read", () => {
  expect(mails).toHaveLength(6_046);
  expect(mails.filter((x) => x.isSpam)).toHaveLength(1_896);
  expect(new Set(mails.map((x) => x.id)).size).toBe(mails.length);
});

test.each(SPLITS.filter((x) => x !== "newest"))("no thread is on both sides of %s", (name) => {
  const { train, test } = splitMails(mails, name);
  const known = new Set(train.map((x) => x.thread));
  expect(test.filter((x) => known.has(x.thread))).toEqual([]);
  expect(test.length).toBeGreaterThan(1_000);
  expect(train.length + test.length).toBe(mails.length);
});

test("the newest fifth is newer than all others", () => {
  const { train, test } = splitMails(mails, "newest");
  expect(Math.min(...test.map((x) => x.receivedAt))).toBeGreaterThan(Math.max(...train.map((x) => x.receivedAt)));
});

test("a reply is in the thread of its original, with or without the name of the list", () => {
  const thread = (subject: string) => mails.find((x) => x.text.startsWith(`${subject}\n`))?.thread;
  expect(thread("Re: [IIU] spyware calling home?")).toBe("spyware calling home");
});
