"use client";

import { useEffect, useState } from "react";
import { createEngine } from "selvedge";

// Next adds the `basePath` of its config to no address of public/: set NEXT_PUBLIC_BASE to the same path.
/** One model for the page, loaded on first use. */
let model;
async function read(picture) {
  model ??= createEngine().then((it) => it.load(`${process.env.NEXT_PUBLIC_BASE ?? ""}/models/ocr-rec/bundle.json`));
  const { answer } = await (await model).run({ x: picture });
  return answer.text;
}

export default function Page() {
  const [source, setSource] = useState();
  const [text, setText] = useState("Loading…");
  // Set on the client, so that the picture's load event comes after hydration.
  useEffect(() => setSource(`${process.env.NEXT_PUBLIC_BASE ?? ""}/sample.png`), []);
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
