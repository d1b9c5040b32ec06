// A GPU that computes wrongly, for tests: a script that runs in the worker before its own, and edits ONNX Runtime's
// shaders before they are compiled. No browser reports an error for any of these edits.
import type { Page } from "@playwright/test";

/** An edit of each store `name[i] = value` of a shader. */
export interface Lie {
  /** WGSL in place of `value`; `T` and `S` stand for its type and its scalar, `i` for the index, `HIT` for `every`. */
  readonly value: string;
  /** One store in so many is a HIT, by a hash of its index. Default 100. */
  readonly every?: number;
  /** A regular expression of the labels of the shaders that are edited. Default: all. */
  readonly only?: string;
  /**
   * Shaders are edited where they have one of these uniforms, and a store where the condition holds for it: `U` stands
   * for the uniform. Default: none is needed.
   */
  readonly where?: { readonly uniforms: readonly string[]; readonly condition: string };
}

/** Function of the worker: edits one shader. Written as text, since it runs before any module. */
const EDIT = `(code, label, lie) => {
  if (lie.only !== undefined && !new RegExp(lie.only).test(label)) return code;
  const uniform = lie.where?.uniforms.find((name) => new RegExp("uniforms\\\\." + name + "\\\\b").test(code));
  if (lie.where !== undefined && uniform === undefined) return code;
  for (const [, name, type] of code.matchAll(/var<storage,\\s*read_write>\\s+(\\w+)\\s*:\\s*array<([^;]+?)>\\s*;/g)) {
    const scalar = /f16|vec\\dh/.test(type) ? "f16" : /f32|vec\\df/.test(type) ? "f32" : null;
    if (scalar === null) continue;
    const store = new RegExp("(^|[^\\\\w.])" + name + "\\\\s*\\\\[([^\\\\]=]+(?:\\\\[[^\\\\]]*\\\\][^\\\\]=]*)*)\\\\]\\\\s*=(?!=)\\\\s*([^;]+);", "g");
    code = code.replace(store, (_, before, index, value) => {
      const hit = "(((u32(" + index + ") * 2654435761u + 305419896u) >> 8u) % " + (lie.every ?? 100) + "u == 0u)";
      const words = { T: type, S: scalar, value, i: index, HIT: hit };
      let to = lie.value.replace(/\\b(T|S|value|i|HIT)\\b/g, (word) => words[word]);
      if (uniform !== undefined)
        to = "select(" + type + "(" + value + "), " + to + ", " + lie.where.condition.replace(/\\bU\\b/g, "u32(uniforms." + uniform + ")") + ")";
      return before + name + "[" + index + "] = " + to + ";";
    });
  }
  return code;
}`;

/** Name of the BroadcastChannel on which the worker reports the label of each edited shader. */
const EDITED = "edited";

/** The shaders that the workers of a page edited: its `shaderEdits`, where makeLiar prepared it. */
export interface ShaderEdits {
  /** Labels of the edited shaders, in order; empty for one without a label. */
  readonly labels: readonly string[];
  /**
   * Waits for the first edit, since messages of the worker come by another way than its answers: 10 s at most, or as
   * long as is said. Returns at once where the GPU is honest.
   */
  untilEdited(ms?: number): Promise<void>;
}

/** Sets a page's `shaderEdits`; runs there, before its own scripts. */
function watchEdits([name, lies]: readonly [name: string, lies: boolean]): void {
  const labels: string[] = [];
  new BroadcastChannel(name).onmessage = ({ data }: MessageEvent<string>) => labels.push(data);
  const untilEdited = async (ms = 10_000): Promise<void> => {
    const end = performance.now() + ms;
    while (lies && labels.length === 0 && performance.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 50));
  };
  Object.assign(globalThis, { shaderEdits: { labels, untilEdited } satisfies ShaderEdits });
}

/** Returns the script that makes a worker's GPU lie. */
export function liar(lie: Lie): string {
  return `if (self.GPUDevice) {
    const lie = ${JSON.stringify(lie)};
    const channel = new BroadcastChannel(${JSON.stringify(EDITED)});
    const { createShaderModule } = GPUDevice.prototype;
    const edit = ${EDIT};
    GPUDevice.prototype.createShaderModule = function (options) {
      const code = edit(options.code, options.label ?? "", lie);
      if (code !== options.code) channel.postMessage(options.label ?? "");
      return createShaderModule.call(this, { ...options, code });
    };
  }\n`;
}

/** Makes the GPU of all workers of a page lie from its next load on, with `shaderEdits`; null makes it honest again. */
export async function makeLiar(page: Page, lie: Lie | null): Promise<void> {
  await page.unrouteAll();
  await page.addInitScript(watchEdits, [EDITED, lie !== null] as const);
  if (lie === null) return;
  await page.route("**/worker-jspi.js", async (route) => {
    // By Node: Playwright disposes of its own response where the page leaves before the script is read.
    const response = await fetch(route.request().url());
    const headers = [...response.headers].filter(
      ([name]) => !/^(content-(encoding|length)|transfer-encoding)$/.test(name),
    );
    await route
      .fulfill({
        status: response.status,
        headers: Object.fromEntries(headers),
        body: liar(lie) + (await response.text()),
      })
      .catch((error: unknown) => {
        if (!page.isClosed()) throw error;
      });
  });
}
