import { useState } from "react";
import { createEngine } from "selvedge";

/** One model for the page, loaded on first use. */
let model;
async function read(picture) {
  model ??= createEngine().then((engine) => engine.load("models/ocr-rec/bundle.json"));
  const { answer } = await (await model).run({ x: picture });
  return answer.text;
}

export function App() {
  const [source, setSource] = useState("sample.png");
  const [text, setText] = useState("Loading…");
  return (
    <main>
      <h1>Text from a picture</h1>
      <label htmlFor="file">Picture of one line of text</label>
      <input
        id="file"
        type="file"
        accept="image/*"
        onChange={({ target: { files } }) => files[0] && setSource(URL.createObjectURL(files[0]))}
      />
      <img
        alt="The picture that is read"
        src={source}
        onLoad={({ target }) => {
          const { src } = target;
          const show = (text) => target.src === src && setText(text);
          read(target).then(show, (error) => show(error.message));
        }}
        onError={() => setText("This file is not a picture.")}
      />
      <output htmlFor="file">{text}</output>
    </main>
  );
}
