// Exported models of further architectures, with the tokenizers and processors of their classes, from a local hub: texts,
// pictures and sounds give the outputs and the answers of Python's transformers. In the soak alone: the exporter needs
// PyTorch (e2e/support/exporter.ts).
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import type { HubServer } from "../../../lib/test-support/hub-server.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";
import { exportedHub } from "../../support/exporter.ts";

const NAMES = [
  ...["electra", "deberta", "qwen"],
  ...["swin", "vit-torchvision", "table-transformer", "segformer-answers", "wavlm"],
];
/** Bound on max|Δ| / max|reference|: of pictures the pixels may differ by 1 of 255, which the layers spread. */
const BOUNDS = { exact: 1e-4, picture: 5e-3 };
/** Whose pixels are those of torchvision. */
const SAME_PIXELS = ["vit-torchvision"];

/** As answers.py writes it; bytes are in base64. */
interface Case {
  readonly name: string;
  readonly input: string;
  readonly texts?: Selvedge.TextInput;
  readonly picture?: { readonly width: number; readonly height: number; readonly data: string };
  readonly sound?: string;
  readonly outputs: Readonly<Record<string, { readonly dims: readonly number[]; readonly data: string }>>;
  readonly labels?: readonly string[] | null;
  readonly boxes?: readonly (readonly [string, number, number, number, number])[];
  readonly mask?: string;
}

interface Ran {
  readonly outputs: Readonly<Record<string, { readonly dims: readonly number[]; readonly data: readonly number[] }>>;
  readonly labels: readonly (string | undefined)[];
  readonly boxes: readonly (readonly [string, number, number, number, number])[];
  readonly mask: readonly number[];
}

let hub: HubServer;
let cases: readonly Case[] = [];

test.beforeAll(async () => {
  test.setTimeout(1_800_000);
  const made = await exportedHub("answers.py", "answers.json", NAMES);
  hub = made.hub;
  cases = made.cases as readonly Case[];
});

test.afterAll(() => {
  hub.close();
});

/** Loads a repository by its name and asks it. */
function run(page: Page, host: string, asked: Case): Promise<Ran> {
  return page.evaluate(
    async ({ host, asked: { name, input, texts, picture, sound } }) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1 });
      const bytesOf = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text), (x) => x.charCodeAt(0));
      try {
        const model = await engine.load({ repo: `owner/${name}`, host });
        const value =
          picture !== undefined
            ? new ImageData(new Uint8ClampedArray(bytesOf(picture.data).buffer), picture.width, picture.height)
            : sound !== undefined
              ? new Float32Array(bytesOf(sound).buffer)
              : (texts ?? "");
        const { outputs, decoded } = await model.run({ [input]: value });
        const answers = Object.values(decoded).flat();
        return {
          outputs: Object.fromEntries(
            Object.entries(outputs).map(([x, { dims, data }]) => [x, { dims, data: Array.from(data, Number) }]),
          ),
          labels: answers.flatMap((x) => (x.kind === "labels" ? [x.labels[0]?.label] : [])),
          boxes: answers.flatMap((x) =>
            x.kind === "boxes"
              ? x.boxes.map(({ label, box }) => [label, box.xmin, box.ymin, box.xmax, box.ymax] as const)
              : [],
          ),
          mask: answers.flatMap((x) => (x.kind === "segments" ? [...x.classes] : [])),
        };
      } finally {
        await engine.close();
      }
    },
    { host, asked },
  );
}

const most = (list: readonly number[]): number => list.reduce((max, x) => Math.max(max, Math.abs(x)), 0);

/** The least share of a class's pixels that two masks have in common. */
function leastOverlap(found: readonly number[], wanted: readonly number[]): number {
  const overlaps = [...new Set(wanted)].map((label) => {
    const [both, any] = wanted.reduce<readonly [number, number]>(
      ([both, any], x, i) => {
        const [here, there] = [x === label, found[i] === label];
        return [both + Number(here && there), any + Number(here || there)] as const;
      },
      [0, 0],
    );
    return both / any;
  });
  return Math.min(...overlaps);
}

for (const name of isSoak ? NAMES : [])
  test(`${name} answers as Python's transformers`, async ({ page }, info) => {
    const { pages } = info.config.metadata as { pages: string };
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const own = cases.filter((x) => x.name === name);
    expect(own.length).toBeGreaterThan(0);
    for (const each of own) {
      const found = await run(page, hub.url, each);
      for (const [output, { dims, data }] of Object.entries(each.outputs)) {
        const reference = [...new Float32Array(new Uint8Array(Buffer.from(data, "base64")).buffer)];
        const { dims: got, data: values = [] } = found.outputs[output] ?? {};
        expect(got, output).toEqual(dims);
        const ratio = most(values.map((x, i) => x - (reference[i] ?? 0))) / most(reference);
        const mayDiffer = each.picture !== undefined && !SAME_PIXELS.includes(name);
        expect(ratio, output).toBeLessThan(mayDiffer ? BOUNDS.picture : BOUNDS.exact);
      }
      if (each.labels != null) expect(found.labels).toEqual(each.labels);
      if (each.boxes !== undefined) {
        expect(found.boxes).toHaveLength(each.boxes.length);
        const isNear = (a: Ran["boxes"][number], b: Ran["boxes"][number]): boolean =>
          a.every((x, i) => x === b[i] || Math.abs(Number(x) - Number(b[i])) <= 1);
        for (const box of each.boxes)
          expect(
            found.boxes.some((x) => isNear(x, box)),
            box.join(),
          ).toBe(true);
      }
      if (each.mask !== undefined) {
        const wanted = [...Buffer.from(each.mask, "base64")];
        expect(found.mask).toHaveLength(wanted.length);
        expect(leastOverlap(found.mask, wanted)).toBeGreaterThanOrEqual(0.99);
      }
    }
  });
