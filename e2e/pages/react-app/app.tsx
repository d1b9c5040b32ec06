// Components of the React test app (react.spec.ts), which edits this file to test hot updates.
import { Component, Suspense } from "react";
import type { ReactNode } from "react";
import { isSelvedgeError } from "selvedge";
import { useModel, useRun } from "selvedge/react";
import type { UseModel } from "selvedge/react";

/** Content of the page. */
export interface Shown {
  /** Address of the model. */
  readonly url: string;
  /** Number of components that use it. */
  readonly copies: number;
  readonly suspense?: boolean;
}

const input = (value: number) => ({
  x: { dtype: "float32" as const, dims: [1, 3], data: new Float32Array([value, 2, 3]) },
});

const say = (error: unknown): string => (isSelvedgeError(error) ? error.code : String(error));

/** Runs a model on demand and shows every state. */
function Panel({ model, status, error, retry }: UseModel) {
  const runs = useRun(model);
  const answer = runs.result === null ? "" : Array.from(runs.result.outputs["y"]?.data ?? [], Number).join();
  return (
    <section>
      <p className="model">{`${status} ${error === null ? "" : say(error)}`}</p>
      <p className="run">{`${runs.status} ${answer} ${runs.error === null ? "" : say(runs.error)}`}</p>
      <button className="retry" onClick={retry}>
        retry
      </button>
      <button className="run" onClick={() => void runs.run(input(1))}>
        run
      </button>
      <button
        className="twice"
        onClick={() => {
          void runs.run(input(1));
          void runs.run(input(5));
        }}
      >
        run twice
      </button>
    </section>
  );
}

function Plain({ url }: { readonly url: string }) {
  return <Panel {...useModel(url, { backend: "wasm" })} />;
}

function Suspending({ url }: { readonly url: string }) {
  return <Panel {...useModel(url, { backend: "wasm", suspense: true })} />;
}

class Boundary extends Component<{ readonly children: ReactNode }, { readonly error: unknown }> {
  override state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <button
        className="again"
        onClick={() => {
          this.setState({ error: null });
        }}
      >
        {say(this.state.error)}
      </button>
    );
  }
}

/** The models that are shown. */
export function App({ url, copies, suspense = false }: Shown) {
  const keys = Array.from({ length: copies }, (_, i) => i);
  if (!suspense) return keys.map((key) => <Plain key={key} url={url} />);
  return (
    <Boundary>
      <Suspense fallback={<p className="fallback">waiting</p>}>
        {keys.map((key) => (
          <Suspending key={key} url={url} />
        ))}
      </Suspense>
    </Boundary>
  );
}
