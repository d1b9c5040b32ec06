import { createEngine } from "./selvedge/selvedge.min.js";

const [input, picture, output] = ["input", "img", "output"].map((name) => document.querySelector(name));
const model = createEngine({ backends: ["wasm"] }).then((engine) => engine.load("models/ocr-rec/bundle.json"));

picture.onload = async ({ target: { src } }) => {
  const { answer } = await (await model).run({ x: picture });
  if (picture.src === src) output.value = answer.text;
};
picture.onerror = () => (output.value = "This file is not a picture.");
input.onchange = () => input.files[0] && (picture.src = URL.createObjectURL(input.files[0]));
window.onunhandledrejection = ({ reason }) => (output.value = reason.message);
picture.src = "sample.png";
