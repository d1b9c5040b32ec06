// Every error of the command line as a user reads it, in messages.txt: to be read, and reviewed, without the code.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { main } from "./cli.ts";
import { classifier, twoLayers } from "../test-support/compress/fixtures.ts";
import { captureOutput } from "../test-support/capture-output.ts";

let folder: string;
let said: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-messages-"));
  writeFileSync(join(folder, "model.onnx"), twoLayers({ opset: 13, inputs: 8, units: 8, outputs: 8 }).write());
  writeFileSync(join(folder, "page.onnx"), "<!doctype html>");
  writeFileSync(join(folder, "picture.onnx"), classifier({ channels: 3, size: 8, classes: 4 }).write());
  writeFileSync(join(folder, "labels.json"), JSON.stringify(["cat", "dog", "hen"]));
  writeFileSync(join(folder, "wide.json"), Buffer.from("\ufeffcat\r\ndog\r\n", "utf16le"));
  writeFileSync(join(folder, "gap.json"), "cat\n\ndog\n");
  writeFileSync(join(folder, "pointer.json"), "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n");
  writeFileSync(join(folder, "recipe.json"), JSON.stringify({ schema: "selvedge/recipe@1", targets: ["tpu"] }));
  writeFileSync(join(folder, "trace.json"), JSON.stringify({ traceEvents: [] }));
  writeFileSync(join(folder, "torn.json"), '{"traceEvents": [');
  said = "";
  captureOutput((text) => {
    said += text;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const LINES = [
  "squeeze model.onnx",
  "compres model.onnx",
  "compress",
  "compress model.onnx",
  "compress model.onnx other.onnx --out out",
  "compress none.onnx --out out",
  "compress page.onnx --out out",
  "compress model.onnx --out out --fast",
  "compress model.onnx --output out",
  "compress none.onnx --out --dry-run",
  "compress model.onnx --out=",
  "compress model.onnx --out out --out bundle",
  "compress model.onnx --out out --targets tpu",
  "compress model.onnx --out out --forms int3",
  "compress model.onnx --out out --limit 0",
  "compress model.onnx --out out --prune 250",
  "compress model.onnx --out out --mask 9:4",
  "compress model.onnx --out out --max-drop much",
  "compress model.onnx --out out --metric f1",
  "compress model.onnx --out out --samples none.npz",
  "compress model.onnx --out out --recipe recipe.json",
  "compress model.onnx --out out --search --budget-minutes soon",
  "compress model.onnx --out out --budget-minutes 5",
  "compress model.onnx --out out --browser safari",
  "compress picture.onnx --out out --image 224x224,rgb,imagnet",
  "compress picture.onnx --out out --image 0x8",
  "compress picture.onnx --out out --image rgb,bgr",
  "compress picture.onnx --out out --image mean=a",
  "compress picture.onnx --out out --image imagenet,std=1",
  "compress picture.onnx --out out --image 9x8",
  "compress picture.onnx --out out --image gray",
  "compress picture.onnx --out out --image z=rgb",
  "compress picture.onnx --out out --image crop=4",
  "compress model.onnx --out out --image 224x224,rgb",
  "compress picture.onnx --out out --classes none.json",
  "compress picture.onnx --out out --classes recipe.json",
  "compress picture.onnx --out out --classes trace.json",
  "compress picture.onnx --out out --classes labels.json",
  "compress picture.onnx --out out --classes wide.json",
  "compress picture.onnx --out out --classes gap.json",
  "compress picture.onnx --out out --classes pointer.json",
  "compress picture.onnx --out out --classes picture.onnx",
  "compress picture.onnx --out out --classes .",
  "compress picture.onnx --out out --top 5",
  "compress picture.onnx --out out --no-logits",
  "compress picture.onnx --out out --classes labels.json --top 0",
  "compress picture.onnx --out out --image rgb --bundle bundle.json",
  "init page.onnx --template vanilla",
  "inspect",
  "inspect bundle",
  "inspect none.onnx",
  "export",
  "export tensorrt bundle --out out",
  "export triton bundle",
  "export triton bundle --out out",
  "export triton model.onnx --out out",
  "export triton . --out out",
  "export triton bundle --out out --storage-uri s3://a --min-replicas 2 --max-replicas 3",
  "export mlserver bundle --out out --instances 2",
  "export kserve bundle --out out --max-batch many",
  "export kserve bundle --out out --min-replicas few",
  "serve",
  "serve model.onnx",
  "serve . --port 0",
  "serve bundle --port 70000",
  "serve bundle --origin a.example",
  "serve bundle --lanes 0",
  "serve --upstream 127.0.0.1:8001",
  "serve bundle --upstream http://127.0.0.1:8001",
  "serve --upstream http://127.0.0.1:8001 --lanes 2 --max-rows 9",
  "check model.onnx --targets cpu",
  "check model.onnx --bundle bundle.json",
  "check bundle --golden --samples x.npz --limit 4 --shape x=1x8 --shape n=2 --bundle bundle.json",
  "diff model.onnx",
  "sign",
  "sign bundle",
  "sign --key key.json",
  "sign bundle --key none.json",
  "sign bundle --key key.json --days soon",
  "sign bundle --new-key key.json",
  "sign --new-key --days 3",
  "sign --new-key key.json --days 3",
  "verify bundle",
  "verify bundle --trust short",
  "verify --trust short bundle",
  "verify bundle --trust a --prune 25%",
  "replay",
  "replay none.json",
  "replay torn.json",
  "replay trace.json",
  "replay trace.json --set speed=2",
  "doctor site --wait soon",
  "doctor site --browser",
  "doctor a b",
];

test("errors name the option, what came and what is allowed, and end with 1", async () => {
  const seen: string[] = [];
  for (const line of LINES) {
    said = "";
    const words = line.split(" ").map((x) => (/\.(onnx|json|npz)$|^(out|bundle)$/.test(x) ? join(folder, x) : x));
    const code = await main(words);
    seen.push(`$ selvedge ${line}\n${said.replaceAll(`${folder}/`, "").trimEnd()}\n`);
    expect([line, code]).toEqual([line, 1]);
  }
  await expect(seen.join("\n")).toMatchFileSnapshot("messages.txt");
});
