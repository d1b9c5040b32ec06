// The React test app (react.spec.ts): renders as the test says, and keeps what it must not see twice.
import { StrictMode, useEffect } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import type { Engine } from "selvedge";
import { EngineProvider, useEngine } from "selvedge/react";
import { App } from "./app.tsx";
import type { Shown } from "./app.tsx";

/** The test's hold on the page. */
export interface TestPage {
  /** Renders; null unmounts the provider too. With `isSync` it is done, effects included, when this returns. */
  show(shown: (Shown & { readonly strict?: boolean; readonly isSync?: boolean }) | null): void;
  /** Every engine that was seen, in order. */
  readonly engines: readonly Engine[];
  /** Promises that nobody caught. */
  readonly rejections: readonly string[];
}

const engines: Engine[] = [];
const rejections: string[] = [];
addEventListener("unhandledrejection", ({ reason }) => {
  rejections.push(String(reason));
});

function Seen() {
  const engine = useEngine();
  useEffect(() => {
    if (engine !== null && !engines.includes(engine)) engines.push(engine);
  }, [engine]);
  return null;
}

const element = document.getElementById("root");
if (element === null) throw new Error("the page has no root");
const root = createRoot(element);

const page: TestPage = {
  engines,
  rejections,
  show(shown) {
    if (shown === null) {
      root.render(null);
      return;
    }
    const { strict = false, isSync = false, ...props } = shown;
    const app = (
      <EngineProvider options={{ backends: ["wasm"], workers: 1, store: "memory" }}>
        <Seen />
        <App {...props} />
      </EngineProvider>
    );
    const render = (): void => {
      root.render(strict ? <StrictMode>{app}</StrictMode> : app);
    };
    if (isSync) flushSync(render);
    else render();
  },
};
Object.assign(window, { page });
