// The React test app (react.spec.ts): renders as the test says, and keeps what it must not see twice.
import { StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import type { Engine } from "selvedge";
import { EngineProvider, useEngine } from "selvedge/react";
import { App } from "./app.tsx";
import type { Shown } from "./app.tsx";

/** The test's hold on the page. */
export interface TestPage {
  /** Renders; null unmounts the provider too. */
  show(shown: (Shown & { readonly strict?: boolean }) | null): void;
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
    const { strict = false, ...props } = shown;
    const app = (
      <EngineProvider options={{ backends: ["wasm"], workers: 1, store: "memory" }}>
        <Seen />
        <App {...props} />
      </EngineProvider>
    );
    root.render(strict ? <StrictMode>{app}</StrictMode> : app);
  },
};
Object.assign(window, { page });
