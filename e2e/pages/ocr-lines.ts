// Reads pictures of lines with ocr-rec, as an app would: Blobs in, texts out.
import { createEngine } from "selvedge";
import type { BackendName } from "selvedge";

/** Pictures, and the variant and backend to read them with. */
export interface Task {
  readonly backend: BackendName;
  readonly variant: string;
  /** URLs of pictures. */
  readonly urls: readonly string[];
}

/** Texts, and where they were read. */
export interface Answer {
  readonly texts: readonly string[];
  readonly backends: readonly string[];
  readonly variants: readonly string[];
}

async function read(task: Task): Promise<Answer> {
  const engine = await createEngine({ backends: [task.backend] });
  try {
    const { backend, variant } = task;
    const model = await engine.load("/models/ocr-rec/bundle.json", { backend, variant });
    const [output] = model.outputs;
    if (output === undefined) throw new Error("the model has no output");
    const texts: string[] = [];
    const backends = new Set<string>();
    const variants = new Set<string>();
    for await (const { decoded, info } of model.map(pictures(task.urls))) {
      const [answer] = decoded[output.name] ?? [];
      if (answer?.kind !== "text") throw new Error("the bundle does not decode its output to text");
      texts.push(answer.text);
      backends.add(info.backend);
      variants.add(info.variant);
    }
    return { texts, backends: [...backends], variants: [...variants] };
  } finally {
    await engine.close();
  }
}

async function* pictures(urls: readonly string[]): AsyncGenerator<{ x: Blob }> {
  for (const url of urls) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: status ${response.status}`);
    yield { x: await response.blob() };
  }
}

Reflect.set(globalThis, "readLines", read);
