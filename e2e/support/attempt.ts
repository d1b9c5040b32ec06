// Loads and runs a model on a page of the faulty server, and returns the answer or the error. Messages are compared with
// lib/explain/messages.json, which the errors' pages show: error-messages.ts says how to record it anew.
import type { Page } from "@playwright/test";
import { compareMessage } from "./error-messages.ts";
import type { SeenError } from "./error-messages.ts";

/** Outcome of a load and a run: the answer, or the error. */
export interface Outcome {
  readonly y: readonly number[] | null;
  readonly code: string;
  readonly reason: string;
  readonly retryable: boolean | null;
  readonly message: string;
  readonly help: string;
  readonly secure: boolean;
  readonly log: readonly string[];
  /** Rejections that nobody handled. */
  readonly unhandled: readonly string[];
}

/** The model to load, and the options. */
export interface Call {
  /** Origin of the package. */
  readonly from?: string;
  readonly model?: string;
  readonly engine?: Readonly<Record<string, unknown>>;
  readonly load?: Readonly<Record<string, unknown>>;
  readonly run?: Readonly<Record<string, unknown>>;
  /** Name of a Trusted Types policy that is passed. */
  readonly policy?: string;
}

/** Loads a model on an open page, and runs it. */
export async function attempt(page: Page, call: Call = {}): Promise<Outcome> {
  const outcome = await inPage(page, call);
  if (outcome.help !== "") compareMessage(page, outcome);
  return outcome;
}

function inPage(page: Page, call: Call): Promise<Outcome> {
  return page.evaluate(
    async ({ from = "", model = "/model.onnx", engine: options = {}, load = {}, run = {}, policy }) => {
      const log: string[] = [];
      const unhandled: string[] = [];
      addEventListener("unhandledrejection", (event) => unhandled.push(String(event.reason)));
      const shown = {
        y: null,
        code: "",
        reason: "",
        retryable: null,
        message: "",
        help: "",
        log,
        unhandled,
        secure: true,
      };
      try {
        const { createEngine } = (await import(`${from}/dist/index.js`)) as typeof import("../../lib/index.ts");
        const trusted = Reflect.get(globalThis, "trustedTypes") as
          { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } } | undefined;
        const trustedTypesPolicy =
          policy === undefined ? undefined : trusted?.createPolicy(policy, { createScriptURL: (url: string) => url });
        const engine = await createEngine({
          backends: ["wasm"],
          onLog: (line) => log.push(line),
          ...options,
          trustedTypesPolicy,
        });
        try {
          const loaded = await engine.load(model, load);
          const { outputs } = await loaded.run(
            { x: { dtype: "float32", dims: [1], data: new Float32Array([7]) } },
            run,
          );
          const y = [...(outputs["y"]?.data as Float32Array)];
          return { ...shown, y, secure: engine.device.secure };
        } finally {
          await engine.close();
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      } catch (error) {
        const {
          code = String(error),
          details = {},
          retryable = null,
          help = "",
          message,
        } = error as Error & {
          code?: string;
          details?: Record<string, unknown>;
          retryable?: boolean;
          help?: string;
        };
        return { ...shown, code, reason: String(details["reason"]), retryable, message, help };
      }
    },
    call,
  );
}

/** Runs code on an open page, with its address as `origin`, and returns the error that it throws. */
export async function errorOf(page: Page, code: string): Promise<SeenError> {
  const error: SeenError = await page.evaluate(async (text) => {
    const run = (await import(
      `data:text/javascript,${encodeURIComponent(`export default async (origin) => {${text}}`)}`
    )) as {
      default: (origin: string) => Promise<void>;
    };
    try {
      await run.default(location.origin);
      return { code: "", reason: "", message: "nothing was thrown" };
    } catch (thrown) {
      const {
        code = "",
        message,
        details = {},
      } = thrown as Error & { code?: string; details?: Record<string, unknown> };
      return { code, message, reason: String(details["reason"]) };
    }
  }, code);
  compareMessage(page, error);
  return error;
}
