// Descriptions of Debian's packages, fetched by apt: the short one of a package is a query, the long one the text that it
// should find. They are under thousands of licences, so they are kept in a cache that git ignores, and never committed.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

/** A package: its short description, and its long one without it. */
export interface DebianText {
  readonly name: string;
  readonly query: string;
  readonly text: string;
}

const CACHE = join(import.meta.dirname, "../e2e/.cache/debian-texts.json");
const HELPER = "/usr/lib/apt/apt-helper";
/** Lengths of the long descriptions that are taken, in characters: each fits into what the model reads. */
const [LENGTH_MIN, LENGTH_MAX] = [250, 700];
/** Texts that are kept. */
const COUNT_MAX = 5_000;
/** Texts that begin alike are of one source package. */
const BEGIN = 100;

const run = promisify(execFile);

/** Returns packages, one of those that begin alike, in an order by the hash of their names; fetches them once. */
export async function debianTexts(count: number): Promise<DebianText[]> {
  if (!existsSync(CACHE)) {
    const texts = select(await fetchDescriptions());
    await mkdir(dirname(CACHE), { recursive: true });
    await writeFile(`${CACHE}.partial`, JSON.stringify(texts));
    await rename(`${CACHE}.partial`, CACHE);
  }
  const texts = (JSON.parse(readFileSync(CACHE, "utf8")) as DebianText[]).slice(0, count);
  if (texts.length < count) throw new Error(`apt has ${texts.length} descriptions that fit; ${count} are needed`);
  return texts;
}

/** Reads Debian's English descriptions with apt, beside the lists of this machine, which it leaves as they are. */
async function fetchDescriptions(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "selvedge-apt-"));
  try {
    const lists = join(folder, "lists");
    const options = [
      `Dir::State::lists=${lists}`,
      `Dir::Cache=${folder}`,
      "Acquire::Languages=en",
      "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false",
      "APT::Update::Post-Invoke=",
      "APT::Update::Post-Invoke-Success=",
      "APT::Sandbox::User=",
    ].flatMap((x) => ["-o", x]);
    await mkdir(join(lists, "partial"), { recursive: true });
    await run("apt-get", [...options, "update"]).catch((cause: unknown) => {
      throw new Error("Debian's descriptions could not be fetched with apt-get: Debian's apt is needed.", { cause });
    });
    const files = readdirSync(lists).filter((x) => /_i18n_Translation-en(?:\.|$)/.test(x));
    if (files.length === 0) throw new Error("apt-get fetched no English descriptions");
    const { stdout } = await run(HELPER, ["cat-file", ...files.sort().map((x) => join(lists, x))], {
      maxBuffer: 2 ** 30,
    });
    return stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function select(descriptions: string): DebianText[] {
  const seen = new Set<string>();
  const isNew = (key: string): boolean => !seen.has(key) && seen.add(key) !== undefined;
  return descriptions
    .split("\n\n")
    .flatMap((block) => {
      const name = /^Package: (\S+)/m.exec(block)?.[1];
      const [, query = "", lines = ""] = /^Description-en: (.*)\n((?: .*\n?)*)/m.exec(block) ?? [];
      const text = lines.replaceAll(/^ \.$/gm, "").replaceAll(/\s+/g, " ").trim();
      return name === undefined || text.length < LENGTH_MIN || text.length > LENGTH_MAX || query.length < 20
        ? []
        : [{ name, query, text, order: createHash("sha256").update(name).digest("hex") }];
    })
    .sort((a, b) => (a.order < b.order ? -1 : 1))
    .filter(({ query, text }) => isNew(query.toLowerCase()) && isNew(text.slice(0, BEGIN)))
    .slice(0, COUNT_MAX)
    .map(({ name, query, text }) => ({ name, query, text }));
}
