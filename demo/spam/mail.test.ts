import fc from "fast-check";
import { expect, test } from "vitest";
import { EXAMPLES } from "./examples.ts";
import { FILE_MAX, mailText, readMail, readMailFile, textOfSource } from "./mail.ts";

test("the source of a mail gives its subject and its body", () => {
  const mail = readMail("From: a@b.example\r\nSubject: Hello\r\n  you\r\nDate: Thu, 1 Aug 2002\r\n\r\nBody.\r\n");
  expect(mail).toEqual({ subject: "Hello you", date: "Thu, 1 Aug 2002", from: "a@b.example", body: "Body." });
  expect(mailText(mail)).toBe("Hello you\n\nBody.");
});

test("text without headers is a body alone, though a line of it looks like one", () => {
  expect(readMail("Note: bring milk\n\nand bread").body).toBe("Note: bring milk\n\nand bread");
});

test.each([
  ["quoted-printable in UTF-8", "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"],
  ["base64", "=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"],
  ["two words in a row", "=?utf-8?Q?Gr?= =?utf-8?Q?=C3=BC=C3=9Fe?=", "Grüße"],
  ["a charset that nobody knows", "=?x-none?Q?caf=E9_noir?=", "café noir"],
])("a subject in %s is decoded", (_, source, subject) => {
  expect(readMail(`Subject: ${source}\n\nx`).subject).toBe(subject);
});

test("a body is decoded by its own encoding and charset", () => {
  const quoted =
    "Subject: a\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable";
  expect(readMail(`${quoted}\n\nJ=FCrgen is=\n here`).body).toBe("Jürgen is here");
  const base64 = "Subject: a\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64";
  expect(readMail(`${base64}\n\nR3LD\nvMOfZQ==`).body).toBe("Grüße");
});

test("HTML is read as it is seen", () => {
  const html =
    "<style>p{}</style><p>Win <b>n</b>ow &amp; save<br>&#163;5 <!-- x -->&nbsp;today</p><script>a<b</script>";
  expect(readMail(`Subject: a\nContent-Type: text/html\n\n${html}`).body).toBe("Win now & save\n£5 today");
});

test("of alternatives the plain one is read, of other parts all that are text", () => {
  const part = (type: string, body: string): string => `--sep\nContent-Type: ${type}\n\n${body}\n`;
  const mail = (kind: string, ...parts: string[]): string =>
    `Subject: a\nContent-Type: multipart/${kind};\n boundary="sep"\n\nfor old readers\n${parts.join("")}--sep--\nafter`;
  const [plain, html] = [part("text/plain", "Plain"), part("text/html", "<p>Rich</p>")];
  expect(readMail(mail("alternative", plain, html)).body).toBe("Plain");
  expect(readMail(mail("alternative", html)).body).toBe("Rich");
  expect(readMail(mail("mixed", plain, part("image/png", "iVBORw0KGgo="), html)).body).toBe("Plain\n\nRich");
  expect(readMail(mail("mixed", `--sep\n\nNo headers\n`)).body).toBe("No headers");
});

test("any input is read, truncated anywhere", () => {
  const text = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom(...Object.values(EXAMPLES)));
  fc.assert(
    fc.property(text, fc.nat(2_000), (source, cut) => {
      const mail = readMail(source.slice(0, cut));
      expect(typeof mailText(mail)).toBe("string");
    }),
  );
});

test("of a large file the beginning is read, and the cut is reported (processing-M4)", async () => {
  const read = await readMailFile(new Blob(["Subject: a\n\n", "x".repeat(4_000_000)]));
  expect([read.source.length, read.isCut]).toEqual([FILE_MAX, true]);
  expect(await readMailFile(new Blob(["Subject: a"]))).toEqual({ source: "Subject: a", isCut: false });
});

test.each([
  ["tags that do not end", "text/html", "<a "],
  ["comments that do not end", "text/html", "<!--"],
  ["scripts that do not end", "text/html", "<script>"],
  ["pictures without a text", "text/html", "<img "],
  ["spaces, quoted-printable", "text/plain\nContent-Transfer-Encoding: quoted-printable", " "],
])(
  "a mail of nothing but %s is read in time that grows as its length (processing-M4)",
  { timeout: 10_000 },
  (_, type, unit) => {
    const body = unit.repeat(2 ** 18 / unit.length);
    expect(textOfSource(`Subject: word\nContent-Type: ${type}\n\n${body}`)).toMatch(/^word/);
  },
);

test("a header of one endless word is read in time that grows as its length (processing-M4)", () => {
  expect(textOfSource(`Subject: =?${"a".repeat(FILE_MAX)}`)).toMatch(/^=[?]a/);
});

test("the text of HTML is what is seen of it", () => {
  const html =
    "<title>t</title><!-- c --><p>One<br>two <b>bo</b>ld <img src='x' alt=\"a picture\"> <script>x<y</script>end < 3";
  expect(mailText(readMail(`Subject: s\nContent-Type: text/html\n\n${html}`))).toBe(
    "s\n\nOne\ntwo bold a picture end < 3",
  );
});

test("a file of binary data is rejected (processing-M4)", async () => {
  const jpeg = new Blob([Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 16), "x".repeat(100)]);
  await expect(readMailFile(jpeg)).rejects.toThrow("This file is not a mail: it holds binary data.");
});

test("of a long pasted text the beginning is classified and shown (processing-M4)", () => {
  const text = textOfSource("Subject: Hello\n\n" + "word ".repeat(1_000_000));
  expect(text.length).toBe(2 ** 15);
  expect(text.startsWith("Hello\n\nword word")).toBe(true);
});
